//! Finding containers and looking at one.
use super::{
    Containers,
    record::{Container, ContainerId},
};
use crate::EngineError;

impl Containers<'_> {
    /// Finds a container by id, name or unambiguous id prefix, in this order.
    pub fn find(&self, text: &str) -> Result<ContainerId, EngineError> {
        todo!("{text}")
    }

    /// Returns all that is known of a container; with `size`, measured.
    pub fn inspect(&self, id: &ContainerId, size: bool) -> Result<Container, EngineError> {
        todo!("{id} {size}")
    }
}
