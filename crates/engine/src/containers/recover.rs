//! Healing at the start of every command: what dead monitors and commands left is finished or undone.
//!
//! A container whose run is open in the database is alive exactly while somebody holds its lock. A run directory
//! whose container has no open run is a leaving, unless somebody holds its lock.
use super::record::{Cause, ContainerId, ExitRecord};
use super::rows::{self, Record};
use super::running::{self, Ended};
use super::{Containers, early, finish};
use crate::networks::names;
use crate::{EngineError, events, volumes};
use network::Endpoint;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use sys::{SysError, failpoint};

/// How long leftover processes may take to go after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
/// Docker's exit code for a container that a reboot ended.
const REBOOTED: i32 = 255;
/// A container goes with its monitor, by SIGKILL.
const KILLED: i32 = 137;

impl Containers<'_> {
    /// Finishes removals that were begun, records the end of containers whose monitor died, frees their addresses and
    /// ports. Under 1 ms when there is nothing to do.
    pub fn recover(&self) -> Result<(), EngineError> {
        super::launch::reap();
        let locations = self.engine.locations();
        let unfinished: BTreeSet<ContainerId> = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::unfinished(connection)?))?
            .into_iter()
            .collect();
        for id in &unfinished {
            if !locations.is_claimed(id)? {
                self.heal(id)?;
            }
        }
        let (ids, waiting) = self.scan()?;
        for id in ids {
            if !unfinished.contains(&id) && !locations.is_claimed(&id)? {
                self.heal(&id)?;
            }
        }
        for directory in waiting {
            early::sweep(&directory);
        }
        self.thaw_abandoned()?;
        self.engine.networks().recover()?;
        volumes::mounting::sweep(locations)?;
        finish::sweep_removed(&self.engine.database, locations)
    }

    pub(super) fn run_directories(self) -> Result<Vec<ContainerId>, EngineError> {
        Ok(self.scan()?.0)
    }

    /// Returns the containers that have a run directory, and the directories of clients that wait for a start.
    fn scan(self) -> Result<(Vec<ContainerId>, Vec<PathBuf>), EngineError> {
        let directory = &self.engine.locations().run_root;
        let entries = std::fs::read_dir(directory)
            .map_err(|error| SysError::io("read the directory", directory, &error))?;
        let (mut ids, mut waiting) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            ids.extend(ContainerId::parse(&name));
            if early::is_ours(&name) {
                waiting.push(entry.path());
            }
        }
        Ok((ids, waiting))
    }

    /// Ends what nobody holds any more.
    fn heal(self, id: &ContainerId) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        let Some(_lock) = locations.claim(id)? else {
            return Ok(());
        };
        failpoint::pass("heal.claimed");
        // While we waited for the lock somebody else may have healed, or run, the container.
        let (record, open) = self.engine.database.read(|connection| {
            let open = rows::unfinished(connection)?.contains(id);
            Ok::<_, EngineError>((rows::by_id(connection, id)?, open))
        })?;
        if open || record.is_none() {
            self.clear_kernel(id, record.as_ref())?;
        }
        let leavings = match &record {
            Some(record) if open => {
                let ended = match running::read_end(locations, id) {
                    Some(ended) => ended,
                    None => self.presumed_end(record)?,
                };
                finish::record(&self.engine.database, locations, id, &ended)?
            }
            Some(_) => finish::Leavings::default(),
            None => {
                finish::release(&self.engine.database, id)?;
                finish::Leavings::default()
            }
        };
        failpoint::pass("heal.recorded");
        finish::remove_run_directory(locations, id);
        leavings.reap();
        Ok(())
    }

    /// Takes away what a dead container (or, without a record, build step) has left in the kernel: processes, cgroup,
    /// place on the bridge. Its lock is ours.
    pub(super) fn clear_kernel(self, id: &ContainerId, record: Option<&Record>) -> Result<(), EngineError> {
        let parent = record.and_then(|record| record.settings.request.cgroup_parent.as_deref());
        let cgroup = self.engine.locations().cgroup(id, parent);
        // A container of which one process cannot be killed must not keep every command from its work; its cgroup
        // is tried again with its removal.
        runtime::remove_cgroup(&cgroup, PATIENCE).unwrap_or_default();
        failpoint::pass("heal.cgroup");
        self.detach(id, record)?;
        failpoint::pass("heal.detached");
        Ok(())
    }

    /// Takes away what a dead container or build step had on its networks.
    fn detach(self, id: &ContainerId, record: Option<&Record>) -> Result<(), EngineError> {
        let networks = self.engine.networks();
        let Some(record) = record else {
            let path = self.engine.locations().run_directory(id).join("endpoint");
            if let Some(endpoint) = running::document::<Endpoint>(&path) {
                networks.leavings_of(None)?.detach(&endpoint)?;
            }
            return Ok(());
        };
        for endpoint in &record.status.endpoints {
            names::leave(self.engine.locations(), &endpoint.network_id, id);
            networks
                .leavings_of(Some(&endpoint.network_id))?
                .detach(&endpoint.endpoint)?;
        }
        Ok(())
    }

    /// What must have happened to a container whose monitor could not say.
    fn presumed_end(self, record: &Record) -> Result<Ended, EngineError> {
        let rebooted = record.status.boot != sys::fs::boot_id()?;
        let running = running::read(self.engine.locations(), &record.id).unwrap_or_default();
        // It had ended by itself and waited for its restart.
        let known = running.last_exit.filter(|_| running.pid == 0 && !rebooted);
        let exit = known.unwrap_or_else(|| ExitRecord {
            code: if rebooted { REBOOTED } else { KILLED },
            error: (!rebooted).then(|| "the container's monitor died".to_owned()),
            finished: events::now(),
            cause: Some(if rebooted {
                Cause::Reboot
            } else {
                Cause::MonitorDied
            }),
            oom_killed: running.oom_killed,
            ..ExitRecord::default()
        });
        Ok(Ended {
            exit,
            started: running.started,
            restarts: running.restarts,
            interrupted: rebooted,
            oom_told: running.oom_killed,
            health: running::read_health(self.engine.locations(), &record.id),
            ..Ended::default()
        })
    }
}
