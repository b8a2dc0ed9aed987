//! A build's `RUN`: a command in a container that leaves no record.

use super::monitor::{self, Care, MonitorPlan, NetworkPlan};
use super::network_files::{self, View};
use super::record::{ContainerId, ExitRecord, Settings};
use super::request::{CreateContainer, NetworkAttachment, NetworkMode, RestartPolicy, Ulimit};
use super::seat::{self, Seat};
use super::session::{Ending, Mode, Session, SessionEvent};
use super::spec::{self, NetworkNamespace, PlanInput};
use super::{finish, launch, running, start, step_mounts, wait};
use crate::networks::joining::{self, Place};
use crate::networks::{Guest, allot};
use crate::{Engine, EngineError, ca};
use builder::{OutputStream, RunStep};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The name that Docker's builder gives its steps; a host's own name would make two hosts' layers differ.
const HOSTNAME: &str = "buildkitsandbox";
/// How often a cancelled build is noticed while its step says nothing.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs a step under a monitor of its own (a build has threads, so it must not clone without exec) and returns its exit
/// code. Leaves nothing but the files in the step's upper directory: no record, no log, no cgroup, no link, no address.
/// When `cancelled` says so, the step is killed and the error tells.
pub(crate) fn run(
    engine: &Engine,
    step: &RunStep<'_>,
    network: &NetworkMode,
    output: &mut dyn FnMut(OutputStream, &[u8]),
    cancelled: &dyn Fn() -> bool,
) -> Result<i32, EngineError> {
    let id = ContainerId::random()?;
    let locations = engine.locations();
    let lock = locations
        .claim(&id)?
        .ok_or_else(|| super::conflict(format!("the build step's id {id} is in use")))?;
    sys::failpoint::pass("step.claimed");
    let result = run_claimed(
        engine,
        &id,
        step,
        network,
        lock.file().as_fd(),
        false,
        |session| relay(&id, session, output, cancelled),
    );
    end(engine, &id, network, result)
}

/// Runs a step on the user's terminal: `talk` has the conversation with it. When that returns, the step is over, whatever
/// it still does.
pub(crate) fn run_on_terminal(
    engine: &Engine,
    step: &RunStep<'_>,
    network: &NetworkMode,
    talk: &dyn Fn(Session),
) -> Result<i32, EngineError> {
    let id = ContainerId::random()?;
    let locations = engine.locations();
    let lock = locations
        .claim(&id)?
        .ok_or_else(|| super::conflict(format!("the build step's id {id} is in use")))?;
    let result = run_claimed(engine, &id, step, network, lock.file().as_fd(), true, |session| {
        talk(session);
        let failed = wait::session_error(&id);
        // Who has left the conversation may have left something running.
        let Some(mut session) = wait::connect(locations, &id, Mode::Wait)? else {
            return Ok(ExitRecord::default());
        };
        match session.signal(9).and_then(|()| session.exit_until(None)) {
            Ok(Ending::Exited(exit)) => Ok(exit),
            Ok(Ending::Silence | Ending::TimeIsUp) => Ok(ExitRecord::default()),
            Err(error) if super::session::is_gone(&error) => Ok(ExitRecord::default()),
            Err(error) => Err(failed(error)),
        }
    });
    end(engine, &id, network, result)
}

/// Takes away what a step leaves.
fn end(
    engine: &Engine,
    id: &ContainerId,
    network: &NetworkMode,
    result: Result<ExitRecord, EngineError>,
) -> Result<i32, EngineError> {
    if result.is_err() {
        // The monitor lets go of all that the step has when it ends; one that never began has no monitor, and one that
        // was killed has let go of nothing.
        engine.containers().clear_kernel(id, None)?;
        if matches!(network, NetworkMode::Bridge) {
            finish::release(&engine.database, id)?;
        }
    }
    sys::failpoint::pass("step.ended");
    finish::remove_run_directory(engine.locations(), id);
    Ok(result?.code)
}

fn run_claimed(
    engine: &Engine,
    id: &ContainerId,
    step: &RunStep<'_>,
    network: &NetworkMode,
    lock: BorrowedFd<'_>,
    terminal: bool,
    follow: impl FnOnce(Session) -> Result<ExitRecord, EngineError>,
) -> Result<ExitRecord, EngineError> {
    let locations = engine.locations();
    let parent = step.limits.cgroup_parent.as_deref();
    let Seat { cgroup, scope } = seat::assign(engine.config(), locations, id, parent)?;
    let launched = launch::launch(monitor::CONTAINER, scope.as_ref())?;
    let directory = locations.run_directory(id);
    let settings = settings(step, network, terminal);
    super::apparmor::prepare(&settings.request)?;
    let place = match network {
        NetworkMode::Bridge => Some(take_place(engine, id)?),
        _ => None,
    };
    let view = match (network, &place) {
        (NetworkMode::Host, _) => View::Host,
        (_, Some(places)) => joining::view(places, false),
        _ => View::LONELY,
    };
    network_files::write(&directory, &settings, &view)?;
    let mut plan = spec::plan(PlanInput {
        settings: &settings,
        rootfs: step.rootfs.clone(),
        cgroup: cgroup.clone(),
        network: match network {
            NetworkMode::Host => NetworkNamespace::Host,
            _ => NetworkNamespace::Own,
        },
        files: &directory,
        pids_limit: engine.config().pids_limit,
        host_ca: ca::for_container(engine, None),
        mounts: Vec::new(),
        images: Vec::new(),
        edits: crate::cdi::Edits::default(),
    })?;
    step_mounts::add(&mut plan, step.mounts)?;
    let network_plan = match (&place, network) {
        (Some(places), _) => NetworkPlan::Own(joining::plugs(places)),
        (None, NetworkMode::Host) => NetworkPlan::Shared,
        (None, _) => NetworkPlan::Own(Vec::new()),
    };
    let monitor_plan = MonitorPlan {
        root: locations.root.clone(),
        run_root: locations.run_root.clone(),
        id: id.clone(),
        plan: Some(plan),
        attach: true,
        terminal,
        open_stdin: terminal,
        stdin_once: terminal,
        size: None,
        network: network_plan,
        names: None,
        log: None,
        restart: RestartPolicy::No,
        care: Care::default(),
        recorded: false,
        cgroup,
        started: crate::events::now(),
        joins: Vec::new(),
    };
    follow(start::begin(id, launched, &monitor_plan, &[lock])?)
}

fn settings(step: &RunStep<'_>, network: &NetworkMode, terminal: bool) -> Settings {
    Settings {
        request: CreateContainer {
            network: network.clone(),
            extra_hosts: step.extra_hosts.to_vec(),
            privileged: step.insecure,
            terminal,
            open_stdin: terminal,
            shm_size: step.limits.shm_size,
            ulimits: step
                .limits
                .ulimits
                .iter()
                .map(|(name, soft, hard)| Ulimit {
                    name: name.clone(),
                    soft: *soft,
                    hard: *hard,
                })
                .collect(),
            ..CreateContainer::default()
        },
        command: step.arguments.to_vec(),
        environment: step.environment.to_vec(),
        working_directory: step.working_directory.to_owned(),
        user: step.user.to_owned(),
        hostname: HOSTNAME.into(),
        ..Settings::default()
    }
}

/// Gets an address on the default bridge, and leaves word of it for recovery.
fn take_place(engine: &Engine, id: &ContainerId) -> Result<Vec<Place>, EngineError> {
    let known = engine.networks().default_bridge()?;
    let attachment = NetworkAttachment::default();
    let guest = Guest {
        id,
        name: "build",
        hostname: HOSTNAME,
    };
    let record = engine
        .database
        .write(|transaction| allot(transaction, &known, guest, &attachment))?;
    sys::failpoint::reach("step.allotted")?;
    let mut places = vec![Place {
        known,
        attachment,
        record,
    }];
    joining::arrange(&mut places, id, Vec::new());
    let directory = engine.locations().run_directory(id);
    for place in &places {
        running::replace(&directory, "endpoint", &place.record.endpoint)?;
        engine.networks().make_ready(place.known.segment())?;
    }
    Ok(places)
}

fn relay(
    id: &ContainerId,
    mut session: Session,
    output: &mut dyn FnMut(OutputStream, &[u8]),
    cancelled: &dyn Fn() -> bool,
) -> Result<ExitRecord, EngineError> {
    let failed = wait::session_error(id);
    let mut killed = false;
    loop {
        if !killed && cancelled() {
            session.signal(9).map_err(&failed)?;
            killed = true;
        }
        let deadline = (!killed).then(|| Instant::now() + GLANCE);
        if !wait::readable(session.as_fd(), deadline).map_err(&failed)? {
            continue;
        }
        match session.next().map_err(&failed)? {
            Some(SessionEvent::Stdout(bytes)) => output(OutputStream::Stdout, &bytes),
            Some(SessionEvent::Stderr(bytes)) => output(OutputStream::Stderr, &bytes),
            Some(SessionEvent::Exited(_)) if killed => {
                return Err(super::conflict("the build was cancelled"));
            }
            Some(SessionEvent::Exited(exit)) => return Ok(exit),
            Some(SessionEvent::Started | SessionEvent::Room) => {}
            Some(SessionEvent::Failed(error)) => return Err(error.into()),
            None => {
                return Err(runtime::StartError {
                    failure: runtime::StartFailure::Setup,
                    message: "the monitor of the build step ended without a word".into(),
                }
                .into());
            }
        }
    }
}
