//! A store on a temporary root, a context, and services that only pretend to run commands.

use builder::{Build, BuildError, BuildEvent, OutputStream, RunNetwork, RunStep, ServiceError, Services};
use oci::{Config, Digest, ImageConfig, Platform, Reference, RootFs};
use state::Database;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use store::{Image, NewImage, Store, Times};

pub(crate) struct Workshop {
    _directory: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) context: PathBuf,
    pub(crate) database: Arc<Database>,
    pub(crate) store: Store,
    pub(crate) services: FakeServices,
    pub(crate) build: Build,
}

#[derive(Default)]
pub(crate) struct FakeServices {
    pub(crate) images: Mutex<BTreeMap<String, Image>>,
    /// The commands that were run, joined.
    pub(crate) runs: Mutex<Vec<String>>,
    pub(crate) environments: Mutex<Vec<Vec<String>>>,
    pub(crate) users: Mutex<Vec<String>>,
    pub(crate) cancelled: AtomicBool,
    running: AtomicUsize,
    pub(crate) most_running: AtomicUsize,
}

/// What a build said and did.
pub(crate) struct Outcome {
    pub(crate) result: Result<Digest, BuildError>,
    pub(crate) events: Vec<BuildEvent>,
}

impl Services for FakeServices {
    fn base_image(
        &self,
        reference: &Reference,
        _platform: &Platform,
        _refresh: bool,
        _progress: &mut dyn FnMut(&str),
    ) -> Result<Image, ServiceError> {
        let images = self.images.lock().unwrap();
        images
            .get(&reference.familiar())
            .cloned()
            .ok_or_else(|| ServiceError {
                message: format!("{}: not found", reference.familiar()),
                source: None,
            })
    }

    fn download(
        &self,
        url: &str,
        _authorization: Option<&str>,
        mut into: std::fs::File,
    ) -> Result<builder::Downloaded, ServiceError> {
        use std::io::Write;
        into.write_all(url.as_bytes()).unwrap();
        Ok(builder::Downloaded::default())
    }

    /// Runs a tiny language on the upper directory: commands joined by `;`.
    fn run(
        &self,
        step: &RunStep<'_>,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        stopped: &dyn Fn() -> bool,
    ) -> Result<i32, ServiceError> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(now, Ordering::SeqCst);
        self.runs.lock().unwrap().push(step.arguments.join(" "));
        self.environments.lock().unwrap().push(step.environment.to_vec());
        self.users.lock().unwrap().push(step.user.to_owned());
        let upper = step.rootfs.upper.clone().unwrap();
        let mut code = 0;
        for command in step.arguments.last().unwrap().split(';') {
            let mut words = command.split_whitespace();
            let verb = words.next().unwrap();
            let path = words.next().unwrap_or("");
            let rest: Vec<&str> = words.collect();
            match verb {
                "write" => {
                    let file = upper.join(path.trim_start_matches('/'));
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, rest.join(" ")).unwrap();
                }
                "say" => output(OutputStream::Stdout, format!("{path}\n").as_bytes()),
                "exit" => code = path.parse().unwrap(),
                "cancel" => self.cancelled.store(true, Ordering::SeqCst),
                "wait" => std::thread::sleep(std::time::Duration::from_millis(path.parse().unwrap())),
                "hang" => {
                    while !stopped() {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    code = 137;
                }
                "true" => {}
                other => panic!("no command {other}"),
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(code)
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let context = directory.path().join("context");
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&context).unwrap();
        let database = Arc::new(Database::open(&root).unwrap());
        let store = Store::open(&root, Arc::clone(&database)).unwrap();
        let build = Build {
            context: context.clone(),
            dockerfile: (PathBuf::from("Dockerfile"), String::new()),
            ignore: None,
            arguments: BTreeMap::new(),
            target: None,
            tags: Vec::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            pull: false,
            network: RunNetwork::Default,
            platform: Platform::host(),
            source_date_epoch: None,
            reproducible: true,
            lock: None,
            proxy: BTreeMap::new(),
            extra_hosts: Vec::new(),
            allowed: builder::Allowed::default(),
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            agents: BTreeMap::new(),
            uncached_stages: Vec::new(),
            limits: builder::StepLimits::default(),
            cache_from: Vec::new(),
            inline_cache: false,
            image_time: None,
            debug_shell: false,
        };
        let workshop = Self {
            _directory: directory,
            root,
            context,
            database,
            store,
            services: FakeServices::default(),
            build,
        };
        workshop.image("base:latest", Config::default(), |root| {
            for name in ["etc", "bin", "usr", "usr/lib", "tmp"] {
                std::fs::create_dir(root.join(name)).unwrap();
            }
            symlink("usr/lib", root.join("lib")).unwrap();
            symlink("/etc", root.join("outward")).unwrap();
            std::fs::write(
                root.join("etc/passwd"),
                "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:\n",
            )
            .unwrap();
            std::fs::write(root.join("etc/group"), "root:x:0:\nstaff:x:50:\n").unwrap();
        });
        workshop
    }

    /// Makes an image of one layer, known to the services under `name`.
    pub(crate) fn image(&self, name: &str, config: Config, fill: impl FnOnce(&Path)) -> Image {
        let lease = self.store.lease().unwrap();
        let snapshot = self.store.begin_snapshot(&lease, &[]).unwrap();
        fill(&snapshot.upper);
        let layer = self
            .store
            .commit_snapshot(&lease, snapshot, Times::Exactly(1))
            .unwrap();
        let image = ImageConfig {
            architecture: Platform::host().architecture,
            os: "linux".into(),
            config,
            rootfs: RootFs {
                diff_ids: vec![layer.diff_id],
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        let image = self
            .store
            .record_image(&NewImage {
                raw_config: &serde_json::to_vec(&image).unwrap(),
                manifest: None,
                layers: &[layer.id],
                parent: None,
                tags: &[name.parse().unwrap()],
                repository_digest: None,
            })
            .unwrap();
        let key = name.parse::<Reference>().unwrap().familiar();
        self.services.images.lock().unwrap().insert(key, image.clone());
        image
    }

    /// Lets the services know an image that a build has made.
    pub(crate) fn publish(&self, name: &str, id: &Digest) {
        let key = name.parse::<Reference>().unwrap().familiar();
        self.services.images.lock().unwrap().insert(key, self.find(id));
    }

    /// Writes a context file, with times long past so that its digest can be remembered.
    pub(crate) fn file(&self, path: &str, content: &str) {
        let file = self.context.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn run(&self, dockerfile: &str) -> Outcome {
        self.services.runs.lock().unwrap().clear();
        self.services.environments.lock().unwrap().clear();
        self.services.users.lock().unwrap().clear();
        let mut build = self.build.clone();
        dockerfile.clone_into(&mut build.dockerfile.1);
        let events = Mutex::new(Vec::new());
        let result = builder::build(&self.store, &self.database, &self.services, &build, &|event| {
            events.lock().unwrap().push(event);
        });
        let left: Vec<_> = std::fs::read_dir(self.root.join("snapshots")).unwrap().collect();
        assert!(left.is_empty(), "snapshots are left: {left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.root.to_str().unwrap()), "a mount is left");
        Outcome {
            result,
            events: events.into_inner().unwrap(),
        }
    }

    pub(crate) fn find(&self, id: &Digest) -> Image {
        self.store.images_by_prefix(&id.hex()).unwrap().remove(0)
    }

    /// Builds, and returns the image.
    pub(crate) fn make(&self, dockerfile: &str) -> Image {
        let outcome = self.run(dockerfile);
        let id = outcome
            .result
            .unwrap_or_else(|error| panic!("{dockerfile}: {}", explain(&error)));
        self.find(&id)
    }

    /// Builds what must fail, and returns the whole message.
    pub(crate) fn fail(&self, dockerfile: &str) -> String {
        match self.run(dockerfile).result {
            Ok(_) => panic!("{dockerfile} was built"),
            Err(error) => explain(&error),
        }
    }

    /// Lists the files of the image's layers above the first `skip`: type, mode, owner and content of each.
    pub(crate) fn files(&self, image: &Image, skip: usize) -> Vec<String> {
        let mut lines = BTreeMap::new();
        for layer in &image.layers[skip..] {
            let top = self.store.layer_path(&layer.id);
            walk(&top, &top, &mut lines);
        }
        lines
            .into_iter()
            .map(|(path, what)| format!("{path} {what}"))
            .collect()
    }

    pub(crate) fn ran(&self) -> Vec<String> {
        self.services.runs.lock().unwrap().clone()
    }
}

fn walk(top: &Path, directory: &Path, lines: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stat = std::fs::symlink_metadata(&path).unwrap();
        let owner = format!("{}:{}", stat.uid(), stat.gid());
        let name = format!("/{}", path.strip_prefix(top).unwrap().display());
        let what = if stat.is_dir() {
            walk(top, &path, lines);
            format!("{:o} {owner} dir", stat.mode() & 0o7777)
        } else if stat.is_symlink() {
            format!("{owner} -> {}", std::fs::read_link(&path).unwrap().display())
        } else if stat.is_file() {
            format!(
                "{:o} {owner} {:?}",
                stat.mode() & 0o7777,
                std::fs::read_to_string(&path).unwrap()
            )
        } else {
            format!("{:o} {owner} special", stat.mode() & 0o7777)
        };
        lines.insert(name, what);
    }
}

/// An error with its causes and its hint.
pub(crate) fn explain(error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(" | ");
        text.push_str(&hint);
    }
    text
}

impl Outcome {
    pub(crate) fn id(&self) -> Digest {
        match &self.result {
            Ok(id) => *id,
            Err(error) => panic!("{}", explain(error)),
        }
    }

    /// The names of the steps, those from the cache marked.
    pub(crate) fn steps(&self) -> Vec<String> {
        let cached = |number: usize| {
            self.events
                .iter()
                .any(|event| matches!(event, BuildEvent::Cached { step } if *step == number))
        };
        self.events
            .iter()
            .filter_map(|event| match event {
                BuildEvent::Started { step, name } if cached(*step) => Some(format!("{name} CACHED")),
                BuildEvent::Started { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|event| match event {
                BuildEvent::Warning { message, .. } => Some(message.clone()),
                _ => None,
            })
            .collect()
    }
}
