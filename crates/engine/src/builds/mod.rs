//! Builds: the builder, given what it needs of the engine.
use crate::{Engine, EngineError};
use oci::Digest;
use std::sync::atomic::AtomicBool;

/// The builds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'e> {
    pub(crate) engine: &'e Engine,
}

impl Builds<'_> {
    /// Builds an image. `cancelled` is looked at all the time; setting it ends the build within a second.
    pub fn build(
        &self,
        build: &builder::Build,
        events: &(dyn Fn(builder::BuildEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Digest, EngineError> {
        events(builder::BuildEvent::Cached { step: 0 });
        todo!("{build:?} {cancelled:?} {:?}", self.engine)
    }

    /// Removes build cache that no image needs; with `all` everything. Returns the bytes given back.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<u64, EngineError> {
        todo!("{all} {filters:?}")
    }
}
