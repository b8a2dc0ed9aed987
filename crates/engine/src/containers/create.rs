//! `create`: a request becomes a record and a directory.
use super::{Containers, record::ContainerId, request::CreateContainer};
use crate::{EngineError, images::PullEvent};

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its id.
    pub id: ContainerId,
    /// What was asked for and cannot be done here, or is better done otherwise.
    pub warnings: Vec<String>,
}

impl Containers<'_> {
    /// Makes a container; fetches its image first if the request's pull policy says so. Nothing is left on failure.
    pub fn create(
        &self,
        request: CreateContainer,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<CreatedContainer, EngineError> {
        progress(PullEvent::Status {
            message: String::new(),
        });
        todo!("{request:?} {:?}", self.engine)
    }
}
