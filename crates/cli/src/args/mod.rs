//! What users write, read once: each file here knows one grammar of Docker's command line, and turns text into the
//! engine's typed requests or into the message that Docker gives.

pub mod boolean;
pub mod build;
pub mod container;
pub mod csv;
pub mod device;
pub mod duration;
pub mod environment;
pub mod exec;
pub mod extra_host;
pub mod filter;
pub mod integer;
pub mod label;
pub mod mount;
pub mod network;
pub mod others;
pub mod publish;
pub mod restart;
pub mod security;
pub mod size;
pub mod timestamp;
pub mod tmpfs;
pub mod ulimit;
pub mod volume;

/// A text that does not follow its grammar, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Makes an [`Invalid`] of anything that formats.
pub fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}
