//! Networks: the default bridge, and what a container's endpoint on it is.
use crate::Engine;

/// The networks of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'e> {
    pub(crate) engine: &'e Engine,
}
