//! What users and clients write of containers as text, read once: each file here knows one grammar of Docker's, and
//! turns text into a typed request or into the message that Docker gives. The command line's flags and the API's bodies
//! share them.

pub mod boolean;
pub mod device;
pub mod extra_host;
pub mod modes;
pub mod network;
pub mod restart;
pub mod security;
pub mod size;
pub mod tmpfs;
pub mod ulimit;
pub mod volume;

use super::request::MountRequest;

/// A text that does not follow its grammar, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Makes an [`Invalid`] of anything that formats.
pub fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

impl From<Invalid> for crate::EngineError {
    fn from(Invalid(message): Invalid) -> Self {
        super::invalid(message)
    }
}

/// Refuses two mounts in one place.
pub fn check_targets(mounts: &[MountRequest]) -> Result<(), Invalid> {
    for (index, mount) in mounts.iter().enumerate() {
        if mounts[..index].iter().any(|earlier| same_target(earlier, mount)) {
            return invalid(format!("Duplicate mount point: {}", mount.target));
        }
    }
    Ok(())
}

/// Says whether two mounts are in one place, however that is written.
pub fn same_target(one: &MountRequest, other: &MountRequest) -> bool {
    fn parts(target: &str) -> impl Iterator<Item = &str> {
        target.split('/').filter(|part| !matches!(*part, "" | "."))
    }
    parts(&one.target).eq(parts(&other.target))
}
