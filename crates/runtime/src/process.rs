//! A running process of a container and how it ended.

use crate::{Exit, family};
use std::os::fd::BorrowedFd;
use std::path::Path;
use sys::SysError;
use sys::process::Child;

/// A running process of a container, our child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    warnings: Vec<String>,
    exit: Option<Exit>,
}

impl Process {
    pub(crate) fn new(child: Child, warnings: Vec<String>) -> Self {
        Self {
            child,
            warnings,
            exit: None,
        }
    }

    /// Returns the pid, in the caller's pid namespace.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Returns the pidfd, readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd()
    }

    /// Returns what had to be done differently than asked, for the user: a limit that could not be raised, say.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sends a signal to the process.
    pub fn kill(&self, signal: i32) -> Result<(), SysError> {
        self.child.kill(signal)
    }

    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Kills the process and reaps it.
    pub(crate) fn destroy(&self) -> Result<(), SysError> {
        self.child.destroy().map(drop)
    }

    /// Kills it and all that came of it and is still in `cgroup`: every process of its session, and every one whose
    /// ancestor it is. All are stopped first, so that none forks away.
    pub fn kill_family(&self, cgroup: &Path) -> Result<(), SysError> {
        family::kill(self.pid(), self.pidfd(), cgroup)
    }

    /// Waits for the end and reaps.
    pub fn wait(&mut self) -> Result<Exit, SysError> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let ended = self.child.wait()?;
        let exit = Exit {
            code: ended.code,
            signal: ended.signal,
        };
        self.exit = Some(exit);
        Ok(exit)
    }
}
