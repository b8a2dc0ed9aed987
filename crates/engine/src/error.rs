//! The engine's error, and the sole place that says of what kind each is.

use std::error::Error;

/// What kind of failure it is. The API maps it to an HTTP status, the command line to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The state does not allow it: a name in use, a container that runs.
    Conflict,
    /// It may not be done.
    Forbidden,
    /// Our fault, or the kernel's.
    Internal,
    /// The request makes no sense.
    InvalidParameter,
    /// What it names is not there.
    NotFound,
    /// There is no such feature.
    NotImplemented,
    /// Credentials were not accepted.
    Unauthorized,
    /// Something that we need did not answer: a registry.
    Unavailable,
}

/// Why a request was not carried out. Texts that Docker's clients match on are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A build failed.
    #[error(transparent)]
    Build(#[from] Box<builder::BuildError>),
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// The state does not allow it.
    #[error("{message}")]
    Conflict {
        /// What stands against it, on what.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It may not be done.
    #[error("{message}")]
    Forbidden {
        /// What may not be done, with what.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The request makes no sense.
    #[error("{message}")]
    Invalid {
        /// What is wrong, with what.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// The container's log goes where nobody can read it.
    #[error("configured logging driver does not support reading")]
    LogsUnreadable,
    /// The network could not be set up.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// There is no such network.
    #[error("network {0} not found")]
    NoNetwork(String),
    /// There is no such thing.
    #[error("No such {kind}: {name}")]
    NotFound {
        /// `container`, `image`, `volume`, `network`, `object`.
        kind: &'static str,
        /// As the user wrote it.
        name: String,
    },
    /// We do not have it.
    #[error("{0} is not supported")]
    NotSupported(String),
    /// A registry did not give what was asked for.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// A container's process did not come about.
    #[error("failed to start container: {0}")]
    Start(#[from] runtime::StartError),
    /// The state database failed.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
}

/// Joins an error's text with those of its causes, as Go programs do; a cause that only repeats is left out.
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl EngineError {
    /// Says of what kind the failure is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Conflict { .. } => Kind::Conflict,
            Self::Config(_) | Self::Invalid { .. } => Kind::InvalidParameter,
            Self::NoNetwork(_)
            | Self::NotFound { .. }
            | Self::Registry(
                registry::RegistryError::NotFound(_)
                | registry::RegistryError::NoPlatform { .. }
                | registry::RegistryError::RepositoryNotFound(_),
            ) => Kind::NotFound,
            Self::Registry(
                registry::RegistryError::CredentialsRefused { .. }
                | registry::RegistryError::LoginRefused { .. },
            ) => Kind::Unauthorized,
            Self::LogsUnreadable | Self::NotSupported(_) => Kind::NotImplemented,
            Self::Forbidden { .. }
            | Self::Registry(registry::RegistryError::Denied(_) | registry::RegistryError::PushDenied(_)) => {
                Kind::Forbidden
            }
            Self::Registry(_) => Kind::Unavailable,
            Self::Start(error) if error.failure != runtime::StartFailure::Setup => Kind::InvalidParameter,
            Self::Build(_)
            | Self::Network(_)
            | Self::Start(_)
            | Self::State(_)
            | Self::Store(_)
            | Self::Sys(_) => Kind::Internal,
        }
    }

    /// Returns what the user may do about it, apart from the message.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Conflict { hint, .. } | Self::Forbidden { hint, .. } | Self::Invalid { hint, .. } => {
                hint.as_deref()
            }
            _ => None,
        }
    }

    /// Returns the causes, outermost first, without this error itself.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut source = self.source();
        while let Some(error) = source {
            causes.push(error.to_string());
            source = error.source();
        }
        causes
    }
}
