//! Builds with a lock file: what a name meant when the file was written, it means now.

use super::Builds;
use super::services::EngineServices;
use crate::EngineError;
use crate::containers::request::PullPolicy;
use builder::{
    Build, CachePlace, Downloaded, FailedStep, Lock, OutputStream, Pin, RunStep, ServiceError, Services,
};
use oci::{Digest, Platform, Reference};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use sys::path::Tree;

/// The services of a build whose images are pinned.
#[derive(Debug)]
pub(super) struct Locked<'e> {
    pub(super) services: EngineServices<'e>,
    pub(super) lock: &'e Lock,
    pub(super) file: &'e PathBuf,
}

impl Services for Locked<'_> {
    fn base_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        refresh: bool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<store::Image, ServiceError> {
        let refuse = |message: String| ServiceError {
            message,
            source: None,
        };
        if reference.digest().is_some() {
            return self.services.base_image(reference, platform, refresh, progress);
        }
        let file = self.file.display();
        match self.lock.image(reference, platform) {
            None => Err(refuse(format!(
                "{file} does not say which {} for {platform} is meant; 'lock update' renews it",
                reference.familiar()
            ))),
            Some(Pin::Digest(digest)) => {
                let pinned = reference.with_digest(digest);
                self.services.base_image(&pinned, platform, false, progress)
            }
            Some(Pin::Id(id)) => {
                let image = self.services.base_image(reference, platform, false, progress)?;
                if image.id == id {
                    return Ok(image);
                }
                Err(refuse(format!(
                    "{} is {} here, and {file} wants {id}, which is in no registry; 'lock update' takes what is here",
                    reference.familiar(),
                    image.id
                )))
            }
        }
    }

    fn download(
        &self,
        url: &str,
        authorization: Option<&str>,
        into: std::fs::File,
    ) -> Result<Downloaded, ServiceError> {
        self.services.download(url, authorization, into)
    }

    fn run(
        &self,
        step: &RunStep<'_>,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        stopped: &dyn Fn() -> bool,
    ) -> Result<i32, ServiceError> {
        self.services.run(step, output, stopped)
    }

    fn cancelled(&self) -> bool {
        self.services.cancelled()
    }

    fn debug(&self, step: &RunStep<'_>, failed: &FailedStep<'_>) -> Result<(), ServiceError> {
        self.services.debug(step, failed)
    }

    fn open_cache(&self, place: &CachePlace, platform: &Platform) -> Result<String, ServiceError> {
        self.services.open_cache(place, platform)
    }

    fn recall(&self, key: &Digest) -> Result<bool, ServiceError> {
        self.services.recall(key)
    }

    fn recall_mount(&self, id: &str, into: &Tree) -> Result<bool, ServiceError> {
        self.services.recall_mount(id, into)
    }
}

impl Builds<'_> {
    /// Finds out what the images that a Dockerfile names are now: asks their registries, and takes what is here of
    /// those that are in none. Fetches what it has from the web, and what else is to be pinned, `addresses`.
    pub fn lock(
        &self,
        build: &Build,
        addresses: &[String],
        cancelled: &AtomicBool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Lock, EngineError> {
        let mut lock = Lock::default();
        for (reference, platform) in builder::images(build).map_err(Box::new)? {
            let images = self.engine.images();
            let text = reference.to_string();
            let fresh = images.ensure(&text, Some(&platform), PullPolicy::Always, &|_| {});
            let image = match fresh {
                Ok(image) => image,
                Err(error) => {
                    let Ok(here) = images.ensure(&text, Some(&platform), PullPolicy::Never, &|_| {}) else {
                        return Err(error);
                    };
                    tell(&format!(
                        "{} cannot be had from its registry ({error}); taking what is here",
                        reference.familiar()
                    ));
                    here
                }
            };
            let known = image
                .repository_digests
                .iter()
                .filter(|known| known.name() == reference.name())
                .find_map(Reference::digest);
            let pin = known.map_or(Pin::Id(image.id), |digest| Pin::Digest(*digest));
            lock.pin(&reference, &platform, pin);
        }
        let here = |reference: &Reference, platform: &Platform| {
            let images = self.engine.images();
            let found = images.ensure(
                &reference.to_string(),
                Some(platform),
                PullPolicy::Missing,
                &|_| {},
            );
            found.ok()
        };
        let mut sources = builder::sources(build, &here).map_err(Box::new)?;
        sources.extend(addresses.iter().cloned());
        let services = EngineServices::new(self.engine, cancelled);
        for source in sources {
            let pin = builder::pin_source(&self.engine.store, &services, build, &source);
            if let Some(pin) = pin.map_err(Box::new)? {
                lock.pin_source(&source, pin);
            }
        }
        Ok(lock)
    }
}
