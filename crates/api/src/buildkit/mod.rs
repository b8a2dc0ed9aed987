//! BuildKit's protocol before our own builder: what `docker build`, `buildx`, Compose and bake speak.
//!
//! ```text
//! POST /session   the client's connection becomes a session (sessions): it serves files, secrets, agents, and we call
//! POST /grpc      the client calls: control (Solve, Status, …) and gateway (the frontend's side of a Solve)
//! POST /build     the same Solve with progress in the response (operations::build)
//!
//! attributes  the Dockerfile frontend's options, as clients write them
//! inputs      where the Dockerfile and the contexts come from: receive, addresses, uploads
//! solve       options and inputs -> a build of the engine's, and what it is to become: outputs, send
//! progress    the builder's events -> vertexes, logs, which history keeps
//! calls       what is said of a Dockerfile without building it
//! ```
//!
//! There is one frontend, the Dockerfile's: a client's own build graph (LLB) is refused.

mod agents;
pub(crate) mod attributes;
pub(crate) mod caches;
mod calls;
pub(crate) mod control;
pub(crate) mod credentials;
mod definitions;
mod failures;
pub(crate) mod filters;
mod gateway;
mod grpc;
mod history;
mod inputs;
pub(crate) mod jobs;
pub(crate) mod outputs;
pub(crate) mod progress;
mod receive;
mod secrets;
mod send;
pub(crate) mod sessions;
pub(crate) mod solve;
mod wire;

pub(crate) use grpc::serve;

use crate::server::Failure;
use engine::EngineError;
use hyper::StatusCode;

/// The largest message that clients send, as BuildKit has it.
const LARGEST_MESSAGE: usize = 16 << 20;

/// What builds share while they run.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// Clients' sessions.
    pub sessions: sessions::Sessions,
    /// Builds that run.
    pub jobs: jobs::Jobs,
    /// Tells who listens of builds that begin and end.
    pub history: history::Changes,
}

/// Why a build did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SolveError {
    /// The build failed.
    #[error("{error}")]
    Build {
        /// Why.
        error: Box<EngineError>,
        /// The Dockerfile: its name, and its text.
        dockerfile: Box<(String, String)>,
    },
    /// The user has stopped it.
    #[error("the build was cancelled")]
    Cancelled,
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The request makes no sense, or the client does not do its part.
    #[error("{0}")]
    Invalid(String),
    /// Docker's builder has it, and ours does not.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The client's session failed.
    #[error("the client's session: {}", .0.message())]
    Session(Box<tonic::Status>),
}

impl From<tonic::Status> for SolveError {
    fn from(status: tonic::Status) -> Self {
        Self::Session(Box::new(status))
    }
}

impl From<sys::SysError> for SolveError {
    fn from(error: sys::SysError) -> Self {
        Self::Engine(error.into())
    }
}

impl SolveError {
    /// Says all there is to say, for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Build { error, .. } => explained(error),
            Self::Engine(error) => explained(error),
            other => other.to_string(),
        }
    }
}

fn explained(error: &EngineError) -> String {
    let text = engine::explain(error);
    let hint = match error {
        EngineError::Build(error) => error.hint(),
        error => error.hint().map(str::to_owned),
    };
    match hint {
        Some(hint) => format!("{text}: {hint}"),
        None => text,
    }
}

impl From<SolveError> for Failure {
    fn from(error: SolveError) -> Self {
        match error {
            SolveError::Engine(error) => error.into(),
            SolveError::Invalid(_) => Self::bad_request(error.text()),
            SolveError::Unsupported(_) => Self::new(StatusCode::NOT_IMPLEMENTED, error.text()),
            SolveError::Build { .. } | SolveError::Cancelled | SolveError::Session(_) => {
                Self::internal(error.text())
            }
        }
    }
}

impl From<SolveError> for tonic::Status {
    fn from(error: SolveError) -> Self {
        let text = error.text();
        match error {
            SolveError::Build { ref dockerfile, .. } => failures::status(&error, dockerfile),
            // Go's clients know the word.
            SolveError::Cancelled => Self::cancelled("context canceled"),
            // Clients print every code but this one before the message, once for each call that it passed.
            SolveError::Engine(_) | SolveError::Invalid(_) | SolveError::Unsupported(_) => {
                Self::unknown(text)
            }
            SolveError::Session(status) => *status,
        }
    }
}
