//! A build's `RUN`: a command in a container that leaves no record.

use super::request::NetworkMode;
use crate::{Engine, EngineError};
use builder::{OutputStream, RunStep};

/// Runs a step under a monitor of its own (a build has threads, so it must not clone without exec) and returns its exit
/// code. Leaves nothing but the files in the step's upper directory: no record, no log, no cgroup, no link, no address.
/// When `cancelled` says so, the step is killed and the error tells.
pub(crate) fn run(
    engine: &Engine,
    step: &RunStep<'_>,
    network: &NetworkMode,
    output: &mut dyn FnMut(OutputStream, &[u8]),
    cancelled: &dyn Fn() -> bool,
) -> Result<i32, EngineError> {
    output(OutputStream::Stdout, &[]);
    todo!("{engine:?} {step:?} {network:?} {}", cancelled())
}
