//! Errors of a start, in words: they cross from one process to another, so the cause is in the text.

use crate::{StartError, StartFailure};
use rustix::io::Errno;
use std::error::Error;
use std::fmt::Display;
use sys::SysError;

impl StartError {
    /// An error of the setup: what was attempted, on what, and why it failed.
    pub(crate) fn setup(message: impl Into<String>) -> Self {
        Self {
            failure: StartFailure::Setup,
            message: message.into(),
        }
    }

    /// Puts what was being done before the reason.
    pub(crate) fn during(self, what: impl Display) -> Self {
        Self {
            failure: self.failure,
            message: format!("{what}: {}", self.message),
        }
    }
}

impl From<SysError> for StartError {
    fn from(error: SysError) -> Self {
        Self::setup(format!("{error}: {}", reason(error.errno)))
    }
}

/// Makes a `map_err` closure for a call whose errno needs a subject.
pub(crate) fn failed(what: impl Display) -> impl FnOnce(Errno) -> StartError {
    move |errno| StartError::setup(format!("cannot {what}: {}", reason(errno)))
}

/// The same for errors of system calls that already say what was attempted, on what.
pub(crate) fn during(what: impl Display) -> impl FnOnce(SysError) -> StartError {
    move |error| StartError::from(error).during(what)
}

/// Writes an error with its causes on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The kernel's answer in words as users know them: `no such file or directory`.
pub(crate) fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let words = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words);
    let mut letters = words.chars();
    match letters.next() {
        // `RFS specific error` and the like keep their capitals.
        Some(first)
            if !letters
                .as_str()
                .starts_with(|next: char| next.is_ascii_uppercase()) =>
        {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_on_what_and_why() {
        let error = SysError::on("open", "/x")(Errno::NOENT);
        assert_eq!(
            StartError::from(error).message,
            "cannot open '/x': no such file or directory"
        );
        assert_eq!(reason(Errno::NOEXEC), "exec format error");
        assert_eq!(
            failed("set hostname")(Errno::PERM).message,
            "cannot set hostname: operation not permitted"
        );
    }
}
