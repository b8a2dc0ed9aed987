//! `attach`: a session with a container that runs.
use super::{Containers, record::ContainerId, session::Session};
use crate::EngineError;

impl Containers<'_> {
    /// Connects to a running container's monitor; what it wrote before is in its log.
    pub fn attach(&self, id: &ContainerId) -> Result<Session, EngineError> {
        todo!("{id}")
    }
}
