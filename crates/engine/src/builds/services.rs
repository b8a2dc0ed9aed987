//! What the builder needs of the engine: base images, and commands run in containers of their own.

use crate::containers::request::{NetworkMode, PullPolicy};
use crate::images::PullEvent;
use crate::{Engine, EngineError, containers};
use builder::{OutputStream, RunNetwork, RunStep, ServiceError};
use oci::{Platform, Reference};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// How often a cancelled build is noticed while something is fetched.
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct EngineServices<'e> {
    pub(super) engine: &'e Engine,
    pub(super) cancelled: &'e AtomicBool,
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
        let (give, take) = std::sync::mpsc::sync_channel(1);
        // A server that says nothing must not hold up who has pressed Ctrl-C: nobody waits for this thread then.
        std::thread::spawn(move || {
            give.send(client.download(&url, authorization.as_deref(), into))
                .is_ok()
        });
        loop {
            match take.recv_timeout(GLANCE) {
                Ok(Ok(downloaded)) => {
                    return Ok(builder::Downloaded {
                        file_name: downloaded.file_name,
                    });
                }
                Ok(Err(error)) => return Err(service_error(error.into())),
                Err(RecvTimeoutError::Timeout) if !self.cancelled() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(ServiceError {
                        message: "the download was stopped".to_owned(),
                        source: None,
                    });
                }
            }
        }
    }

    fn run(
        &self,
        step: &RunStep<'_>,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        stopped: &dyn Fn() -> bool,
    ) -> Result<i32, ServiceError> {
        let network = match step.network {
            RunNetwork::Default => NetworkMode::Bridge,
            RunNetwork::Host => NetworkMode::Host,
            RunNetwork::None => NetworkMode::None,
        };
        containers::step::run(self.engine, step, &network, output, stopped).map_err(service_error)
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
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

fn service_error(error: EngineError) -> ServiceError {
    ServiceError {
        message: error.to_string(),
        source: Some(Box::new(error)),
    }
}
