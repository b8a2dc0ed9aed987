//! Volumes: directories that outlive containers.
use crate::{Engine, EngineError};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The volumes of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'e> {
    pub(crate) engine: &'e Engine,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name; 64 hex digits for an anonymous one.
    pub name: String,
    /// Whether it was made for one container alone.
    pub anonymous: bool,
    /// Its directory on the host.
    pub mountpoint: PathBuf,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// How many containers refer to it.
    pub containers: u64,
}

impl Volumes<'_> {
    /// Makes a volume, or returns the one that has this name.
    pub fn create(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        todo!("{name:?} {labels:?} {:?}", self.engine)
    }

    /// Returns all volumes by name.
    pub fn list(&self) -> Result<Vec<Volume>, EngineError> {
        todo!()
    }

    /// Returns one.
    pub fn inspect(&self, name: &str) -> Result<Volume, EngineError> {
        todo!("{name}")
    }

    /// Removes one that no container refers to. With `force`, one that is not there is no error.
    pub fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        todo!("{name} {force}")
    }

    /// Removes anonymous volumes (with `all`, named ones too) that no container refers to. Returns names and bytes.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<(Vec<String>, u64), EngineError> {
        todo!("{all} {filters:?}")
    }
}
