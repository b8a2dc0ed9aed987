//! `update --restart`: another restart policy, also for a container that runs.
use super::record::ContainerId;
use super::request::RestartPolicy;
use super::session::Mode;
use super::{Containers, conflict, rows, wait};
use crate::EngineError;
use std::time::{Duration, Instant};

/// How long a start may take until its monitor can be told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const GLANCE: Duration = Duration::from_millis(2);

impl Containers<'_> {
    /// Gives a container another restart policy. A monitor that watches it is told, and has taken note when this
    /// returns.
    pub fn set_restart_policy(self, id: &ContainerId, policy: RestartPolicy) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            let mut record = rows::by_id(transaction, id)?.ok_or_else(|| super::not_found(id.as_str()))?;
            if record.settings.request.remove_when_done && policy != RestartPolicy::No {
                return Err(conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            record.settings.request.restart = policy;
            Ok(rows::set_settings(transaction, id, &record.settings)?)
        })?;
        // Who starts it from now on reads the record; who started it before has told its monitor the former policy, and
        // where the monitor is only just being started, it hears nobody yet.
        let deadline = Instant::now() + PATIENCE;
        while self.engine.locations().is_claimed(id)? {
            if let Some(mut session) = wait::connect(self.engine.locations(), id, Mode::Wait)? {
                session.set_policy(policy).map_err(wait::session_error(id))?;
                break;
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }
}
