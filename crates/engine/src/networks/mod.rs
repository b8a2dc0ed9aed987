//! Networks: the default bridge, and what a container's endpoint on it is.
use crate::Engine;

/// The networks of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'e> {
    pub(crate) engine: &'e Engine,
}

impl Networks<'_> {
    /// Takes the default bridge and this root's firewall rules away if no container uses them; the next start makes
    /// them again.
    pub fn remove_idle(&self) -> Result<(), crate::EngineError> {
        todo!("{:?}", self.engine)
    }
}
