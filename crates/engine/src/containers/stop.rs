//! `stop`, `kill`, `restart`, `pause`, `unpause`.
use super::{Containers, record::ContainerId};
use crate::EngineError;
use std::time::Duration;

impl Containers<'_> {
    /// Sends the stop signal, and after `timeout` (`None`: the container's own, 10 s by default) SIGKILL; returns when
    /// the container has stopped. One that does not run is left alone.
    pub fn stop(
        &self,
        id: &ContainerId,
        signal: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<(), EngineError> {
        todo!("{id} {signal:?} {timeout:?}")
    }

    /// Sends a signal (name or number) to the first process; `container … is not running` is a conflict.
    pub fn kill(&self, id: &ContainerId, signal: &str) -> Result<(), EngineError> {
        todo!("{id} {signal:?}")
    }

    /// Stops and starts.
    pub fn restart(
        &self,
        id: &ContainerId,
        signal: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<(), EngineError> {
        todo!("{id} {signal:?} {timeout:?}")
    }

    /// Freezes every process.
    pub fn pause(&self, id: &ContainerId) -> Result<(), EngineError> {
        todo!("{id}")
    }

    /// Thaws them.
    pub fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        todo!("{id}")
    }
}
