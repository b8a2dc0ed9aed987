//! `attach`: a session with a container that runs.
use super::session::{Mode, Session};
use super::{Containers, conflict, record::Activity, record::ContainerId, wait};
use crate::EngineError;

impl Containers<'_> {
    /// Connects to a running container's monitor; what it wrote before is in its log.
    pub fn attach(&self, id: &ContainerId) -> Result<Session, EngineError> {
        let record = self.record(id)?;
        match self.activity(&record)?.0 {
            Activity::Paused => Err(conflict(
                "You cannot attach to a paused container, unpause it first",
            )),
            Activity::Restarting => Err(conflict(
                "You cannot attach to a restarting container, wait until it is running",
            )),
            Activity::Running => {
                let session =
                    wait::connect(self.engine.locations(), id, Mode::Attach)?.ok_or_else(stopped)?;
                self.note(&record, "attach", &[])?;
                Ok(session)
            }
            _ => Err(stopped()),
        }
    }
}

/// What a client does that nobody but itself can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// It left a container's session, which goes on.
    Detached,
    /// It left an exec'd process's session.
    ExecDetached {
        /// [`Session::exec_id`].
        exec_id: &'a str,
    },
    /// Its terminal has a new size.
    Resized {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

impl Containers<'_> {
    /// Records what a client did. A container that is gone meanwhile has no more to be told of.
    pub fn tell(&self, id: &ContainerId, happening: Happening<'_>) -> Result<(), EngineError> {
        let record = match self.record(id) {
            Err(EngineError::NotFound { .. }) => return Ok(()),
            record => record?,
        };
        match happening {
            Happening::Detached => self.note(&record, "detach", &[]),
            Happening::ExecDetached { exec_id } => self.note(&record, "exec_detach", &[("execID", exec_id)]),
            Happening::Resized { rows, columns } => {
                let (height, width) = (rows.to_string(), columns.to_string());
                self.note(&record, "resize", &[("height", &height), ("width", &width)])
            }
        }
    }
}

fn stopped() -> EngineError {
    conflict("You cannot attach to a stopped container, start it first")
}
