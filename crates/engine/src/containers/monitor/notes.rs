//! What a monitor records while its container lives: runs between restarts, verdicts on its health, a lack of memory.
//!
//! The database is opened for it and closed again, so that an idle monitor stays small. That something cannot be
//! recorded now is no reason for the container to fare otherwise; its end is recorded by other means (see `end`).

use super::container::Life;
use crate::EngineError;
use crate::containers::record::{Cause, ExitRecord, HealthStatus};
use crate::containers::rows::{self, Record};
use crate::containers::running::{self, Ended};
use crate::containers::{finish, history};
use crate::events::now;
use rusqlite::Connection;

impl Life {
    /// Records that a run has ended after which another comes.
    pub(super) fn note_end_of_run(&mut self, exit: &ExitRecord) {
        let ended = Ended {
            exit: exit.clone(),
            started: self.started,
            oom_told: self.oom_killed,
            ..Ended::default()
        };
        self.note(|connection, record| {
            finish::death(connection, record, &ended)?;
            Ok(history::suspend(connection, &record.id, &ended.exit)?)
        });
    }

    /// Records that the restart policy begins another run.
    pub(super) fn note_new_run(&mut self) {
        self.note(|connection, record| {
            history::begin(connection, record, now())?;
            finish::note(connection, record, "start", &[])
        });
    }

    /// Records what a health check has found, in the run directory always, as an event if the verdict is another.
    pub(super) fn note_health(&mut self, is_new: bool) {
        let Some(checks) = &self.checks else { return };
        running::write_health(&self.locations, &self.plan.id, &checks.health).unwrap_or_default();
        if is_new {
            let word = match checks.health.status {
                HealthStatus::Starting => "starting",
                HealthStatus::Healthy => "healthy",
                HealthStatus::Unhealthy => "unhealthy",
            };
            self.note(|connection, record| {
                let action = format!("health_status: {word}");
                finish::note(connection, record, &action, &[])
            });
        }
    }

    /// Records that the kernel has killed a process of the container, which lives on.
    pub(super) fn note_out_of_memory(&mut self, cause: &Cause) {
        self.note(|connection, record| finish::note(connection, record, "oom", &finish::told(cause)));
    }

    fn note(&mut self, work: impl FnOnce(&Connection, &Record) -> Result<(), EngineError>) {
        if !self.plan.recorded {
            return;
        }
        let Ok(Some(database)) = self
            .database
            .take()
            .map_or_else(|| self.open_database(), |open| Ok(Some(open)))
        else {
            return;
        };
        database
            .write(|transaction| match rows::by_id(transaction, &self.plan.id)? {
                Some(record) => work(transaction, &record),
                None => Ok(()),
            })
            .unwrap_or_default();
        database.tidy().unwrap_or_default();
    }
}
