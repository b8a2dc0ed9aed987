//! From options and inputs to a build of the engine's.

use super::attributes::Options;
use super::caches::Caches;
use super::calls::{self, Metadata};
use super::credentials::{self, Credentials};
use super::definitions::Images;
use super::inputs::{Gathering, Inputs};
use super::outputs::{self, Output};
use super::progress::{Manner, Progress};
use super::sessions::Session;
use super::{SolveError, agents, secrets};
use crate::server::{Engines, OpenEngine};
use engine::builder::{Allowed, Build, BuildEvent, CachePlace, Secret, StepReport};
use oci::{Digest, Platform, Reference};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::Read;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// How often a cancelled build is noticed while the client is waited for.
const GLANCE: Duration = Duration::from_millis(100);

/// Where builds are done.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    /// Opens engines, and knows the builds that run.
    pub engines: Arc<Engines>,
    /// Runs what talks with clients.
    pub runtime: Handle,
}

impl Workshop {
    /// Returns a session that a client names.
    pub(super) fn session(&self, id: &str) -> Result<Arc<Session>, SolveError> {
        let found = self.engines.hub().sessions.find(id);
        found.ok_or_else(|| {
            SolveError::Invalid(format!(
                "no active session for {id}: it was not opened, or has ended"
            ))
        })
    }

    /// Takes an engine for a moment.
    pub(super) fn engine(&self) -> Result<OpenEngine, SolveError> {
        Ok(self.engines.open()?)
    }

    /// Waits for something of the client's, unless the build is cancelled. Only for threads that may block.
    pub(super) fn wait<T>(
        &self,
        cancelled: &AtomicBool,
        what: impl Future<Output = T>,
    ) -> Result<T, SolveError> {
        self.runtime.block_on(async {
            let mut what = pin!(what);
            loop {
                tokio::select! {
                    done = &mut what => return Ok(done),
                    () = tokio::time::sleep(GLANCE) => {
                        if cancelled.load(Ordering::SeqCst) {
                            return Err(SolveError::Cancelled);
                        }
                    }
                }
            }
        })
    }
}

/// What is to be built, and what it is to become.
pub(crate) struct Solve {
    /// The options.
    pub options: Options,
    /// The session that the client serves its files in.
    pub session: Option<String>,
    /// What the build may do beyond a container's rights.
    pub allowed: Allowed,
    /// Where the result goes.
    pub outputs: Vec<Output>,
    /// Caches that are written.
    pub caches: Caches,
    /// What registries are shown of the user, as far as it came with the request.
    pub credentials: Credentials,
    /// Images that the client calls inputs.
    pub inputs: BTreeMap<String, Images>,
    /// Whether errors are the classic builder's.
    pub classic: bool,
    /// A context that came with the request.
    pub tar: Mutex<Option<Box<dyn Read + Send>>>,
}

impl fmt::Debug for Solve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solve")
            .field("options", &self.options)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Solve {
    pub(super) fn take_tar(&self) -> Option<Box<dyn Read + Send>> {
        self.tar.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says that there is no Dockerfile.
    pub(super) fn no_dockerfile(&self, name: Option<&str>) -> SolveError {
        let name = name.unwrap_or("Dockerfile");
        SolveError::Invalid(if self.classic {
            format!("Cannot locate specified Dockerfile: {name}")
        } else {
            format!("failed to read dockerfile: open {name}: no such file or directory")
        })
    }
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// One image for each platform.
    pub images: Vec<(Platform, Digest)>,
    /// Whether the images are there for the outputs alone.
    pub passing: bool,
}

/// What became of a build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Solved {
    /// The first image.
    pub image: Option<Digest>,
    /// What clients are told: `containerimage.digest`, …
    pub response: HashMap<String, String>,
}

/// Hears what the builder says, of the Dockerfile with this name and text.
pub(crate) type Listener<'l> = &'l (dyn Fn(&BuildEvent) + Sync);

/// Builds, and makes of it what is wanted.
pub(crate) fn run(
    workshop: &Workshop,
    solve: &Solve,
    progress: &Progress,
    listener: Listener<'_>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Solved, SolveError> {
    let built = build(workshop, solve, progress, listener, cancelled)?;
    deliver(workshop, solve, &built, progress, cancelled)
}

/// Makes of a build what is wanted.
pub(crate) fn deliver(
    workshop: &Workshop,
    solve: &Solve,
    built: &Built,
    progress: &Progress,
    cancelled: &Arc<AtomicBool>,
) -> Result<Solved, SolveError> {
    let session = session(workshop, solve)?;
    let mut engine = workshop.engine()?;
    engine.set_stop(Some(Arc::clone(cancelled)));
    let pushes = |output: &&Output| matches!(output, Output::Store { push: true, .. });
    let pushed = solve.outputs.iter().filter(pushes).flat_map(Output::names);
    let registries = pushed.map(|name| name.registry().to_owned()).collect();
    engine.set_credentials(Some(shown(
        workshop,
        solve,
        session.as_ref(),
        &registries,
        cancelled,
    )?));
    let delivered = outputs::deliver(&outputs::Delivery {
        engine: &engine,
        workshop,
        session: session.as_ref(),
        outputs: &solve.outputs,
        built,
        progress,
        cancelled,
    });
    if built.passing {
        for (_, image) in &built.images {
            engine.builds().forget(image)?;
        }
    }
    delivered
}

/// Builds one image for each platform.
pub(crate) fn build(
    workshop: &Workshop,
    solve: &Solve,
    progress: &Progress,
    listener: Listener<'_>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Built, SolveError> {
    let session = session(workshop, solve)?;
    let engine = workshop.engine()?;
    let keeps = solve.outputs.iter().any(Output::keeps_image);
    let gathering = Gathering::new(&engine, workshop, solve, session.as_ref(), progress, cancelled);
    let inputs = gathering.gather()?;
    let options = &solve.options;
    let many = options.platforms.len() > 1;
    let tags: Vec<Reference> = solve.outputs.iter().flat_map(Output::names).cloned().collect();
    let mut build = plan(solve, &inputs)?;
    // Of several platforms the names lead to all images at once, when all are built.
    if keeps && !many {
        build.tags.clone_from(&tags);
    }
    // Another engine: the inputs are the first one's as long as the build lasts.
    let mut engine = workshop.engine()?;
    engine.set_stop(Some(Arc::clone(cancelled)));
    let named = engine::builder::images(&build).unwrap_or_default();
    let mut registries: BTreeSet<String> = named
        .iter()
        .map(|(image, _)| image.registry().to_owned())
        .collect();
    registries.extend(
        build
            .cache_from
            .iter()
            .chain(solve.caches.places())
            .filter_map(|place| match place {
                CachePlace::Registry(name) => Some(name.registry().to_owned()),
                CachePlace::Directory(_) => None,
            }),
    );
    engine.set_credentials(Some(shown(
        workshop,
        solve,
        session.as_ref(),
        &registries,
        cancelled,
    )?));
    let run_root = &engine.locations().run_root;
    let mut agents = agents::Agents::default();
    if let Some(session) = &session {
        build.secrets = workshop.wait(cancelled, secrets::wanted(session, &build))??;
        agents = workshop.wait(cancelled, agents::wanted(session, &build, run_root))??;
        build.agents.clone_from(&agents.sockets);
    }
    let mut images = Vec::new();
    let began = since_1970();
    let reports = Mutex::new(Vec::new());
    let (name, text) = (
        build.dockerfile.0.display().to_string(),
        build.dockerfile.1.clone(),
    );
    for platform in &options.platforms {
        build.platform = platform.clone();
        let manner = Manner {
            platform: many.then(|| platform.to_string()),
            again: !images.is_empty(),
            passing: !keeps,
        };
        let steps = progress.steps((&name, &text), manner);
        let events = |event| {
            if let BuildEvent::Report(report) = &event {
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.push(StepReport::clone(report));
            }
            listener(&event);
            steps.event(event);
        };
        let image = engine.builds().build(&build, &events, cancelled);
        let image = image.map_err(|error| {
            if cancelled.load(Ordering::SeqCst) {
                return SolveError::Cancelled;
            }
            SolveError::Build {
                error: Box::new(error),
                dockerfile: Box::new((name.clone(), text.clone())),
            }
        })?;
        images.push((platform.clone(), image));
    }
    if many && keeps && !tags.is_empty() {
        let digests: Vec<Digest> = images.iter().map(|(_, image)| *image).collect();
        engine.images().make_index(&digests, &tags)?;
    }
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    solve.caches.write(&engine, &reports, &images, began, progress)?;
    // The sockets must be there as long as something is built.
    drop(agents);
    Ok(Built {
        images,
        passing: !keeps,
    })
}

/// Says what a client asks of the Dockerfile, without building it.
pub(super) fn call(
    workshop: &Workshop,
    solve: &Solve,
    progress: &Progress,
    cancelled: &AtomicBool,
) -> Result<Metadata, SolveError> {
    let session = session(workshop, solve)?;
    let engine = workshop.engine()?;
    let gathering = Gathering::new(&engine, workshop, solve, session.as_ref(), progress, cancelled);
    let inputs = gathering.gather_definition()?;
    let request = solve.options.call.as_deref().unwrap_or_default();
    calls::answer(&engine, &plan(solve, &inputs)?, request)
}

/// Makes the builder's request; names, secrets and agents are not in it yet.
fn plan(solve: &Solve, inputs: &Inputs<'_>) -> Result<Build, SolveError> {
    let options = &solve.options;
    Ok(Build {
        context: inputs.context.clone(),
        dockerfile: inputs.dockerfile.clone(),
        ignore: inputs.ignore.clone(),
        arguments: options.arguments.clone(),
        target: options.target.clone(),
        tags: Vec::new(),
        labels: options.labels.clone(),
        no_cache: options.no_cache,
        pull: options.pull,
        network: options.network,
        platform: Platform::host(),
        image_time: None,
        source_date_epoch: options.epoch()?,
        reproducible: true,
        lock: None,
        proxy: options.proxy(),
        extra_hosts: options.hosts.clone(),
        allowed: solve.allowed,
        contexts: inputs.contexts.clone(),
        secrets: BTreeMap::<String, Secret>::new(),
        agents: BTreeMap::new(),
        uncached_stages: options.uncached_stages.clone(),
        limits: options.limits.clone(),
        cache_from: options.caches.clone(),
        inline_cache: solve.caches.inline,
        debug_shell: false,
    })
}

fn session(workshop: &Workshop, solve: &Solve) -> Result<Option<Arc<Session>>, SolveError> {
    let id = solve.session.as_deref().filter(|id| !id.is_empty());
    id.map(|id| workshop.session(id)).transpose()
}

/// Returns what registries are shown of the user.
fn shown(
    workshop: &Workshop,
    solve: &Solve,
    session: Option<&Arc<Session>>,
    registries: &BTreeSet<String>,
    cancelled: &AtomicBool,
) -> Result<Credentials, SolveError> {
    let mut shown = solve.credentials.clone();
    if let Some(session) = session {
        shown.extend(workshop.wait(cancelled, credentials::ask(session, registries))??);
    }
    Ok(shown)
}

fn since_1970() -> i64 {
    let now = super::progress::now();
    now.seconds * 1_000_000_000 + i64::from(now.nanos)
}
