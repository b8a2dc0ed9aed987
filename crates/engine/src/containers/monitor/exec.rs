//! A further process in a container, relayed until it ends.

use super::container::code_of;
use super::relay::{Relay, Request};
use super::streams::{self, Shape};
use crate::containers::record::{ContainerId, ExitRecord};
use crate::containers::rows;
use crate::containers::session::Mode;
use crate::containers::{instance, launch};
use crate::events::{self, now};
use runtime::{ExecPlan, Process, StartError, StartFailure};
use serde::{Deserialize, Serialize};
use state::{Database, StateError};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What `exec` hands a monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::containers) struct ExecMonitorPlan {
    pub(in crate::containers) exec: ExecPlan,
    pub(in crate::containers) terminal: bool,
    pub(in crate::containers) open_stdin: bool,
    pub(in crate::containers) size: Option<(u16, u16)>,
    pub(in crate::containers) detach: bool,
    /// Where the end is told of, and of what.
    pub(in crate::containers) root: PathBuf,
    pub(in crate::containers) container: ContainerId,
    pub(in crate::containers) exec_id: String,
    /// Where others look for what becomes of it.
    pub(in crate::containers) instance: Option<PathBuf>,
}

/// Runs the process to its end.
pub(super) fn run(client: UnixStream, plan_file: File, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let plan: ExecMonitorPlan = launch::read_plan(&plan_file)?;
    drop(plan_file);
    if let (true, Some(cgroup)) = (plan.detach, &plan.exec.cgroup) {
        // Otherwise it ends with whatever unit or session the command was given in. Should it not work, that is so.
        runtime::cgroups::systemd::follow(cgroup).unwrap_or_default();
    }
    let mut relay = Relay::default();
    relay.stdin_once = true;
    relay.listener = descriptors.into_iter().next().map(UnixListener::from);
    if let Some(listener) = &relay.listener {
        listener.set_nonblocking(true)?;
    }
    relay.add_first(client, (!plan.detach).then_some(Mode::Attach));
    let process = match begin(&plan, &mut relay) {
        Ok(process) => process,
        Err(error) => {
            if let Some(directory) = &plan.instance {
                instance::write_exit(directory, code_of(error.failure)).unwrap_or_default();
            }
            return relay.tell_failed(&error);
        }
    };
    if let Some(directory) = &plan.instance {
        // Others then do not know the pid; the process is none the worse for it.
        instance::write_process(directory, process.pid()).unwrap_or_default();
    }
    sys::failpoint::pass("exec.begun");
    let ExecMonitorPlan {
        root,
        container,
        exec_id,
        instance,
        ..
    } = plan;
    relay.tell_started();
    let exit = watch(&mut relay, process)?;
    sys::failpoint::pass("exec.ended");
    if let Some(directory) = &instance {
        // Before anybody hears of the end, and asks.
        instance::write_exit(directory, exit.code).unwrap_or_default();
    }
    relay.tell_exited(&exit, true)?;
    relay.say_goodbye()?;
    // Nobody waits for us any more.
    record_end(&root, &container, &exec_id, exit.code).map_err(io::Error::other)
}

fn record_end(root: &Path, container: &ContainerId, exec_id: &str, code: i32) -> Result<(), StateError> {
    let code = code.to_string();
    Database::open(root)?.write(|transaction| {
        let Some(record) = rows::by_id(transaction, container)? else {
            return Ok(());
        };
        let more = [("execID", exec_id), ("exitCode", &code)];
        let (name, settings) = (&record.name, &record.settings);
        events::container(transaction, "exec_die", container, name, settings, &more)
    })
}

fn begin(plan: &ExecMonitorPlan, relay: &mut Relay) -> Result<Process, StartError> {
    let setup = |error: io::Error| StartError {
        failure: StartFailure::Setup,
        message: error.to_string(),
    };
    let shape = Shape {
        terminal: plan.terminal,
        open_stdin: plan.open_stdin,
        size: plan.size,
    };
    let (streams, ends) = streams::make(shape).map_err(setup)?;
    relay.ends = ends;
    let (process, master) = runtime::exec(&plan.exec, streams)?;
    if let Some(master) = master {
        relay.ends.set_terminal(master, plan.open_stdin).map_err(setup)?;
    }
    Ok(process)
}

fn watch(relay: &mut Relay, mut process: Process) -> io::Result<ExitRecord> {
    while !relay.round(Some(process.pidfd()), &[], None)?.ended {
        for request in std::mem::take(&mut relay.requests) {
            let (Request::Signal(signal) | Request::Stop(signal)) = request else {
                continue;
            };
            // A process that is just ending cannot be signalled; it ends.
            process.kill(signal).unwrap_or_default();
        }
    }
    let exit = process.wait().map_err(|error| io::Error::from(error.errno))?;
    relay.drain()?;
    Ok(ExitRecord {
        code: exit.code,
        finished: now(),
        ..ExitRecord::default()
    })
}
