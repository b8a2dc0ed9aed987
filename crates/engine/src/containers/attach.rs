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
                wait::connect(self.engine.locations(), id, Mode::Attach)?.ok_or_else(stopped)
            }
            _ => Err(stopped()),
        }
    }
}

fn stopped() -> EngineError {
    conflict("You cannot attach to a stopped container, start it first")
}
