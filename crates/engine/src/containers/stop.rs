//! `stop`, `kill`, `restart`, `pause`, `unpause`.
use super::record::{Activity, ContainerId, Settings};
use super::rows::Record;
use super::session::{Ending, Mode};
use super::start::StartRequest;
use super::{Containers, conflict, invalid, running, wait};
use crate::{EngineError, events};
use std::time::{Duration, Instant};

/// Docker's patience between the stop signal and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long SIGKILL may take before every process of the cgroup is killed.
const AFTER_KILL: Duration = Duration::from_secs(5);
pub(super) const KILL: i32 = 9;
const TERMINATE: i32 = 15;

impl Containers<'_> {
    /// Sends the stop signal, and after `timeout` (`None`: the container's own, 10 s by default) SIGKILL; returns when
    /// the container has stopped. One that does not run is left alone.
    pub fn stop(
        &self,
        id: &ContainerId,
        signal: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<(), EngineError> {
        let record = self.record(id)?;
        let signal = signal_number(signal.unwrap_or(&record.settings.stop_signal))?;
        let patience = timeout.unwrap_or_else(|| patience(&record.settings));
        if self.end(&record, signal, patience)? {
            self.note(&record, "stop", &[])?;
        }
        Ok(())
    }

    /// Ends a container by a signal, and by SIGKILL when patience is at its end. Says whether this is what ended it.
    pub(super) fn end(self, record: &Record, signal: i32, patience: Duration) -> Result<bool, EngineError> {
        let id = &record.id;
        if !self.engine.locations().is_claimed(id)? {
            return Ok(false);
        }
        self.thaw(id)?;
        let Some(mut session) = wait::connect(self.engine.locations(), id, Mode::Wait)? else {
            // It is being started or is just ending: whoever holds it knows nothing of us, and lets go soon.
            self.wait_for_release(id)?;
            return Ok(false);
        };
        let failed = wait::session_error(id);
        for (signal, patience) in [(signal, patience), (KILL, AFTER_KILL)] {
            self.note(record, "kill", &[("signal", &signal.to_string())])?;
            session.stop(signal).map_err(&failed)?;
            match session
                .exit_until(Instant::now().checked_add(patience))
                .map_err(&failed)?
            {
                Ending::Exited(_) => return Ok(true),
                Ending::Silence => {
                    self.wait_for_release(id)?;
                    return Ok(true);
                }
                Ending::TimeIsUp => {}
            }
        }
        let cgroup = self
            .engine
            .locations()
            .cgroup(id, record.settings.request.cgroup_parent.as_deref());
        runtime::cgroups::Cgroup::open(&cgroup)?.kill()?;
        session.exit_until(None).map_err(&failed)?;
        Ok(true)
    }

    /// Sends a signal (name or number) to the first process; `container … is not running` is a conflict.
    pub fn kill(&self, id: &ContainerId, signal: &str) -> Result<(), EngineError> {
        let number = signal_number(if signal.is_empty() { "KILL" } else { signal })?;
        let record = self.record(id)?;
        let not_running = || conflict(format!("container {id} is not running"));
        if !matches!(
            self.activity(&record)?.0,
            Activity::Running | Activity::Paused | Activity::Restarting
        ) {
            return Err(not_running());
        }
        // A kill by hand that is meant to end it also ends the restart policy's care, as with Docker.
        let stop_signal = signal_number(&record.settings.stop_signal).unwrap_or(TERMINATE);
        let is_end = number == KILL || number == stop_signal;
        if is_end {
            self.thaw(id)?;
        }
        let mut session = wait::connect(self.engine.locations(), id, Mode::Wait)?.ok_or_else(not_running)?;
        self.note(&record, "kill", &[("signal", &number.to_string())])?;
        let sent = if is_end {
            session.stop(number)
        } else {
            session.signal(number)
        };
        sent.map_err(wait::session_error(id))?;
        if number == KILL {
            // Docker's kill returns when the container is gone.
            session
                .exit_until(Instant::now().checked_add(PATIENCE))
                .map_err(wait::session_error(id))?;
        }
        Ok(())
    }

    /// Stops and starts.
    pub fn restart(
        &self,
        id: &ContainerId,
        signal: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<(), EngineError> {
        self.stop(id, signal, timeout)?;
        self.start(id, StartRequest::default())?;
        self.note(&self.record(id)?, "restart", &[])
    }

    /// Freezes every process.
    pub fn pause(&self, id: &ContainerId) -> Result<(), EngineError> {
        let record = self.record(id)?;
        match self.activity(&record)?.0 {
            Activity::Running => {}
            Activity::Paused => return Err(conflict(format!("Container {id} is already paused"))),
            Activity::Restarting => {
                return Err(conflict(format!(
                    "container {id} is restarting, wait until the container is running"
                )));
            }
            _ => return Err(conflict(format!("container {id} is not running"))),
        }
        running::mark_paused(self.engine.locations(), id)?;
        let cgroup = self
            .engine
            .locations()
            .cgroup(id, record.settings.request.cgroup_parent.as_deref());
        if let Err(error) = runtime::cgroups::Cgroup::open(&cgroup).and_then(|cgroup| cgroup.freeze(true)) {
            running::unmark_paused(self.engine.locations(), id)?;
            return Err(error.into());
        }
        self.note(&record, "pause", &[])
    }

    /// Thaws them.
    pub fn unpause(&self, id: &ContainerId) -> Result<(), EngineError> {
        let record = self.record(id)?;
        if !self.thaw(id)? {
            return Err(conflict(format!("Container {id} is not paused")));
        }
        self.note(&record, "unpause", &[])
    }

    /// Thaws a container if it is paused; says whether it was.
    fn thaw(self, id: &ContainerId) -> Result<bool, EngineError> {
        let locations = self.engine.locations();
        if !locations.is_claimed(id)? || !running::is_paused(locations, id) {
            return Ok(false);
        }
        let record = self.record(id)?;
        let cgroup = locations.cgroup(id, record.settings.request.cgroup_parent.as_deref());
        runtime::cgroups::Cgroup::open(&cgroup)?.freeze(false)?;
        running::unmark_paused(locations, id)?;
        Ok(true)
    }

    /// Records an event of a container, in a transaction of its own.
    pub(super) fn note(
        self,
        record: &Record,
        action: &str,
        more: &[(&str, &str)],
    ) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            let (id, name, settings) = (&record.id, &record.name, &record.settings);
            Ok(events::container(transaction, action, id, name, settings, more)?)
        })
    }
}

/// Returns how long a container has from its stop signal to SIGKILL.
pub(super) fn patience(settings: &Settings) -> Duration {
    settings.request.stop_timeout.unwrap_or(PATIENCE)
}

/// Reads a signal by name (with or without `SIG`) or number.
pub(crate) fn signal_number(text: &str) -> Result<i32, EngineError> {
    sys::signal::parse(text).ok_or_else(|| invalid(format!("invalid signal: {text}")))
}
