//! Why an operation failed, as HTTP has it.

use engine::{EngineError, Kind};
use hyper::StatusCode;

/// A failed operation: the status, and the message of `{"message": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status.
    pub status: StatusCode,
    /// What was attempted, on what, and why it failed. Clients search some of Docker's texts.
    pub message: String,
}

impl Failure {
    /// Makes one.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The state does not allow it.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// Our fault, or the kernel's.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Docker has it, and we do not.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported"))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let status = match error.kind() {
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::InvalidParameter => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            // Docker answers 500 for registries that do not: clients take a 503 for a daemon that is going down.
            Kind::Internal | Kind::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut message = engine::explain(&error);
        if let Some(hint) = error.hint() {
            message = format!("{message}: {hint}");
        }
        Self { status, message }
    }
}

/// The connection broke, on either side.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error.to_string())
    }
}
