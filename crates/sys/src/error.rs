//! The error of a system call: what was attempted, on what, and the kernel's answer.

use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A failed system call.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}{}", subject.as_ref().map(|path| format!(" '{}'", path.display())).unwrap_or_default())]
pub struct SysError {
    /// What was attempted, as a verb: `open`, `mount overlay on`.
    pub action: &'static str,
    /// The file, directory or object, if there is one.
    pub subject: Option<PathBuf>,
    /// The kernel's answer.
    #[source]
    pub errno: Errno,
}

impl SysError {
    /// Makes a `map_err` closure for a call on a path.
    pub fn on(action: &'static str, subject: impl AsRef<Path>) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            action,
            subject: Some(subject.as_ref().to_owned()),
            errno,
        }
    }

    /// Makes a `map_err` closure for a call that concerns no path.
    pub fn of(action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            action,
            subject: None,
            errno,
        }
    }

    /// Wraps an `std::io::Error` whose cause was the kernel.
    pub fn io(action: &'static str, subject: impl AsRef<Path>, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Self {
            action,
            subject: Some(subject.as_ref().to_owned()),
            errno,
        }
    }
}
