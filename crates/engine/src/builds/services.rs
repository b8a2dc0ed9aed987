//! What the builder needs of the engine: base images, and commands run in containers of their own.

use super::cache_import::OpenCache;
use crate::containers::request::{NetworkMode, PullPolicy};
use crate::containers::session::Session;
use crate::images::PullEvent;
use crate::{Engine, EngineError, containers};
use builder::{CachePlace, FailedStep, OutputStream, RunNetwork, RunStep, ServiceError};
use oci::{Digest, Platform, Reference};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use sys::path::Tree;

/// How often a cancelled build is noticed while something is fetched.
const GLANCE: Duration = Duration::from_millis(50);

pub(super) struct EngineServices<'e> {
    pub(super) engine: &'e Engine,
    pub(super) cancelled: &'e AtomicBool,
    /// The caches of `--cache-from`.
    pub(super) caches: RwLock<Vec<Arc<OpenCache>>>,
    /// The user's terminal, for a shell in a step that has failed.
    pub(super) shell: Option<&'e DebugShell<'e>>,
}

impl std::fmt::Debug for EngineServices<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineServices")
            .field("caches", &self.caches)
            .finish_non_exhaustive()
    }
}

/// Has the conversation with a shell in a step that has failed, on the user's terminal.
pub type DebugShell<'a> = dyn Fn(&FailedStep<'_>, Session) + Sync + 'a;

impl<'e> EngineServices<'e> {
    pub(super) fn new(engine: &'e Engine, cancelled: &'e AtomicBool) -> Self {
        Self {
            engine,
            cancelled,
            shell: None,
            caches: RwLock::default(),
        }
    }

    /// Does something that may take long. Who presses Ctrl-C must not wait for a server that says nothing: nobody waits
    /// for the thread then, and the answer is nothing.
    fn patiently<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || give.send(work()).is_ok());
        loop {
            match take.recv_timeout(GLANCE) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !builder::Services::cancelled(self) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Does something that ends when `stop` is set, which it is when the build is cancelled.
    fn stoppably<T>(&self, work: impl FnOnce(&Arc<AtomicBool>) -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let ended = ended;
                while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                    stop.store(builder::Services::cancelled(self), Ordering::Relaxed);
                }
            });
            let done = work(&stop);
            drop(end);
            done
        })
    }

    fn caches(&self) -> Vec<Arc<OpenCache>> {
        self.caches.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl builder::Services for EngineServices<'_> {
    fn base_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        refresh: bool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<store::Image, ServiceError> {
        let policy = if refresh {
            PullPolicy::Always
        } else {
            PullPolicy::Missing
        };
        let progress = RefCell::new(progress);
        let tell = |event| {
            if let Some(line) = line(event) {
                (progress.borrow_mut())(&line);
            }
        };
        self.engine
            .images()
            .ensure(&reference.to_string(), Some(platform), policy, &tell)
            .map_err(service_error)
    }

    fn download(
        &self,
        url: &str,
        authorization: Option<&str>,
        into: std::fs::File,
    ) -> Result<builder::Downloaded, ServiceError> {
        let client = self.engine.registry_client().map_err(service_error)?;
        let (url, authorization) = (url.to_owned(), authorization.map(str::to_owned));
        match self.patiently(move || client.download(&url, authorization.as_deref(), into)) {
            Some(Ok(downloaded)) => Ok(builder::Downloaded {
                file_name: downloaded.file_name,
            }),
            Some(Err(error)) => Err(service_error(error.into())),
            None => Err(stopped("the download")),
        }
    }

    fn run(
        &self,
        step: &RunStep<'_>,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        stopped: &dyn Fn() -> bool,
    ) -> Result<i32, ServiceError> {
        let network = network_of(step);
        containers::step::run(self.engine, step, &network, output, stopped).map_err(service_error)
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn debug(&self, step: &RunStep<'_>, failed: &FailedStep<'_>) -> Result<(), ServiceError> {
        let Some(shell) = self.shell else { return Ok(()) };
        let talk = |session: Session| shell(failed, session);
        containers::step::run_on_terminal(self.engine, step, &network_of(step), &talk)
            .map(drop)
            .map_err(service_error)
    }

    fn open_cache(&self, place: &CachePlace, platform: &Platform) -> Result<String, ServiceError> {
        let opened = match place {
            CachePlace::Directory(path) => OpenCache::directory(path),
            CachePlace::Registry(reference) => {
                let client = self.engine.registry_client().map_err(service_error)?;
                let (reference, platform) = (reference.clone(), platform.clone());
                let name = reference.clone();
                let opened = self
                    .patiently(move || OpenCache::registry(client, &reference, &platform))
                    .ok_or_else(|| stopped("reading the cache"))?;
                // Images that were fetched before are as good as their registry.
                opened.or_else(|error| match OpenCache::image_here(&self.engine.store, &name) {
                    Ok(Some(cache)) => Ok(cache),
                    _ => Err(error),
                })
            }
        };
        let opened = opened.map_err(service_error)?;
        let note = opened.note();
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.push(Arc::new(opened));
        Ok(note)
    }

    fn recall(&self, key: &Digest) -> Result<bool, ServiceError> {
        for cache in self.caches().iter().filter(|cache| cache.has(key)) {
            match self.stoppably(|stop| cache.recall(self.engine, key, stop)) {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(_) if self.cancelled() => return Ok(false),
                Err(error) => return Err(cache.give_up(error)),
            }
        }
        Ok(false)
    }

    fn recall_mount(&self, id: &str, into: &Tree) -> Result<bool, ServiceError> {
        for cache in self.caches().iter().filter(|cache| cache.has_mount(id)) {
            match self.stoppably(|stop| cache.recall_mount(id, into, stop)) {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(error) => return Err(cache.give_up(error)),
            }
        }
        Ok(false)
    }
}

/// The lines of a pull that are worth a line in a build's log.
fn line(event: PullEvent) -> Option<String> {
    match event {
        PullEvent::Status { message } => Some(message),
        PullEvent::LayerDone { id, existed: false } => Some(format!("{id}: Pull complete")),
        PullEvent::Layer { .. } | PullEvent::LayerDone { .. } => None,
    }
}

fn network_of(step: &RunStep<'_>) -> NetworkMode {
    match step.network {
        RunNetwork::Default => NetworkMode::Bridge,
        RunNetwork::Host => NetworkMode::Host,
        RunNetwork::None => NetworkMode::None,
    }
}

fn stopped(what: &str) -> ServiceError {
    ServiceError {
        message: format!("{what} was stopped"),
        source: None,
    }
}

pub(super) fn service_error(error: EngineError) -> ServiceError {
    ServiceError {
        message: error.to_string(),
        source: Some(Box::new(error)),
    }
}
