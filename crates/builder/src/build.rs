//! A whole build: read, plan, run the stages, record the image.

use crate::arguments::{EPOCH, Globals};
use crate::cache::Cache;
use crate::checks;
use crate::commit_time;
use crate::config::Draft;
use crate::context::BuildContext;
use crate::error::{BuildError, CommandFailure, Failure, Place, StepError, chain};
use crate::graph::{self, Graph};
use crate::progress::Progress;
use crate::stage::is_counted;
use crate::{Build, BuildEvent, CachePlace, FIXED_EPOCH, NamedContext, RunNetwork, Services};
use dockerfile::{Dockerfile, Instruction, Operation, RunSecurity};
use oci::{Digest, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, OnceLock, PoisonError};
use store::{Lease, NewImage, Store};

/// Builds an image and returns its id. Finished steps stay in the cache whatever happens after them.
pub fn build(
    store: &Store,
    database: &state::Database,
    services: &dyn Services,
    build: &Build,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Digest, BuildError> {
    let progress = Progress::new(events);
    let (path, text) = &build.dockerfile;
    let file = path.display().to_string();
    let name = path
        .file_name()
        .map_or_else(|| file.clone(), |name| name.to_string_lossy().into_owned());
    if let Some(syntax) = build.arguments.get("BUILDKIT_SYNTAX")
        && !dockerfile::is_own_syntax(syntax)
    {
        return Err(BuildError::Frontend(dockerfile::Problem::UnsupportedSyntax(
            syntax.clone(),
        )));
    }
    let step = progress.start(format!("[internal] load build definition from {name}"));
    let dockerfile = match dockerfile::parse(&file, text) {
        Ok(dockerfile) => dockerfile,
        Err(error) => {
            step.failed(error.to_string());
            return Err(error.into());
        }
    };
    step.note(&format!("reading {name}: {}B done", text.len()));
    step.done();
    let target = graph::target(&dockerfile, build.target.as_deref())?;
    let target_name = dockerfile.stages[target].from.name.clone();
    let globals = Globals::new(build, &dockerfile, target_name.as_deref().unwrap_or("default"))
        .map_err(|(index, source)| step_error(&file, &dockerfile.arguments[index], source))?;
    let unused = globals.unused(&dockerfile);
    if !unused.is_empty() {
        let names = unused.join(" ");
        progress.warn(
            format!("One or more build-args [{names}] were not consumed"),
            None,
        );
    }
    let graph = Graph::new(&dockerfile, &globals, target, build);
    let context = BuildContext::open(&build.context, "the build context", build.ignore.as_ref())?;
    warn(store, build, &dockerfile, &globals, &context, &progress)?;
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        if graph.needed[index] {
            refuse_rights(build, &file, stage)?;
        }
    }
    let mut contexts = BTreeMap::new();
    for (name, context) in &build.contexts {
        if let NamedContext::Directory(path) = context {
            let ignore = ignore_file(path)?;
            let opened = BuildContext::open(path, &format!("the context {name}"), ignore.as_ref())?;
            contexts.insert(name.to_lowercase(), Arc::new(opened));
        }
    }
    let epoch = build
        .source_date_epoch
        .or_else(|| globals.get(EPOCH).and_then(|value| value.parse().ok()));
    let job = Job {
        store,
        database,
        services,
        request: build,
        context,
        contexts,
        slots: dockerfile.stages.iter().map(|_| OnceLock::new()).collect(),
        dockerfile,
        file,
        globals,
        graph,
        cache: Cache::new(database, !build.no_cache, events, services)?,
        progress,
        ignore_shown: Once::new(),
        image_epoch: epoch
            .or(build.image_time)
            .or_else(|| commit_time::of(&build.context))
            .unwrap_or(FIXED_EPOCH),
        epoch,
        images: Mutex::default(),
        lease: Mutex::new(None),
        failed: AtomicBool::new(false),
        failure: Mutex::new(None),
        permits: Permits::new(),
    };
    job.open_caches();
    let result = job.run();
    // What was found in the cache was of use even if a later step failed.
    let used = job.cache.mark_used();
    let id = result?;
    used?;
    Ok(id)
}

/// What the threads of one build share.
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) database: &'a state::Database,
    pub(crate) services: &'a dyn Services,
    pub(crate) request: &'a Build,
    pub(crate) context: BuildContext,
    /// Named contexts that are directories, by their names in lower case.
    pub(crate) contexts: BTreeMap<String, Arc<BuildContext>>,
    pub(crate) dockerfile: Dockerfile,
    file: String,
    pub(crate) globals: Globals,
    pub(crate) graph: Graph,
    pub(crate) cache: Cache<'a>,
    pub(crate) progress: Progress<'a>,
    ignore_shown: Once,
    /// `SOURCE_DATE_EPOCH`, if the build has one.
    pub(crate) epoch: Option<i64>,
    /// When the image was made, as it says itself.
    pub(crate) image_epoch: i64,
    slots: Vec<OnceLock<Option<Arc<Draft>>>>,
    /// Images had so far, by reference and platform; a slot is locked while its image is fetched.
    pub(crate) images: Mutex<BTreeMap<String, Arc<Mutex<Option<store::Image>>>>>,
    lease: Mutex<Option<Arc<Lease>>>,
    failed: AtomicBool,
    failure: Mutex<Option<BuildError>>,
    permits: Permits,
}

impl Job<'_> {
    fn run(&self) -> Result<Digest, BuildError> {
        let needed: Vec<usize> = (0..self.graph.needed.len())
            .filter(|&index| self.graph.needed[index])
            .collect();
        self.progress.planned(self.planned(&needed));
        if needed.len() > 1 {
            std::thread::scope(|scope| {
                for &index in &needed {
                    scope.spawn(move || self.stage(index).is_some());
                }
            });
        }
        let Some(draft) = self.stage(self.graph.target) else {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(failure.take().unwrap_or(BuildError::Cancelled));
        };
        if self.services.cancelled() {
            return Err(BuildError::Cancelled);
        }
        self.export(Draft::clone(&draft))
    }

    /// Returns how many steps will be announced, as far as can be known before any base image is.
    fn planned(&self, needed: &[usize]) -> usize {
        let counted = needed
            .iter()
            .flat_map(|&index| &self.dockerfile.stages[index].instructions)
            .filter(|instruction| is_counted(instruction));
        // The Dockerfile, the ignore file, and the image.
        3 + self.caches().len() + self.graph.image_steps() + counted.count()
    }

    /// Returns the caches that steps may come from.
    pub(crate) fn caches(&self) -> &[CachePlace] {
        if self.request.no_cache {
            return &[];
        }
        &self.request.cache_from
    }

    /// Opens the caches that steps may come from. One that is not there makes the build slower, not wrong.
    fn open_caches(&self) {
        for place in self.caches() {
            if self.services.cancelled() {
                return;
            }
            let step = self
                .progress
                .start(format!("importing cache manifest from {place}"));
            match self.services.open_cache(place, &self.request.platform) {
                Ok(note) => {
                    step.note(&note);
                    step.done();
                }
                Err(error) => {
                    let why = chain(&error);
                    step.failed(why.clone());
                    self.progress
                        .warn(format!("the cache in {place} is not used: {why}"), None);
                }
            }
        }
    }

    /// Announces, once, that the ignore file was read. That happened long ago, but here is where Docker's users expect it.
    pub(crate) fn show_ignore_file(&self) {
        self.ignore_shown.call_once(|| {
            let step = self.progress.start("[internal] load .dockerignore".to_owned());
            if let Some((_, text)) = &self.request.ignore {
                let name = self.context.ignore_file().unwrap_or_default();
                step.note(&format!("reading {name}: {}B done", text.len()));
            }
            step.done();
        });
    }

    /// Returns what a stage makes, building it in this thread if no other one has begun with it. `None` if it failed.
    pub(crate) fn stage(&self, index: usize) -> Option<Arc<Draft>> {
        self.slots[index]
            .get_or_init(|| match self.build_stage(index) {
                Ok(draft) => Some(Arc::new(draft)),
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    if let Some(error) = error {
                        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                        // A cancellation is only what is left when nothing else has happened.
                        if first
                            .as_ref()
                            .is_none_or(|first| matches!(first, BuildError::Cancelled))
                        {
                            *first = Some(error);
                        }
                    }
                    None
                }
            })
            .clone()
    }

    /// Says whether to stop: the user has asked to, or another stage has failed.
    pub(crate) fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.services.cancelled()
    }

    /// Notes that the build fails, so that others stop; says whether it is the first to do so.
    pub(crate) fn fail(&self) -> bool {
        !self.failed.swap(true, Ordering::Relaxed)
    }

    /// Returns the build's lease, taken when the first layer is made: a build from the cache needs none.
    pub(crate) fn lease(&self) -> Result<Arc<Lease>, store::StoreError> {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = &*lease {
            return Ok(Arc::clone(lease));
        }
        let taken = Arc::new(self.store.lease()?);
        *lease = Some(Arc::clone(&taken));
        Ok(taken)
    }

    /// Waits until there is room for one more step that works.
    pub(crate) fn permit(&self) -> Permit<'_> {
        self.permits.take()
    }

    /// Says whether a stage is to be built anew whatever the cache has.
    pub(crate) fn is_uncached(&self, stage: usize) -> bool {
        self.request
            .uncached_stages
            .iter()
            .any(|name| name.to_lowercase() == self.graph.name(stage) || name.parse() == Ok(stage))
    }

    /// Returns the image that the build puts in the place of a name.
    pub(crate) fn named_image(&self, name: &str) -> Option<Reference> {
        named_image(self.request, name)
    }

    /// Returns the times that layers of files get.
    pub(crate) fn file_epoch(&self) -> i64 {
        self.epoch.unwrap_or(FIXED_EPOCH)
    }

    /// Says where a failure happened.
    pub(crate) fn locate(
        &self,
        step: &str,
        instruction: &Instruction,
        failure: Failure,
    ) -> Option<BuildError> {
        match failure {
            Failure::Elsewhere => None,
            Failure::Cancelled => self.services.cancelled().then_some(BuildError::Cancelled),
            Failure::Command {
                command,
                code,
                output,
            } => Some(BuildError::Command(Box::new(CommandFailure {
                step: step.to_owned(),
                command,
                code,
                output,
                place: place(&self.file, instruction),
            }))),
            Failure::Step(StepError::Trigger(error)) => Some(error.into()),
            Failure::Step(source) => Some(step_error(&self.file, instruction, source)),
        }
    }

    fn export(&self, mut draft: Draft) -> Result<Digest, BuildError> {
        let step = self.progress.start("exporting to image".to_owned());
        for (name, value) in &self.request.labels {
            draft.image.config.labels.insert(name.clone(), value.clone());
        }
        let (raw_config, layers, parent) = draft.finish(self.request.inline_cache);
        let ids: Vec<_> = layers.into_iter().map(|layer| layer.id).collect();
        let recorded = self.store.record_image(&NewImage {
            raw_config: &raw_config,
            manifest: None,
            layers: &ids,
            parent,
            tags: &self.request.tags,
            repository_digest: None,
        });
        let image = match recorded {
            Ok(image) => image,
            Err(error) => {
                step.failed(error.to_string());
                return Err(error.into());
            }
        };
        step.note(&format!("writing image {} done", image.id));
        for tag in &self.request.tags {
            step.note(&format!("naming to {tag} done"));
        }
        step.done();
        Ok(image.id)
    }
}

/// Returns the image that a build puts in the place of a name, with or without its tag.
pub(crate) fn named_image(build: &Build, name: &str) -> Option<Reference> {
    build.contexts.iter().find_map(|(known, context)| match context {
        NamedContext::Image(reference) | NamedContext::Stored { name: reference, .. }
            if known.eq_ignore_ascii_case(name) =>
        {
            Some(reference.clone())
        }
        _ => None,
    })
}

/// Makes the build checks and says what they find.
fn warn(
    store: &Store,
    build: &Build,
    dockerfile: &Dockerfile,
    globals: &Globals,
    context: &BuildContext,
    progress: &Progress<'_>,
) -> Result<(), BuildError> {
    let options = checks::options(build, dockerfile)?;
    let found = checks::find(store, build, dockerfile, globals, context, &options);
    for warning in &found {
        progress.warn(
            format!("{}: {}", warning.check, warning.message),
            Some(warning.lines.first),
        );
    }
    if found.is_empty() || !options.error {
        return Ok(());
    }
    let rules: BTreeSet<String> = found.iter().map(|warning| warning.check.to_owned()).collect();
    Err(BuildError::Checks {
        rules: rules.into_iter().collect::<Vec<_>>().join(", "),
    })
}

/// Refuses rights that the build has not been given before anything is done.
fn refuse_rights(build: &Build, file: &str, stage: &dockerfile::Stage) -> Result<(), BuildError> {
    for instruction in &stage.instructions {
        let Operation::Run(run) = &instruction.operation else {
            continue;
        };
        let host = run.network == Some(dockerfile::RunNetwork::Host);
        if host && build.network != RunNetwork::Host && !build.allowed.host_network {
            return Err(step_error(file, instruction, StepError::HostNetwork));
        }
        if run.security == RunSecurity::Insecure && !build.allowed.insecure {
            return Err(step_error(file, instruction, StepError::Insecure));
        }
    }
    Ok(())
}

/// Reads the ignore file of a named context.
pub(crate) fn ignore_file(directory: &Path) -> Result<Option<(PathBuf, String)>, BuildError> {
    let path = directory.join(".dockerignore");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BuildError::Context(sys::SysError::io("read", &path, &error))),
    }
}

fn place(file: &str, instruction: &Instruction) -> Place {
    Place {
        file: file.to_owned(),
        lines: instruction.lines,
        text: instruction.source.clone(),
    }
}

/// Says that reading an instruction went wrong.
pub(crate) fn at(path: &Path, instruction: &Instruction, source: StepError) -> BuildError {
    step_error(&path.display().to_string(), instruction, source)
}

pub(crate) fn step_error(file: &str, instruction: &Instruction, source: StepError) -> BuildError {
    BuildError::Step {
        step: instruction.text.clone(),
        place: Box::new(place(file, instruction)),
        source: Box::new(source),
    }
}

/// Bounds how many steps work at once: more than there are processors, since many wait for a network.
struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

pub(crate) struct Permit<'a>(&'a Permits);

impl Permits {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            free: Mutex::new(processors.max(2) * 2),
            returned: Condvar::new(),
        }
    }

    fn take(&self) -> Permit<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}
