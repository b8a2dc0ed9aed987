//! `rm`, and `container prune`.
use super::{Containers, record::ContainerId};
use crate::EngineError;

impl Containers<'_> {
    /// Removes a container; with `force` also a running one, by SIGKILL; with `volumes` also its anonymous volumes.
    pub fn remove(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError> {
        todo!("{id} {force} {volumes}")
    }

    /// Removes every container that does not run and that the filters (`until`, `label`, `label!`) let through.
    /// Returns their ids and the bytes given back.
    pub fn prune(&self, filters: &[(String, String)]) -> Result<(Vec<ContainerId>, u64), EngineError> {
        todo!("{filters:?}")
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        todo!("{id} {name}")
    }
}
