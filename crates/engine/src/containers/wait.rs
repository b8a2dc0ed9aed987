//! `wait`: until a container has stopped.
use super::{
    Containers,
    record::{ContainerId, ExitRecord},
};
use crate::EngineError;

impl Containers<'_> {
    /// Blocks until the container does not run (at once if it does not) and returns how it ended.
    pub fn wait(&self, id: &ContainerId) -> Result<ExitRecord, EngineError> {
        todo!("{id}")
    }
}
