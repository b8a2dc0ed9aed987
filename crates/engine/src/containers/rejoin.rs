//! Telling a monitor that its container's networks are to be others.
use super::record::ContainerId;
use super::session::Mode;
use super::{Containers, wait};
use crate::EngineError;
use std::time::{Duration, Instant};

/// How long a start may take until its monitor can be told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const GLANCE: Duration = Duration::from_millis(2);

impl Containers<'_> {
    /// Has a container's monitor bring about what stands in the run directory, and returns when it has. One that ends
    /// meanwhile has nothing to bring about.
    pub(crate) fn rejoin(self, id: &ContainerId) -> Result<(), EngineError> {
        let deadline = Instant::now() + PATIENCE;
        while self.engine.locations().is_claimed(id)? {
            if let Some(mut session) = wait::connect(self.engine.locations(), id, Mode::Wait)? {
                return Ok(session.rejoin().map_err(wait::session_error(id))??);
            }
            // It is only just being started, and hears nobody yet; or it is about to end.
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }
}
