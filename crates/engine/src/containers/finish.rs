//! The end of a run, and of a container: what is recorded, let go of, and taken away.
//!
//! Directories that go are first moved into `containers/.removed`, which is instant, and deleted after everybody has
//! been told. Whoever moves something there holds `containers/.removed/lock` shared until it has deleted it; so when
//! that lock is free, what lies there is a dead process's, and recovery deletes it.

use super::early;
use super::history;
use super::instance;
use super::quota;
use super::record::{Cause, ContainerId};
use super::rows::{self, Record};
use super::running::Ended;
use crate::volumes::removal::Removal;
use crate::volumes::versions::staging;
use crate::{EngineError, Locations, events, volumes};
use rusqlite::Connection;
use state::Database;
use std::path::PathBuf;
use sys::lock::Lock;
use sys::{SysError, failpoint};

/// What is out of sight and still to be deleted.
#[derive(Debug, Default)]
pub(super) struct Leavings {
    directory: Option<(PathBuf, Lock)>,
    volumes: Vec<Removal>,
    /// What the run directory has of a container beside its own: who waits for its start, and its exec instances.
    beside: Option<(PathBuf, PathBuf)>,
}

impl Leavings {
    /// Deletes it. What cannot be deleted stays in `.removed`, where recovery tries again.
    pub(super) fn reap(self) {
        if let Some((waiting, instances)) = self.beside {
            early::dismiss(&waiting);
            instance::remove(&instances);
        }
        failpoint::pass("reap.volumes");
        for volume in self.volumes {
            volume.finish().unwrap_or_default();
        }
        failpoint::pass("reap.directory");
        if let Some((directory, lock)) = self.directory {
            std::fs::remove_dir_all(directory).unwrap_or_default();
            drop(lock);
        }
    }
}

/// Records how a container's run ended; with `--rm` the container goes too.
pub(super) fn record(
    database: &Database,
    locations: &Locations,
    id: &ContainerId,
    ended: &Ended,
) -> Result<Leavings, EngineError> {
    // Before a volume of this container alone may go.
    volumes::mounting::release(locations, id);
    database.write(|transaction| {
        let Some(mut record) = rows::by_id(transaction, id)? else {
            rows::release(transaction, id.as_str())?;
            return Ok(Leavings::default());
        };
        death(transaction, &record, ended)?;
        events::leave_networks(transaction, id, &record.settings, &record.status.endpoints)?;
        events::unmount_volumes(transaction, id, &record.settings)?;
        history::end(transaction, id, &ended.exit)?;
        rows::release(transaction, id.as_str())?;
        if record.settings.request.remove_when_done || record.removing {
            return remove(transaction, locations, &record, true);
        }
        record.status.exit = Some(ended.exit.clone());
        record.status.started = Some(ended.started)
            .filter(|&started| started != 0)
            .or(record.status.started);
        record.status.restarts = ended.restarts;
        record.status.stopped_by_user = ended.stopped_by_user;
        record.status.interrupted = ended.interrupted;
        record.status.health.clone_from(&ended.health);
        record.status.endpoints.clear();
        rows::set_status(transaction, id, &record.status)?;
        Ok(Leavings::default())
    })
}

/// Records the events of a run's end: that it died and why, and before it a lack of memory that was not told of yet.
pub(super) fn death(connection: &Connection, record: &Record, ended: &Ended) -> Result<(), EngineError> {
    let exit = &ended.exit;
    if exit.oom_killed && !ended.oom_told {
        let why = match &exit.cause {
            Some(cause @ Cause::OutOfMemory { .. }) => told(cause),
            _ => Vec::new(),
        };
        note(connection, record, "oom", &why)?;
    }
    let mut more = vec![("exitCode", exit.code.to_string())];
    if ended.started != 0 {
        let seconds = exit.finished.saturating_sub(ended.started).max(0) / 1_000_000_000;
        more.push(("execDuration", seconds.to_string()));
    }
    if let Some(signal) = exit.signal.and_then(sys::signal::name) {
        more.push(("signal", signal));
    }
    if let Some(cause) = &exit.cause {
        more.push(("cause", cause.name().to_owned()));
        more.extend(told(cause));
    }
    note(connection, record, "die", &more)
}

/// Records an event of a container.
pub(super) fn note(
    connection: &Connection,
    record: &Record,
    action: &str,
    more: &[(&str, String)],
) -> Result<(), EngineError> {
    let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (id, name, settings) = (&record.id, &record.name, &record.settings);
    Ok(events::container(connection, action, id, name, settings, &more)?)
}

/// What an event tells of a cause, besides its name.
pub(super) fn told(cause: &Cause) -> Vec<(&'static str, String)> {
    match cause {
        Cause::OutOfMemory { process, limit, peak } => [
            ("process", process.clone()),
            ("memoryLimit", limit.map(|bytes| bytes.to_string())),
            ("memoryPeak", peak.map(|bytes| bytes.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect(),
        Cause::Unhealthy { output } => vec![("healthOutput", output.clone())],
        Cause::Timeout { limit } => vec![("timeout", format!("{}s", limit / 1_000_000_000))],
        Cause::Asked { .. } | Cause::MonitorDied | Cause::Reboot => Vec::new(),
    }
}

/// Lets go of what a build step held.
pub(super) fn release(database: &Database, id: &ContainerId) -> Result<(), EngineError> {
    database.write(|transaction| Ok(rows::release(transaction, id.as_str())?))
}

/// Takes a container's record away, with `with_volumes` its anonymous volumes too, and moves its directory out of
/// sight. If the transaction then fails, the record is still there, and the removal can be done again.
pub(super) fn remove(
    connection: &Connection,
    locations: &Locations,
    record: &Record,
    with_volumes: bool,
) -> Result<Leavings, EngineError> {
    let id = &record.id;
    quota::lift(&record.settings.request, &locations.container_directory(id));
    let directory = move_aside(locations, id)?;
    failpoint::reach("finish.moved-aside")?;
    let anonymous = if with_volumes {
        volumes::anonymous_of(connection, id)?
    } else {
        Vec::new()
    };
    rows::delete(connection, id)?;
    let volumes = volumes::delete_unused(connection, locations, anonymous.iter().map(String::as_str))?;
    events::container(connection, "destroy", id, &record.name, &record.settings, &[])?;
    Ok(Leavings {
        directory,
        volumes,
        beside: Some((
            early::directory_of(locations, id),
            instance::directory_of(locations, id),
        )),
    })
}

fn move_aside(locations: &Locations, id: &ContainerId) -> Result<Option<(PathBuf, Lock)>, EngineError> {
    let from = locations.container_directory(id);
    let lock = locations.open_trash()?;
    let to = locations.trash().join(id.as_str());
    match std::fs::rename(&from, &to) {
        Ok(()) => Ok(Some((to, lock))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SysError::io("move away", &from, &error).into()),
    }
}

/// Deletes what dead processes left in `.removed`.
pub(super) fn sweep_removed(database: &Database, locations: &Locations) -> Result<(), EngineError> {
    let trash = locations.trash();
    let entries = match std::fs::read_dir(&trash) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| SysError::io("read the directory", &trash, &error))?,
    };
    let left: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name() != "lock")
        .map(|entry| entry.path())
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    if let Some(_alone) = Lock::try_exclusive(&trash.join("lock"))? {
        for directory in left {
            // One that cannot be deleted must not keep every command from its work.
            if staging::is_ours(&directory) {
                staging::sweep(database, locations, &directory).unwrap_or_default();
            } else {
                std::fs::remove_dir_all(directory).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// Removes a run directory. Whoever holds its lock may do so. What stays is swept by recovery.
pub(super) fn remove_run_directory(locations: &Locations, id: &ContainerId) {
    let directory = locations.run_directory(id);
    volumes::mounting::release(locations, id);
    // The lock last: while it is there and held, nobody else takes the directory for theirs. The three files before
    // `networks` are a build step's; a container has them elsewhere.
    for name in [
        "control.sock",
        "process",
        "process.new",
        "paused",
        "health",
        "health.new",
        "cgroup",
        "endpoint",
        "endpoint.new",
        "hostname",
        "hosts",
        "resolv.conf",
        "networks",
        "networks.new",
        "exit",
        "exit.new",
        "lock",
    ] {
        if name == "exit" || name == "lock" {
            failpoint::pass("run-directory.emptying");
        }
        std::fs::remove_file(directory.join(name)).unwrap_or_default();
    }
    failpoint::pass("run-directory.emptied");
    std::fs::remove_dir(&directory).unwrap_or_default();
}
