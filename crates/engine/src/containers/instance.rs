//! Exec instances: what a client of the API has asked to be executed, from when it is made until its container goes.
//!
//! Docker makes them in one request, starts them in the next, and tells of them in others. Between these lies nothing but a
//! directory, `<run root>/execs/<container>/<id>/`:
//!
//! ```text
//! request        what is to be executed
//! started        there once somebody has begun that: the first to make the file
//! process        its pid, from its monitor
//! control.sock   its monitor's, for sizes
//! exit           its exit code, from its monitor
//! ```
//!
//! `exec` on the command line makes and starts in one, and leaves none of this.

use super::exec::Started;
use super::places::{hex, random};
use super::record::{Activity, ContainerId};
use super::request::ExecRequest;
use super::rows::Record;
use super::running;
use super::session::{Mode, Session};
use super::{Containers, conflict, early, invalid, monitor};
use crate::{EngineError, Locations};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::SysError;

/// So long the instances that have ended are told of at least.
const KEPT: Duration = Duration::from_mins(10);
/// How long a new size waits for the process that it is meant for, and how often it is looked for that.
const PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(5);
/// What an exec whose monitor died has ended with.
const KILLED: i32 = 137;
/// What one that could not even be begun has ended with.
const NOT_BEGUN: i32 = 126;

/// What is to be executed, and how clients are attached to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// The process. Whether it is detached, and the first size of its terminal, are said when it is started.
    pub request: ExecRequest,
    /// Clients see standard output.
    pub stdout: bool,
    /// Clients see standard error.
    pub stderr: bool,
    /// As it was written; empty is the default.
    pub detach_keys: String,
}

/// What is known of an instance.
#[derive(Debug, Clone)]
pub struct InstanceStatus {
    /// Its id.
    pub id: String,
    /// Its container.
    pub container: ContainerId,
    /// What is, or was, executed.
    pub instance: Instance,
    /// Somebody has started it.
    pub started: bool,
    /// It runs.
    pub running: bool,
    /// On the host; 0 before it was started.
    pub pid: i32,
    /// Once it has ended.
    pub exit_code: Option<i32>,
}

/// The file `process`.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: i32,
}

/// The file `exit`.
#[derive(Debug, Serialize, Deserialize)]
struct Exit {
    code: i32,
}

/// Leaves word of the process.
pub(super) fn write_process(directory: &Path, pid: i32) -> Result<(), EngineError> {
    running::replace(directory, "process", &Process { pid })
}

/// Leaves word of the end.
pub(super) fn write_exit(directory: &Path, code: i32) -> Result<(), EngineError> {
    running::replace(directory, "exit", &Exit { code })
}

/// `<run root>/execs/<container>`.
pub(super) fn directory_of(locations: &Locations, container: &ContainerId) -> PathBuf {
    all(locations).join(container.as_str())
}

fn all(locations: &Locations) -> PathBuf {
    locations.run_root.join("execs")
}

/// Takes all instances of a container away.
pub(super) fn remove(directory: &Path) {
    // What stays goes when the next instance is made.
    if std::fs::remove_dir_all(directory).is_ok()
        && let Some(all) = directory.parent()
    {
        std::fs::remove_dir(all).unwrap_or_default();
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

impl Containers<'_> {
    /// Makes an instance in a container that runs, and returns its id.
    pub fn create_exec(&self, id: &ContainerId, instance: &Instance) -> Result<String, EngineError> {
        if instance.request.command.is_empty() {
            return Err(invalid("No exec command specified"));
        }
        let record = self.record(id)?;
        self.require_running(&record)?;
        let locations = self.engine.locations();
        self.sweep_instances();
        let exec_id = hex(&random::<32>()?);
        let directory = directory_of(locations, id).join(&exec_id);
        super::super::make_private_directory(&directory)?;
        let made = running::replace(&directory, "request", instance)
            .and_then(|()| self.note_exec(&record, &["exec_create"], &exec_id, &instance.request.command));
        if let Err(error) = made {
            std::fs::remove_dir_all(&directory).unwrap_or_default();
            return Err(error);
        }
        Ok(exec_id)
    }

    /// Says what is known of an instance.
    pub fn inspect_exec(&self, exec_id: &str) -> Result<InstanceStatus, EngineError> {
        let missing = || EngineError::NotFound {
            kind: "exec instance",
            name: exec_id.to_owned(),
        };
        // It is a place in a directory of ours.
        ContainerId::parse(exec_id).ok_or_else(missing)?;
        let locations = self.engine.locations();
        let all = all(locations);
        let found = entries(&all).into_iter().find_map(|container| {
            let container = ContainerId::parse(&container)?;
            let directory = all.join(container.as_str()).join(exec_id);
            let instance: Instance = running::document(&directory.join("request"))?;
            Some((container, directory, instance))
        });
        let (container, directory, instance) = found.ok_or_else(missing)?;
        let pid = running::document(&directory.join("process")).map_or(0, |process: Process| process.pid);
        let exit = |()| running::document(&directory.join("exit")).map(|exit: Exit| exit.code);
        let mut exit_code = exit(());
        let alive = exit_code.is_none() && early::is_open_in(&directory, "control.sock");
        if pid != 0 && exit_code.is_none() && !alive {
            // Its last word may have come between our two looks.
            exit_code = Some(exit(()).unwrap_or(KILLED));
        }
        Ok(InstanceStatus {
            id: exec_id.to_owned(),
            container,
            instance,
            started: directory.join("started").exists(),
            running: alive && pid != 0,
            pid,
            exit_code,
        })
    }

    /// Starts an instance, which can be done once. Returns a session with it, `None` if it is detached; the session's first
    /// event is `Started` or `Failed`.
    pub fn start_exec(
        &self,
        exec_id: &str,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Session>, EngineError> {
        let status = self.inspect_exec(exec_id)?;
        let record = self.instance_ready(&status)?;
        let locations = self.engine.locations();
        let directory = directory_of(locations, &status.container).join(exec_id);
        let claimed = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(directory.join("started"));
        match claimed {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(has_run(&status)),
            claimed => claimed.map_err(|error| SysError::io("start", &directory, &error))?,
        };
        let mut request = status.instance.request;
        request.detach = detach;
        request.open_stdin &= !detach;
        request.size = size.or(request.size);
        let begun = super::start::listen(&directory).and_then(|listener| {
            let started = Started {
                exec_id: exec_id.to_owned(),
                instance: Some(directory.clone()),
            };
            self.begin_exec(&record, &request, started, &[listener.as_fd()])
        });
        if let Err(error) = &begun {
            let code = match error {
                EngineError::Start(error) => monitor::code_of(error.failure),
                _ => NOT_BEGUN,
            };
            // Who asks how it ended is told so, unless its monitor has told already.
            write_exit(&directory, code)?;
        }
        begun
    }

    /// Whether an instance can be started, or told a size; and its container.
    pub fn check_exec(&self, exec_id: &str) -> Result<InstanceStatus, EngineError> {
        let status = self.inspect_exec(exec_id)?;
        self.instance_ready(&status)?;
        Ok(status)
    }

    fn instance_ready(self, status: &InstanceStatus) -> Result<Record, EngineError> {
        let record = self.record(&status.container).map_err(|error| match error {
            EngineError::NotFound { .. } => super::not_found(&status.id),
            error => error,
        })?;
        self.require_running(&record)?;
        Ok(record)
    }

    /// Says that an instance has been started, if it has.
    pub fn require_fresh_exec(&self, status: &InstanceStatus) -> Result<(), EngineError> {
        if status.started {
            return Err(has_run(status));
        }
        Ok(())
    }

    /// Tells the terminal of an instance its size. One that is just being started is waited for.
    pub fn resize_exec(&self, exec_id: &str, rows: u16, columns: u16) -> Result<(), EngineError> {
        let status = self.check_exec(exec_id)?;
        let directory = directory_of(self.engine.locations(), &status.container).join(exec_id);
        let failed = |error: std::io::Error| SysError::io("tell the terminal's size to", exec_id, &error);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Its monitor may be there for a moment longer than its process.
            if directory.join("exit").exists() || Instant::now() >= deadline {
                return Err(conflict(format!("exec instance {exec_id} is not running")));
            }
            let opened = early::open(&directory).map_err(SysError::on("open", &directory))?;
            let socket = sys::mount::descriptor_path(opened.as_fd()).join("control.sock");
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    let mut session = Session::open(stream, Mode::Wait).map_err(failed)?;
                    return Ok(session.resize(rows, columns).map_err(failed)?);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(error) => return Err(failed(error).into()),
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Returns the instances of a container that have not ended.
    pub(super) fn live_instances(self, id: &ContainerId) -> Vec<String> {
        let directory = directory_of(self.engine.locations(), id);
        let mut live = entries(&directory);
        live.retain(|exec_id| !directory.join(exec_id).join("exit").exists());
        live.sort_unstable();
        live
    }

    pub(super) fn require_running(self, record: &Record) -> Result<(), EngineError> {
        let (id, name) = (&record.id, &record.name);
        match self.activity(record)?.0 {
            Activity::Running => Ok(()),
            Activity::Paused => Err(conflict(format!(
                "Container {name} is paused, unpause the container before exec"
            ))),
            Activity::Restarting => Err(conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            ))),
            _ => Err(conflict(format!("container {id} is not running"))),
        }
    }

    /// Takes instances away that ended long ago, and those of containers that are gone.
    fn sweep_instances(self) {
        let all = all(self.engine.locations());
        for container in entries(&all) {
            let directory = all.join(&container);
            let gone = ContainerId::parse(&container)
                .is_none_or(|id| matches!(self.record(&id), Err(EngineError::NotFound { .. })));
            if gone {
                std::fs::remove_dir_all(&directory).unwrap_or_default();
                continue;
            }
            for exec_id in entries(&directory) {
                let exit = directory.join(&exec_id).join("exit");
                let age = std::fs::metadata(exit)
                    .and_then(|metadata| metadata.modified())
                    .ok()
                    .and_then(|ended| ended.elapsed().ok());
                if age.is_some_and(|age| age >= KEPT) {
                    std::fs::remove_dir_all(directory.join(&exec_id)).unwrap_or_default();
                }
            }
        }
    }
}

fn has_run(status: &InstanceStatus) -> EngineError {
    let what = if status.exit_code.is_some() {
        "has already run"
    } else {
        "is already running"
    };
    conflict(format!("Error: Exec command {} {what}", status.id))
}
