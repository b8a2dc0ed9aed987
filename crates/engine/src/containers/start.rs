//! `start`: the record is resolved into a plan, and a monitor is started on it.
use super::{Containers, record::ContainerId, session::Session};
use crate::EngineError;

/// How to start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartRequest {
    /// Return a session that sees the container's output from the first byte on, and may send input.
    pub attach: bool,
    /// Rows and columns of the client's terminal.
    pub size: Option<(u16, u16)>,
}

impl Containers<'_> {
    /// Starts a container and returns when its command has been executed, with a session if one was asked for.
    /// Starting one that runs does nothing, as with Docker.
    pub fn start(&self, id: &ContainerId, request: StartRequest) -> Result<Option<Session>, EngineError> {
        todo!("{id} {request:?}")
    }
}
