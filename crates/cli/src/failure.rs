//! Why a command failed, in words for the terminal, and the exit code that goes with it.

use crate::args::Invalid;
use engine::EngineError;
pub(crate) use engine::explain as chain;
use engine::runtime::StartFailure;

/// The engine, or what stands in its place, could not do it (`docker run`'s 125).
pub(crate) const ENGINE: u8 = 125;
/// The command in the container cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command in the container is not there.
const NOT_FOUND: u8 = 127;
/// Interrupted from the keyboard.
pub(crate) const INTERRUPTED: u8 = 130;
/// Whoever read our output has gone: what the shell shows of a program that SIGPIPE killed.
const BROKEN_PIPE: u8 = 141;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to print on standard error; empty prints nothing.
    pub message: String,
    /// What the user may do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
    /// Whether the program's name stands before the message.
    pub named: bool,
    /// Usage and where to read more, below.
    pub trailer: Option<String>,
}

impl Failure {
    /// Makes a failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 1,
            named: true,
            trailer: None,
        }
    }

    /// Makes one that only sets the exit code; what there was to say has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            named: false,
            ..Self::new("").with_code(code)
        }
    }

    /// Makes one whose message stands alone on its line, without the program's name.
    pub(crate) fn bare(message: impl Into<String>) -> Self {
        Self {
            named: false,
            ..Self::new(message)
        }
    }

    /// Sets the exit code.
    #[must_use]
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Sets the hint.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Sets what stands below the message.
    #[must_use]
    pub(crate) fn with_trailer(self, trailer: impl Into<String>) -> Self {
        Self {
            trailer: Some(trailer.into()),
            ..self
        }
    }

    /// Makes a failure of a failed read or write of what the user named.
    pub(crate) fn file(verb: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(format!(
            "{verb} {}: {}",
            path.display(),
            crate::args::environment::reason(error)
        ))
    }

    /// Makes a failure of a container's process that did not come about.
    pub(crate) fn start(error: &engine::runtime::StartError) -> Self {
        let code = match error.failure {
            StartFailure::CommandNotExecutable => NOT_EXECUTABLE,
            StartFailure::CommandNotFound => NOT_FOUND,
            StartFailure::Setup => ENGINE,
        };
        Self::new(error.message.clone()).with_code(code)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let failure = match &error {
            EngineError::Start(start) => {
                let code = Self::start(start).code;
                Self::new(chain(&error)).with_code(code)
            }
            _ => Self::new(chain(&error)),
        };
        Self {
            hint: error.hint().map(str::to_owned),
            ..failure
        }
    }
}

impl From<Invalid> for Failure {
    fn from(Invalid(message): Invalid) -> Self {
        Self::new(message)
    }
}

impl From<oci::ReferenceError> for Failure {
    fn from(error: oci::ReferenceError) -> Self {
        Self::new(chain(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(BROKEN_PIPE);
        }
        Self::new(crate::args::environment::reason(&error))
    }
}
