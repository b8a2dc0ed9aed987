//! Containers, from create to remove.
//!
//! A request becomes a record ([`record`]); `start` resolves the record into a [`runtime::Plan`] and hands it to a
//! monitor ([`monitor`]), a process of its own that is the parent of the container's first process; everybody else
//! talks to that monitor through a [`session`].

pub mod apparmor;
pub mod attach;
pub mod boot;
pub mod commit;
pub mod copy;
pub mod create;
mod diff;
mod early;
pub mod exec;
mod finish;
mod health;
pub mod history;
pub mod inspect;
pub mod instance;
pub mod keys;
mod launch;
mod links;
pub mod list;
pub mod logs;
pub mod monitor;
mod mounts;
mod name;
pub(crate) mod network_files;
mod networks;
pub mod notation;
pub(crate) mod places;
pub mod policy;
pub(crate) mod quota;
pub mod record;
pub mod recover;
mod rejoin;
pub mod remove;
pub mod request;
pub(crate) mod rows;
pub(crate) mod running;
pub(crate) mod seat;
pub mod session;
mod sharing;
pub(crate) mod spec;
pub mod start;
pub mod stats;
pub(crate) mod step;
mod step_mounts;
mod still;
pub mod stop;
pub mod top;
pub mod update;
pub(crate) mod validate;
pub mod wait;

pub(crate) use start::publications;
pub use store::{Change, ChangeKind};

use crate::{Engine, EngineError};

/// The containers of an engine; its operations are in this module's files, one a file.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'e> {
    pub(crate) engine: &'e Engine,
}

impl Containers<'_> {
    /// Returns the record of a container, or says that there is no such container.
    pub(crate) fn record(self, id: &record::ContainerId) -> Result<rows::Record, EngineError> {
        self.engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::by_id(connection, id)?))?
            .ok_or_else(|| not_found(id.as_str()))
    }

    /// Removes the run directory of a container that does not run; its lock is the caller's.
    pub(crate) fn remove_run_directory(self, id: &record::ContainerId) {
        finish::remove_run_directory(self.engine.locations(), id);
    }
}

/// Says whether version 2 of control groups rules alone on this host.
pub fn has_version_2_alone() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

pub(crate) fn not_found(name: &str) -> EngineError {
    EngineError::NotFound {
        kind: "container",
        name: name.to_owned(),
    }
}

pub(crate) fn conflict(message: impl Into<String>) -> EngineError {
    EngineError::Conflict {
        message: message.into(),
        hint: None,
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> EngineError {
    EngineError::Invalid {
        message: message.into(),
        hint: None,
    }
}
