//! `ps`.
use super::{Containers, record::Container, request::ListContainers};
use crate::EngineError;

impl Containers<'_> {
    /// Returns containers, the newest first.
    pub fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EngineError> {
        todo!("{request:?}")
    }
}
