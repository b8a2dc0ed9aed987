//! `exec`: a further process in a running container.
use super::monitor::{self, ExecMonitorPlan};
use super::record::{ContainerId, Settings};
use super::rows::Record;
use super::running::{self, Running};
use super::session::{Session, SessionEvent};
use super::{Containers, conflict, invalid, launch, places, request::ExecRequest, spec, wait};
use crate::{EngineError, ca};
use runtime::ExecPlan;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// A process that is being started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) exec_id: String,
    /// Where its instance lies, if it has one.
    pub(super) instance: Option<PathBuf>,
}

impl Containers<'_> {
    /// Starts a process and returns a session with it, `None` if it was detached. The session's first event is
    /// `Started` or `Failed`.
    pub fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<Option<Session>, EngineError> {
        if request.command.is_empty() {
            return Err(invalid("No exec command specified"));
        }
        let record = self.record(id)?;
        self.require_running(&record)?;
        let started = Started {
            exec_id: places::hex(&places::random::<32>()?),
            instance: None,
        };
        self.begin_exec(&record, request, started, &[])
    }

    /// Starts a process under a monitor, to which `descriptors` go.
    pub(super) fn begin_exec(
        self,
        record: &Record,
        request: &ExecRequest,
        started: Started,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Option<Session>, EngineError> {
        let launched = launch::launch(monitor::EXEC, None)?;
        sys::failpoint::reach("exec.launched")?;
        let plan = self.exec_plan(record, request, started)?;
        let mut session = Session::new(launched.hand_over(&plan, descriptors)?);
        // While the other process gets going.
        if plan.instance.is_none() {
            self.note_exec(record, "exec_create", &plan.exec_id, &request.command)?;
        }
        self.note_exec(record, "exec_start", &plan.exec_id, &request.command)?;
        session.set_exec_id(plan.exec_id);
        sys::failpoint::pass("exec.handed-over");
        if !request.detach {
            return Ok(Some(session));
        }
        match session.next().map_err(wait::session_error(&record.id))? {
            Some(SessionEvent::Failed(error)) => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// Records one of Docker's two events of a beginning.
    pub(super) fn note_exec(
        self,
        record: &Record,
        action: &str,
        exec_id: &str,
        command: &[String],
    ) -> Result<(), EngineError> {
        let action = format!("{action}: {}", command.join(" "));
        self.note(record, &action, &[("execID", exec_id)])
    }

    fn exec_plan(
        self,
        record: &Record,
        request: &ExecRequest,
        started: Started,
    ) -> Result<ExecMonitorPlan, EngineError> {
        let running = running::read(self.engine.locations(), &record.id)
            .filter(|running| running.pid > 0)
            .ok_or_else(|| conflict(format!("container {} is not running", record.id)))?;
        Ok(ExecMonitorPlan {
            root: self.engine.locations().root.clone(),
            container: record.id.clone(),
            exec_id: started.exec_id,
            instance: started.instance,
            exec: self.exec_in(record, request, &running)?,
            terminal: request.terminal,
            open_stdin: request.open_stdin,
            size: request.size,
            detach: request.detach,
        })
    }

    /// Resolves what is asked for into a process beside the one that runs.
    pub(super) fn exec_in(
        self,
        record: &Record,
        request: &ExecRequest,
        running: &Running,
    ) -> Result<ExecPlan, EngineError> {
        let locations = self.engine.locations();
        let settings = adapt(&record.settings, request);
        let host_ca = ca::for_container(self.engine, settings.request.host_ca);
        let mut process = spec::process(&settings, host_ca.as_ref())?;
        process.set_terminal(Some(request.terminal));
        let capabilities = spec::capabilities(&settings, settings.request.privileged)?;
        let seccomp = spec::seccomp(&settings, Some(&capabilities))?;
        process.set_capabilities(Some(capabilities));
        if request.privileged {
            process.set_apparmor_profile(None);
        }
        Ok(ExecPlan {
            container_pid: running.pid,
            container_start_time: running.start_time,
            process,
            user: Some(settings.user.clone()).filter(|user| !user.is_empty()),
            seccomp,
            cgroup: Some(locations.cgroup(&record.id, settings.request.cgroup_parent.as_deref())),
            user_namespace: false,
            keeps_orphans: false,
        })
    }
}

/// Returns the container's settings with what the request has put in their place.
fn adapt(settings: &Settings, request: &ExecRequest) -> Settings {
    let mut settings = settings.clone();
    settings.entrypoint = Vec::new();
    settings.command.clone_from(&request.command);
    settings.request.terminal |= request.terminal;
    settings.request.privileged |= request.privileged;
    for variable in &request.environment {
        let name = variable.split('=').next().unwrap_or_default();
        settings
            .environment
            .retain(|there| there.split('=').next() != Some(name));
        if variable.contains('=') {
            settings.environment.push(variable.clone());
        }
    }
    if let Some(directory) = request.working_directory.as_ref().filter(|text| !text.is_empty()) {
        settings.working_directory.clone_from(directory);
    }
    if let Some(user) = request.user.as_ref().filter(|text| !text.is_empty()) {
        settings.user.clone_from(user);
    }
    settings
}
