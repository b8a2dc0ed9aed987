//! `exec`: a further process in a running container.
use super::{Containers, record::ContainerId, request::ExecRequest, session::Session};
use crate::EngineError;

impl Containers<'_> {
    /// Starts a process and returns a session with it, `None` if it was detached. The session's first event is
    /// `Started` or `Failed`.
    pub fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<Option<Session>, EngineError> {
        todo!("{id} {request:?}")
    }
}
