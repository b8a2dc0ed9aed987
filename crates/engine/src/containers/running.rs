//! What a running container's monitor leaves in the run directory for others to read.

use super::record::{ContainerId, ExitRecord, Health};
use crate::{EngineError, Locations};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;
use sys::{SysError, failpoint};

/// None of these documents is larger.
const LARGEST: u64 = 1 << 20;

/// The file `process`: the container's first process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Running {
    /// On the host; 0 between an end and a restart.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the pid it names one process until the next boot.
    pub(crate) start_time: u64,
    /// Nanoseconds since 1970.
    pub(crate) started: i64,
    /// Times that the restart policy has started it again.
    pub(crate) restarts: u32,
    /// How it ended last, if it has been started again.
    pub(crate) last_exit: Option<ExitRecord>,
    /// Whether the kernel has killed a process of it for lack of memory.
    pub(crate) oom_killed: bool,
}

/// The file `exit`: how a container ended, until the database has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ended {
    pub(crate) exit: ExitRecord,
    pub(crate) started: i64,
    pub(crate) restarts: u32,
    pub(crate) stopped_by_user: bool,
    /// It ended because the host went down, or its monitor was told so.
    pub(crate) interrupted: bool,
    /// The event of a lack of memory has been recorded.
    pub(crate) oom_told: bool,
    /// What health checks had found.
    pub(crate) health: Option<Health>,
}

/// Opens `/proc/PID` of a container's first process; `None` if that is gone. What is opened below it is that process's
/// even when its number has been given to another.
pub(crate) fn open_process(running: &Running) -> Result<Option<OwnedFd>, SysError> {
    let path = format!("/proc/{}", running.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(SysError::on("open", &path))?,
    };
    // The descriptor belongs to one process; once the start time is seen to be right, it stays right.
    let same = sys::process::start_time(running.pid).is_ok_and(|time| time == running.start_time);
    Ok(same.then_some(opened))
}

/// Reads `process`; `None` while there is none.
pub(crate) fn read(locations: &Locations, id: &ContainerId) -> Option<Running> {
    document(&locations.run_directory(id).join("process"))
}

/// Reads `exit`; `None` while there is none.
pub(crate) fn read_end(locations: &Locations, id: &ContainerId) -> Option<Ended> {
    document(&locations.run_directory(id).join("exit"))
}

/// Reads `health`, what health checks have found; `None` before the first has ended.
pub(crate) fn read_health(locations: &Locations, id: &ContainerId) -> Option<Health> {
    document(&locations.run_directory(id).join("health"))
}

pub(crate) fn write_health(
    locations: &Locations,
    id: &ContainerId,
    health: &Health,
) -> Result<(), EngineError> {
    replace(&locations.run_directory(id), "health", health)
}

pub(crate) fn write(locations: &Locations, id: &ContainerId, running: &Running) -> Result<(), EngineError> {
    replace(&locations.run_directory(id), "process", running)
}

pub(crate) fn write_end(locations: &Locations, id: &ContainerId, ended: &Ended) -> Result<(), EngineError> {
    replace(&locations.run_directory(id), "exit", ended)
}

/// Reads a document; one that is not there, or not whole, is `None`.
pub(crate) fn document<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = sys::fs::read(path, LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a document beside its place and moves it there. The run directory is a tmpfs: nothing to sync.
pub(crate) fn replace(directory: &Path, name: &str, document: &impl Serialize) -> Result<(), EngineError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(name);
    let aside = directory.join(format!("{name}.new"));
    let failed = |error: std::io::Error| SysError::io("write", &path, &error);
    let text = serde_json::to_vec(document).map_err(|error| failed(error.into()))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, &text).map_err(failed)?;
    failpoint::reach("running.written")?;
    std::fs::rename(&aside, &path).map_err(failed)?;
    Ok(())
}

/// Notes that somebody freezes the container.
pub(crate) fn mark_paused(locations: &Locations, id: &ContainerId) -> Result<(), EngineError> {
    let path = locations.run_directory(id).join("paused");
    std::fs::write(&path, b"").map_err(|error| SysError::io("write", &path, &error))?;
    Ok(())
}

pub(crate) fn unmark_paused(locations: &Locations, id: &ContainerId) -> Result<(), EngineError> {
    let path = locations.run_directory(id).join("paused");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SysError::io("remove", &path, &error).into())
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_paused(locations: &Locations, id: &ContainerId) -> bool {
    locations.run_directory(id).join("paused").exists()
}
