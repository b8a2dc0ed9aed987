//! The flags of `build`, and what is read from the context before the builder begins.

pub(crate) mod input;
mod named;
mod secret;

pub(crate) use named::Layout;

use super::{Invalid, environment, extra_host, invalid, label, size, ulimit};
use crate::failure::Failure;
use clap::Args;
use engine::builder::{Allowed, Build, FetchedContext, NamedContext, RunNetwork, StepLimits};
use engine::containers::request::Ulimit;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Flags of `build`.
#[derive(Debug, Args)]
pub(crate) struct BuildFlags {
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_parser = extra_host::parse, value_name = "list")]
    add_host: Vec<(String, String)>,
    /// Allow extra privileged entitlement (e.g., "network.host", "security.insecure")
    #[arg(long, value_name = "stringArray")]
    allow: Vec<String>,
    /// Add annotation to the image
    #[arg(long, value_name = "stringArray")]
    pub annotation: Vec<String>,
    /// Set method for evaluating build ("check", "outline", "targets") (default "build")
    #[arg(long, value_name = "string")]
    call: Option<String>,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long, value_name = "string")]
    cgroup_parent: Option<String>,
    /// Shorthand for "--call=check"
    #[arg(long)]
    check: bool,
    /// Set build-time variables
    #[arg(long, value_name = "list")]
    build_arg: Vec<String>,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short, long, value_name = "string")]
    pub file: Option<PathBuf>,
    /// Write the image ID to a file
    #[arg(long, value_name = "string")]
    pub iidfile: Option<PathBuf>,
    /// Set metadata for an image
    #[arg(long, value_parser = label::parse, value_name = "list")]
    label: Vec<(String, String)>,
    /// Keep the result in the local image store (always done)
    #[arg(long)]
    load: bool,
    /// Set the networking mode for the "RUN" instructions during build (default "default")
    #[arg(long, value_name = "string")]
    network: Option<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Do not cache specified stages
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Write build result metadata to a file
    #[arg(long, value_name = "string")]
    pub metadata_file: Option<PathBuf>,
    /// Set target platforms for build
    #[arg(long, value_name = "list")]
    platform: Vec<String>,
    /// Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty") (default "auto")
    #[arg(long, value_name = "string")]
    pub progress: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pull: bool,
    /// Bring what "RUN" makes into a form that is the same each time (--reproducible=false: as it is)
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = super::boolean::parse, action = clap::ArgAction::Set)]
    reproducible: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    pub quiet: bool,
    /// Remove intermediate containers after a successful build (there are none)
    #[arg(long)]
    rm: bool,
    /// Always remove intermediate containers (there are none)
    #[arg(long)]
    force_rm: bool,
    /// Image identifier (format: "[registry/]repository[:tag]")
    #[arg(short, long, value_name = "list")]
    pub tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")
    #[arg(long, value_name = "list")]
    pub cache_from: Vec<String>,
    /// Cache export destinations (e.g., "type=inline", "type=registry,ref=user/app:cache")
    #[arg(long, value_name = "list")]
    pub cache_to: Vec<String>,
    /// Additional build contexts (e.g., name=path)
    #[arg(long, value_name = "list")]
    build_context: Vec<String>,
    /// Output destination (format: "type=local,dest=path")
    #[arg(short, long, value_name = "list")]
    pub output: Vec<String>,
    /// Push the result
    #[arg(long)]
    pub push: bool,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "list")]
    secret: Vec<String>,
    /// SSH agent socket or keys to expose to the build
    #[arg(long, value_name = "list")]
    ssh: Vec<String>,
    /// Shorthand for "--attest=type=provenance"
    #[arg(long, value_name = "string")]
    provenance: Option<String>,
    /// Shorthand for "--attest=type=sbom"
    #[arg(long, value_name = "string")]
    sbom: Option<String>,
    /// Attestation parameters (format: "type=sbom,generator=image")
    #[arg(long, value_name = "list")]
    attest: Vec<String>,
    /// Override the configured builder instance (ignored: there is one)
    #[arg(long, value_name = "string")]
    builder: Option<String>,
    /// Memory limit for "RUN"
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Size of /dev/shm for "RUN"
    #[arg(long, value_name = "bytes", value_parser = size::bytes)]
    shm_size: Option<i64>,
    /// Ulimit options for "RUN"
    #[arg(long, value_name = "ulimit", value_parser = ulimit::parse)]
    ulimit: Vec<Ulimit>,
    /// Skip image verification
    #[arg(long)]
    disable_content_trust: bool,
    /// The text of the Dockerfile, where a bake file has it.
    #[arg(skip)]
    pub inline: Option<String>,
    /// Contexts that are in the store already.
    #[arg(skip)]
    pub stored: BTreeMap<String, NamedContext>,
}

/// Where a build's files are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Context<'a> {
    /// In a directory of the user's.
    Directory(&'a str),
    /// In one that was fetched.
    Fetched(&'a FetchedContext<'a>),
}

/// A build, and what of its flags was ignored.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The request.
    pub build: Build,
    /// What is to be done with it.
    pub call: Call,
    /// What was ignored.
    pub warnings: Vec<String>,
    /// `--ssh` with keys in files: by id, what an agent is to be given.
    pub keys: BTreeMap<String, Vec<PathBuf>>,
}

/// What is to be done with a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Build it.
    Build,
    /// Make the build checks.
    Check {
        /// Whether the answer is JSON.
        json: bool,
    },
    /// Say what the target takes.
    Outline {
        /// Whether the answer is JSON.
        json: bool,
    },
    /// Say which targets there are.
    Targets {
        /// Whether the answer is JSON.
        json: bool,
    },
}

/// No Dockerfile and no ignore file is larger.
const LARGEST: u64 = 4 << 20;

impl BuildFlags {
    /// Returns the named contexts that have to be fetched, by name.
    pub(crate) fn addresses(&self) -> Vec<(String, String)> {
        self.build_context
            .iter()
            .filter_map(|text| named::address(text))
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .collect()
    }

    /// Returns the named contexts that are OCI image layouts.
    pub(crate) fn layouts(&self) -> Result<Vec<Layout>, Failure> {
        self.build_context
            .iter()
            .filter_map(|text| named::layout(text))
            .collect()
    }

    /// Says whether the context's `.git` is wanted.
    pub(crate) fn keeps_git_directory(&self) -> bool {
        self.build_arg
            .iter()
            .any(|argument| argument == "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
    }

    /// Says what is wrong with the flags by themselves, before anything is fetched.
    pub(crate) fn judge_context(&self, context: &str) -> Result<(), Invalid> {
        self.judge()?;
        if context == "-" && self.file.as_deref() == Some(Path::new("-")) {
            return invalid("invalid argument: can't use stdin for both build context and dockerfile");
        }
        Ok(())
    }

    /// Makes the request; `fetched` has the directories of the named contexts that are addresses.
    pub(crate) fn prepare(
        self,
        context: Context<'_>,
        fetched: &BTreeMap<String, PathBuf>,
        proxy: BTreeMap<String, String>,
    ) -> Result<Prepared, Failure> {
        let warnings = self.judge()?;
        let (context, dockerfile, ignore) = match context {
            Context::Directory(path) => {
                let context = directory(path)?;
                let dockerfile = self.dockerfile(&context)?;
                let ignore = ignore_file(&context, &dockerfile.0)?;
                (context, dockerfile, ignore)
            }
            Context::Fetched(fetched) => self.in_fetched(fetched)?,
        };
        let arguments = self.arguments();
        let epoch = arguments
            .get("SOURCE_DATE_EPOCH")
            .cloned()
            .or_else(|| std::env::var("SOURCE_DATE_EPOCH").ok())
            .filter(|text| !text.is_empty());
        let source_date_epoch = match epoch.map(|text| (text.parse::<i64>(), text)) {
            None => None,
            Some((Ok(seconds), _)) => Some(seconds),
            Some((Err(_), text)) => {
                return Err(Failure::new(format!("invalid SOURCE_DATE_EPOCH: {text}")));
            }
        };
        let tags = self
            .tag
            .iter()
            .map(|tag| reference(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let platform = self.platforms()?.into_iter().next();
        let call = self.call()?;
        let limits = self.limits();
        let allowed = self.allowed()?;
        let mut contexts = self.stored.clone();
        for text in &self.build_context {
            if named::layout(text).is_some() {
                continue;
            }
            let (name, context) = named::context(text, fetched)?;
            contexts.insert(name, context);
        }
        let secrets = self
            .secret
            .iter()
            .map(|text| secret::secret(text))
            .collect::<Result<_, _>>()?;
        let (mut agents, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for text in &self.ssh {
            match secret::agent(text)? {
                (id, secret::Agent::Socket(path)) => drop(agents.insert(id, path)),
                (id, secret::Agent::Keys(paths)) => drop(keys.insert(id, paths)),
            }
        }
        let build = Build {
            context,
            dockerfile,
            ignore,
            arguments,
            target: self.target.filter(|target| !target.is_empty()),
            tags,
            labels: self.label.into_iter().collect(),
            no_cache: self.no_cache,
            pull: self.pull,
            network: network(self.network.as_deref())?,
            platform: platform.unwrap_or_else(oci::Platform::host),
            source_date_epoch,
            reproducible: self.reproducible,
            lock: None,
            proxy,
            extra_hosts: self.add_host,
            allowed,
            contexts,
            secrets,
            agents,
            uncached_stages: self.no_cache_filter,
            limits,
            cache_from: Vec::new(),
            inline_cache: false,
            image_time: None,
            debug_shell: false,
        };
        Ok(Prepared {
            build,
            call,
            warnings,
            keys,
        })
    }

    fn call(&self) -> Result<Call, Invalid> {
        let text = match (self.call.as_deref(), self.check) {
            (Some(call), false) => call,
            (None | Some("check"), true) => "check",
            (Some(_), true) => return invalid("cannot use --check with --call"),
            (None, false) => "build",
        };
        let (method, format) = text.split_once(',').unwrap_or((text, ""));
        let json = match format {
            "" | "format=text" => false,
            "format=json" => true,
            other => return invalid(format!("invalid --call option {other:?}: use format=json")),
        };
        match method {
            "" | "build" => Ok(Call::Build),
            "check" | "lint" => Ok(Call::Check { json }),
            "outline" => Ok(Call::Outline { json }),
            "targets" => Ok(Call::Targets { json }),
            other => invalid(format!(
                "invalid call method {other:?}: use build, check, outline or targets"
            )),
        }
    }

    fn limits(&self) -> StepLimits {
        StepLimits {
            shm_size: self.shm_size.and_then(|size| u64::try_from(size).ok()),
            ulimits: self
                .ulimit
                .iter()
                .map(|limit| (limit.name.clone(), limit.soft, limit.hard))
                .collect(),
            cgroup_parent: self.cgroup_parent.clone().filter(|parent| !parent.is_empty()),
        }
    }

    fn allowed(&self) -> Result<Allowed, Invalid> {
        let mut allowed = Allowed::default();
        for name in self.allow.iter().flat_map(|text| text.split(',')) {
            match name {
                "network.host" => allowed.host_network = true,
                "security.insecure" => allowed.insecure = true,
                "" => {}
                other => {
                    return invalid(format!(
                        "invalid entitlement {other:?}: use network.host or security.insecure"
                    ));
                }
            }
        }
        Ok(allowed)
    }

    /// Returns the platforms to build for, at least one.
    pub(crate) fn platforms(&self) -> Result<Vec<oci::Platform>, Invalid> {
        let given: Vec<&str> = self.platform.iter().flat_map(|text| text.split(',')).collect();
        if given.is_empty() {
            let preset = super::container::platform(None)?;
            return Ok(vec![preset.unwrap_or_else(oci::Platform::host)]);
        }
        let mut platforms = Vec::new();
        for text in given {
            // Docker's builder has this word for the machine that it runs on.
            let platform = match text.trim() {
                "local" => Some(oci::Platform::host()),
                text => super::container::platform(Some(text))?,
            };
            let platform = platform.unwrap_or_else(oci::Platform::host);
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        Ok(platforms)
    }

    fn judge(&self) -> Result<Vec<String>, Invalid> {
        if let Some(progress) = self.progress.as_deref() {
            match progress {
                "auto" | "plain" | "tty" | "quiet" | "rawjson" | "none" | "" => {}
                other => {
                    return invalid(format!(
                        "invalid progress type: {other:?}; use auto, plain, tty, rawjson or quiet"
                    ));
                }
            }
        }
        let mut warnings = Vec::new();
        if self.wants_attestations()? {
            warnings.push(
                "no attestations are made: --provenance, --sbom and --attest have no effect, and the image is pushed and saved without them"
                    .to_owned(),
            );
        }
        if self.memory.is_some() {
            warnings.push("--memory has no effect: a step may use all the memory there is".to_owned());
        }
        Ok(warnings)
    }

    /// Reads `--provenance`, `--sbom` and `--attest`, and says whether any of them asks for something.
    fn wants_attestations(&self) -> Result<bool, Invalid> {
        let mut wanted = false;
        for (flag, value) in [("--provenance", &self.provenance), ("--sbom", &self.sbom)] {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
                continue;
            };
            match super::boolean::parse(value) {
                Ok(value) => wanted |= value,
                Err(_) if value.contains('=') => wanted |= !is_disabled(value)?,
                Err(_) => return invalid(format!("{flag}={value}: use true, false or key=value pairs")),
            }
        }
        for value in &self.attest {
            let fields = super::csv::fields(value)?;
            match fields.iter().find_map(|field| field.strip_prefix("type=")) {
                Some("provenance" | "sbom") => wanted |= !is_disabled(value)?,
                Some(other) => {
                    return invalid(format!(
                        "invalid attestation type {other:?}: use provenance or sbom"
                    ));
                }
                None => {
                    return invalid(format!(
                        "attestation type not specified in {value:?}: type=provenance or type=sbom"
                    ));
                }
            }
        }
        Ok(wanted)
    }

    /// Resolves build arguments; one without a value takes that of our environment, and is not set without one there.
    fn arguments(&self) -> BTreeMap<String, String> {
        let mut arguments = BTreeMap::new();
        for argument in &self.build_arg {
            match argument.split_once('=') {
                Some((name, value)) => {
                    arguments.insert(name.to_owned(), value.to_owned());
                }
                None => {
                    if let Some(value) = std::env::var_os(argument) {
                        arguments.insert(argument.clone(), value.to_string_lossy().into_owned());
                    }
                }
            }
        }
        arguments
    }

    fn dockerfile(&self, context: &Path) -> Result<(PathBuf, String), Failure> {
        if let Some(text) = &self.inline {
            return Ok(("Dockerfile".into(), text.clone()));
        }
        let (name, path) = match self.file.as_deref() {
            Some(path) if path == Path::new("-") => {
                let standard_input = Path::new("standard input");
                let text = read_all(std::io::stdin())
                    .map_err(|error| unreadable(standard_input, &environment::reason(&error)))?
                    .map_err(|line| unreadable(standard_input, &format!("line {line} is not UTF-8 text")))?;
                return Ok(("Dockerfile".into(), text));
            }
            Some(path) => (path.to_owned(), path.to_owned()),
            None => {
                let upper = context.join("Dockerfile");
                let lower = context.join("dockerfile");
                let path = if !upper.exists() && lower.exists() {
                    lower
                } else {
                    upper
                };
                (PathBuf::from("Dockerfile"), path)
            }
        };
        let text = read(&path).map_err(|error| {
            let failure = unreadable(&name, &environment::reason(&error));
            if self.file.is_none() && error.kind() == std::io::ErrorKind::NotFound {
                let context = context.display();
                return failure.with_hint(format!(
                    "there is no Dockerfile in {context}; -f names one that lies elsewhere"
                ));
            }
            failure
        })?;
        let text = text.map_err(|line| unreadable(&name, &format!("line {line} is not UTF-8 text")))?;
        Ok((name, text))
    }
}

/// Says whether an attestation's fields switch it off.
fn is_disabled(text: &str) -> Result<bool, Invalid> {
    for field in super::csv::fields(text)? {
        if let Some(value) = field.strip_prefix("disabled=") {
            return match super::boolean::parse(value) {
                Ok(value) => Ok(value),
                Err(_) => invalid(format!("disabled={value}: use true or false")),
            };
        }
    }
    Ok(false)
}

/// What is read before a build begins: the context, the Dockerfile and the ignore file.
type Inputs = (PathBuf, (PathBuf, String), Option<(PathBuf, String)>);

impl BuildFlags {
    /// Finds the Dockerfile and the ignore file in a context that somebody else may have made.
    fn in_fetched(&self, fetched: &FetchedContext<'_>) -> Result<Inputs, Failure> {
        let context = fetched.path();
        let text = |bytes: Vec<u8>, name: &Path| {
            String::from_utf8(bytes).map_err(|error| {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = good.split(|byte| *byte == b'\n').count();
                unreadable(name, &format!("line {line} is not UTF-8 text"))
            })
        };
        if let Some(bytes) = &fetched.dockerfile {
            let name = PathBuf::from("Dockerfile");
            let text = text(bytes.clone(), &name)?;
            return Ok((context, (name, text), None));
        }
        if self.file.as_deref() == Some(Path::new("-")) || self.inline.is_some() {
            let dockerfile = self.dockerfile(&context)?;
            return Ok((context, dockerfile, None));
        }
        let tree = sys::path::Tree::open(&context).map_err(|error| unprepared(&error.to_string()))?;
        let name = self.file.clone().unwrap_or_else(|| "Dockerfile".into());
        let bytes = tree
            .read(&name, LARGEST)
            .map_err(|error| unreadable(&name, &error.errno.to_string()))?;
        let dockerfile = (name.clone(), text(bytes, &name)?);
        let mut own = name.into_os_string();
        own.push(".dockerignore");
        for path in [PathBuf::from(own), PathBuf::from(".dockerignore")] {
            match tree.read(&path, LARGEST) {
                Ok(bytes) => {
                    let text = text(bytes, &path)?;
                    return Ok((context.clone(), dockerfile, Some((context.join(path), text))));
                }
                Err(error) if error.errno == rustix::io::Errno::NOENT => {}
                Err(error) => return Err(unreadable(&path, &error.errno.to_string())),
            }
        }
        Ok((context, dockerfile, None))
    }
}

fn unreadable(name: &Path, why: &str) -> Failure {
    Failure::bare(format!(
        "ERROR: failed to solve: failed to read dockerfile: open {}: {why}",
        name.display()
    ))
}

/// Reads a text; the inner error is the number of the first line that is none.
fn read(path: &Path) -> std::io::Result<Result<String, usize>> {
    read_all(std::fs::File::open(path)?)
}

fn read_all(source: impl std::io::Read) -> std::io::Result<Result<String, usize>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    }
    Ok(String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        good.split(|byte| *byte == b'\n').count()
    }))
}

/// Finds the ignore file: the Dockerfile's own before the context's.
fn ignore_file(context: &Path, dockerfile: &Path) -> Result<Option<(PathBuf, String)>, Failure> {
    let mut own = if dockerfile
        .parent()
        .is_none_or(|parent| parent.as_os_str().is_empty())
    {
        context.join(dockerfile).into_os_string()
    } else {
        dockerfile.as_os_str().to_owned()
    };
    own.push(".dockerignore");
    let unread = |path: &Path, why: &str| {
        Failure::bare(format!(
            "ERROR: failed to solve: failed to read dockerignore: open {}: {why}",
            path.display()
        ))
    };
    for path in [PathBuf::from(own), context.join(".dockerignore")] {
        match read(&path) {
            Ok(Ok(text)) => return Ok(Some((path, text))),
            Ok(Err(line)) => return Err(unread(&path, &format!("line {line} is not UTF-8 text"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unread(&path, &environment::reason(&error))),
        }
    }
    Ok(None)
}

fn directory(context: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(context);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            std::path::absolute(path).map_err(|error| unprepared(&environment::reason(&error)))
        }
        Ok(_) => Err(unprepared(&format!("path {context:?} is not a directory"))
            .with_hint("give the directory that the build's files lie in; -f names the Dockerfile")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(unprepared(&format!("path {context:?} not found")))
        }
        Err(error) => Err(unprepared(&format!(
            "path {context:?}: {}",
            environment::reason(&error)
        ))),
    }
}

/// Says whether a context is an address.
pub(crate) fn is_remote(context: &str) -> bool {
    // What is there by that name is a directory.
    if Path::new(context).exists() {
        return false;
    }
    ["http://", "https://", "git://", "git@", "github.com/", "ssh://"]
        .iter()
        .any(|prefix| context.starts_with(prefix))
}

fn unprepared(why: &str) -> Failure {
    Failure::bare(format!("ERROR: unable to prepare context: {why}"))
}

fn reference(text: &str) -> Result<oci::Reference, Failure> {
    text.parse()
        .map_err(|error: oci::ReferenceError| Failure::new(format!("invalid tag {text:?}: {error}")))
}

fn network(text: Option<&str>) -> Result<RunNetwork, Invalid> {
    match text {
        None | Some("" | "default" | "bridge") => Ok(RunNetwork::Default),
        Some("host") => Ok(RunNetwork::Host),
        Some("none") => Ok(RunNetwork::None),
        Some(other) => invalid(format!(
            "network mode {other:?} cannot be used in a build: use default, host or none"
        )),
    }
}
