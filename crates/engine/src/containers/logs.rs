//! `logs`: reading what the monitor wrote.
use super::{Containers, record::ContainerId, request::LogRequest};
use crate::EngineError;

/// A piece of a log, one line or part of an overlong one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Whether it came from standard error.
    pub stderr: bool,
    /// The bytes, newline included where there was one.
    pub bytes: Vec<u8>,
}

impl Containers<'_> {
    /// Calls `each` with the entries in order, until it returns `false` or the log ends: with `follow`, when the
    /// container has stopped.
    pub fn logs(
        &self,
        id: &ContainerId,
        request: &LogRequest,
        each: &mut dyn FnMut(LogEntry) -> bool,
    ) -> Result<(), EngineError> {
        todo!(
            "{id} {request:?} {}",
            each(LogEntry {
                time: 0,
                stderr: false,
                bytes: Vec::new()
            })
        )
    }
}
