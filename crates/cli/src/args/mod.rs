//! What users write, read once: each file here knows one grammar of Docker's command line, and turns text into the
//! engine's typed requests or into the message that Docker gives.

#[cfg(test)]
mod arbitrary;
pub(crate) mod boolean;
pub(crate) mod build;
pub(crate) mod build_cache;
pub(crate) mod build_output;
pub(crate) mod container;
pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod extra_host;
pub(crate) mod filter;
pub(crate) mod gpus;
pub(crate) mod health;
pub(crate) mod integer;
pub(crate) mod label;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod others;
pub(crate) mod placement;
pub(crate) mod pool;
pub(crate) mod publish;
pub(crate) mod rates;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod size;
pub(crate) mod timestamp;
pub(crate) mod tmpfs;
pub(crate) mod ulimit;
pub(crate) mod volume;

/// A text that does not follow its grammar, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub String);

/// Makes an [`Invalid`] of anything that formats.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}
