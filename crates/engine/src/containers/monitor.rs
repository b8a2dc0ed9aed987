//! The monitor: one per running container, the parent of its first process.
//!
//! `start` hands it a plan, its lock and its sockets; it makes the process, then only watches: output to the log and
//! to attached clients, signals and sizes back, the exit record, the restart policy.
use std::process::ExitCode;

/// The hidden first argument that makes this program a monitor. `main` looks for it before anything else.
pub const ARGUMENT: &str = "coracle-monitor";

/// Runs a monitor to its end. Called by `main` in a process that has no other thread and has parsed nothing.
pub fn main() -> ExitCode {
    todo!()
}
