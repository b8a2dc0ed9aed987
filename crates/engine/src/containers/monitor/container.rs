//! The life of a container under its monitor: begun, watched, begun again as its restart policy says, and recorded.

use super::cable::Cable;
use super::health::Checks;
use super::log::Log;
use super::names::Names;
use super::relay::{Relay, Request};
use super::streams::{self, Shape};
use crate::Locations;
use crate::containers::health::HealthPlan;
use crate::containers::logs::options::LogPlan;
use crate::containers::record::{ContainerId, ExitRecord};
use crate::containers::request::RestartPolicy;
use crate::containers::running::{self, Ended, Running};
use crate::containers::session::Mode;
use crate::containers::sharing::{self, Join};
use crate::containers::{early, finish, launch, update};
use crate::events::now;
use crate::networks::names::NamesPlan;
use network::{Endpoint, FirewallWatch, Segment};
use runtime::cgroups::systemd::{Requested, ScopeError};
use runtime::{Created, Plan, Process, StartError, StartFailure};
use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};
use state::Database;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::failpoint;
use sys::signal::SignalFd;

/// Docker's pauses before a restart: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A run this long makes the next pause the first again.
const LONG_RUN: Duration = Duration::from_secs(10);
/// How long the processes of a cgroup may take to go after SIGKILL.
pub(super) const CGROUP_PATIENCE: Duration = Duration::from_secs(10);

/// Which signals tell a monitor that the host goes down.
const LEAVE: [i32; 3] = [HANGUP, INTERRUPT, TERMINATE];
const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
const TERMINATE: i32 = 15;
/// What `start` hands a monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::containers) struct MonitorPlan {
    pub(in crate::containers) root: PathBuf,
    pub(in crate::containers) run_root: PathBuf,
    pub(in crate::containers) id: ContainerId,
    pub(in crate::containers) plan: Option<Plan>,
    /// The first client wants the streams.
    pub(in crate::containers) attach: bool,
    pub(in crate::containers) terminal: bool,
    pub(in crate::containers) open_stdin: bool,
    pub(in crate::containers) stdin_once: bool,
    pub(in crate::containers) size: Option<(u16, u16)>,
    pub(in crate::containers) network: NetworkPlan,
    /// What its name server answers, if it has one.
    pub(in crate::containers) names: Option<NamesPlan>,
    pub(in crate::containers) log: Option<LogPlan>,
    pub(in crate::containers) restart: RestartPolicy,
    pub(in crate::containers) care: Care,
    /// A container has a record, of which the end is a part; a build step has none, and ends with its client.
    pub(in crate::containers) recorded: bool,
    pub(in crate::containers) cgroup: PathBuf,
    pub(in crate::containers) started: i64,
    /// Namespaces of other containers.
    pub(in crate::containers) joins: Vec<Join>,
}

/// How a container is looked after.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::containers) struct Care {
    /// How the monitor ends it, where it has to.
    pub(in crate::containers) stop_signal: i32,
    pub(in crate::containers) stop_patience: Duration,
    /// The longest that a run may last.
    pub(in crate::containers) timeout: Option<Duration>,
    pub(in crate::containers) health: Option<HealthPlan>,
}

/// What is done with the network namespace before the process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::containers) enum NetworkPlan {
    /// It gets `lo` and places on these networks.
    Own(Vec<(Segment, Endpoint)>),
    /// It is somebody else's.
    Shared,
}

/// Runs a container to its end.
pub(super) fn run(
    client: UnixStream,
    plan_file: File,
    descriptors: Vec<OwnedFd>,
    scope: Option<Result<Requested, ScopeError>>,
) -> io::Result<()> {
    let mut plan: MonitorPlan = launch::read_plan(&plan_file)?;
    let mut descriptors = descriptors.into_iter();
    let missing = || io::Error::other("a monitor got no lock");
    let lock = descriptors.next().ok_or_else(missing)?;
    let listener = descriptors.next().map(UnixListener::from);
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
    }
    let mut relay = Relay::default();
    relay.listener = listener;
    relay.stdin_once = plan.stdin_once;
    relay.add_first(client, plan.attach.then_some(Mode::Attach));
    let checks = match plan.care.health.take() {
        Some(health) => Some(Checks::new(&health, plan.cgroup.clone())?),
        None => None,
    };
    // A build step goes with its client, and with its monitor.
    let signals = if plan.recorded {
        Some(SignalFd::new(&LEAVE).map_err(|error| io::Error::from(error.errno))?)
    } else {
        None
    };
    let mut life = Life {
        locations: Locations {
            root: plan.root.clone(),
            run_root: plan.run_root.clone(),
            config: None,
        },
        plan,
        plan_file,
        relay,
        restarts: 0,
        started: 0,
        stopped: false,
        interrupted: false,
        again: false,
        last_exit: None,
        oom_killed: false,
        checks,
        names: None,
        rules: None,
        rules_due: None,
        signals,
        database: None,
        ports: descriptors.collect(),
        lock,
        scope,
    };
    match life.begin() {
        Ok(process) => life.live(process),
        // Whoever started us undoes what it has recorded; the lock goes with us.
        Err(error) => life.relay.tell_failed(&error),
    }
}

pub(super) struct Life {
    pub(super) locations: Locations,
    pub(super) plan: MonitorPlan,
    plan_file: File,
    pub(super) relay: Relay,
    pub(super) restarts: u32,
    pub(super) started: i64,
    /// Stopped by hand, or by what counts as that: the restart policy is out of force.
    pub(super) stopped: bool,
    /// The host goes down: it is not begun again before the host is.
    pub(super) interrupted: bool,
    /// It is begun again whatever its restart policy says.
    pub(super) again: bool,
    pub(super) last_exit: Option<ExitRecord>,
    /// The kernel has killed a process of this run for lack of memory, and that has been told.
    pub(super) oom_killed: bool,
    pub(super) checks: Option<Checks>,
    /// While the process is there, in a container that has such.
    pub(super) names: Option<Names>,
    /// What tells us that somebody takes the host's firewall rules away, and when ours are put back then.
    pub(super) rules: Option<FirewallWatch>,
    pub(super) rules_due: Option<Instant>,
    /// What tells us that the host goes down.
    pub(super) signals: Option<SignalFd>,
    /// Open from when the end is near.
    pub(super) database: Option<Database>,
    /// Bound sockets that keep the published ports ours.
    ports: Vec<OwnedFd>,
    lock: OwnedFd,
    /// What systemd was asked for, until it is waited for.
    scope: Option<Result<Requested, ScopeError>>,
}

impl Life {
    /// Makes the process. On failure nothing of it is left.
    fn begin(&mut self) -> Result<Process, StartError> {
        let setup = |error: &dyn std::error::Error| StartError {
            failure: StartFailure::Setup,
            message: chain(error),
        };
        let mut plan = match self.plan.plan.take() {
            Some(plan) => plan,
            None => self.reread_plan()?,
        };
        sharing::complete(&mut plan, &self.plan.joins, &self.locations)?;
        if self.relay.log.is_none()
            && let Some(log) = &self.plan.log
        {
            let opened = Log::open(log).map_err(|error| StartError {
                failure: StartFailure::Setup,
                message: format!("failed to initialize logging driver: {error}"),
            })?;
            self.relay.log = Some(opened);
        }
        let shape = Shape {
            terminal: self.plan.terminal,
            open_stdin: self.plan.open_stdin,
            size: self.plan.size,
        };
        let (streams, ends) = streams::make(shape).map_err(|error| setup(&error))?;
        self.relay.ends = ends;
        if let Some(scope) = self.scope.take() {
            scope.and_then(Requested::settle).map_err(|error| setup(&error))?;
        }
        if self.plan.recorded {
            for (mode, stream) in early::meet(&early::directory_of(&self.locations, &self.plan.id)) {
                self.relay.add_early(stream, mode);
            }
        }
        failpoint::reach("monitor.prepared")?;
        let mut created = runtime::create(&plan, streams)?;
        failpoint::pass("monitor.created");
        drop(plan);
        let begun = self.equip(&mut created).and_then(|()| created.start());
        failpoint::pass("monitor.begun");
        if begun.is_err() {
            self.relay.ends = streams::Ends::default();
            self.take_network_away();
            // Why there is no process is what counts; a cgroup that stays is swept by recovery.
            runtime::remove_cgroup(&self.plan.cgroup, CGROUP_PATIENCE).unwrap_or_default();
        }
        let process = begun?;
        self.started = now();
        self.oom_killed = false;
        self.again = false;
        if let Some(checks) = &mut self.checks {
            checks.begin_run();
        }
        Ok(process)
    }

    /// Reads the plan again, which is kept in the memfd between starts, not in our heap.
    fn reread_plan(&self) -> Result<Plan, StartError> {
        let setup = |error: &dyn std::error::Error| StartError {
            failure: StartFailure::Setup,
            message: chain(error),
        };
        let mut plan = launch::read_plan::<MonitorPlan>(&self.plan_file)
            .map_err(|error| setup(&error))?
            .plan
            .ok_or_else(|| setup(&io::Error::other("the plan is not there")))?;
        // Its limits may have been changed since.
        if let Some(database) = self.open_database().map_err(|error| setup(&error))? {
            update::renew(&mut plan, &database, &self.plan.id).map_err(|error| setup(&error))?;
        }
        Ok(plan)
    }

    /// Gives the waiting process its network, while it makes its mounts, and us its terminal.
    fn equip(&mut self, created: &mut Created) -> Result<(), StartError> {
        let setup = |error: &dyn std::error::Error| StartError {
            failure: StartFailure::Setup,
            message: chain(error),
        };
        if let Some(namespace) = created.network_namespace() {
            self.plug(namespace)?;
        }
        failpoint::reach("monitor.equipped")?;
        if self.plan.terminal {
            created.ready()?;
            if let Some(master) = created.take_terminal() {
                self.relay
                    .ends
                    .set_terminal(master, self.plan.open_stdin)
                    .map_err(|error| setup(&error))?;
            }
        }
        Ok(())
    }

    /// Watches the process and its successors until there are no more of them, and records the end.
    fn live(mut self, mut process: Process) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        let (end, cable) = loop {
            failpoint::pass("monitor.running");
            let running = self.write_process(process.pid());
            if !told {
                self.relay.tell_started();
                failpoint::pass("monitor.told-start");
                told = true;
            }
            let begun = Instant::now();
            let (exit, cable) = self.watch(&mut process, running);
            drop(process);
            if !self.restarts_after(&exit) {
                break (exit, cable);
            }
            // The next process is cloned from a single thread, and gets a link of the same name.
            cable.wait();
            self.note_end_of_run(&exit);
            self.relay.tell_exited(&exit, false)?;
            if begun.elapsed() >= LONG_RUN {
                pause = FIRST_PAUSE;
            }
            self.restarts += 1;
            self.last_exit = Some(exit.clone());
            self.write_process(0);
            // Whoever changed its networks may have died before it told us; without a process this cannot fail.
            self.rejoin(None).unwrap_or_default();
            if !self.rest(pause)? {
                break (exit, Cable::default());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.note_new_run();
            match self.begin() {
                Ok(next) => process = next,
                Err(error) => {
                    let exit = ExitRecord {
                        code: code_of(error.failure),
                        error: Some(error.message),
                        finished: now(),
                        ..ExitRecord::default()
                    };
                    break (exit, Cable::default());
                }
            }
        };
        self.end(end, cable)
    }

    /// Leaves word of the process for others, and returns it.
    pub(super) fn write_process(&self, pid: i32) -> Running {
        let running = Running {
            pid,
            start_time: sys::process::start_time(pid).unwrap_or_default(),
            started: self.started,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            oom_killed: self.oom_killed,
        };
        // Others then do not know the pid; the container is none the worse for it.
        running::write(&self.locations, &self.plan.id, &running).unwrap_or_default();
        running
    }

    /// Returns the first process's arguments, from the plan.
    pub(super) fn arguments(&self) -> Option<Vec<String>> {
        let plan = launch::read_plan::<MonitorPlan>(&self.plan_file).ok()?.plan?;
        plan.spec.process().as_ref()?.args().clone()
    }

    /// Opens the database, which takes a moment, when the process seems to be ending: it has closed its output, and
    /// the kernel is still busy with its mounts.
    pub(super) fn look_ahead(&mut self) {
        if self.database.is_none() && self.plan.restart == RestartPolicy::No {
            // If it cannot be opened now, it is tried again at the end.
            self.database = self.open_database().unwrap_or_default();
        }
    }

    fn restarts_after(&self, exit: &ExitRecord) -> bool {
        let wanted = match self.plan.restart {
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::No => false,
            RestartPolicy::OnFailure(most) => exit.code != 0 && (most == 0 || self.restarts < most),
        };
        (wanted || self.again) && !self.stopped && !self.interrupted
    }

    /// Waits before a restart; `false` if somebody stopped the container meanwhile, or took its restart policy away.
    fn rest(&mut self, pause: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + pause;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            let others: Vec<_> = leave_signal(self.signals.as_ref()).into_iter().collect();
            let round = self.relay.round(None, &others, Some(left))?;
            let told_to_leave = round.ready != 0;
            for request in std::mem::take(&mut self.relay.requests) {
                match request {
                    Request::Signal(_) => {}
                    Request::Stop(_) => self.stopped = true,
                    Request::Policy(policy) => {
                        self.plan.restart = policy;
                        if policy == RestartPolicy::No && !self.again {
                            return Ok(false);
                        }
                    }
                    Request::Leave => self.interrupted = true,
                    Request::Networks(client) => {
                        let done = self.rejoin(None);
                        self.relay.tell_done(client, &done);
                    }
                }
            }
            self.interrupted |= told_to_leave;
            if self.stopped || self.interrupted {
                return Ok(false);
            }
        }
    }

    /// Records the end: first in the run directory, which cannot fail for lack of disk, then in the database; lets go
    /// of the lock; and only then tells the clients, so that whoever hears of the end can start the container again.
    fn end(mut self, exit: ExitRecord, cable: Cable) -> io::Result<()> {
        let ended = Ended {
            exit,
            started: self.started,
            restarts: self.restarts,
            stopped_by_user: self.stopped,
            interrupted: self.interrupted,
            oom_told: self.oom_killed,
            health: self.checks.take().map(|checks| checks.health),
        };
        if self.plan.recorded {
            running::write_end(&self.locations, &self.plan.id, &ended).unwrap_or_default();
        }
        failpoint::pass("monitor.end-written");
        let leavings = self.record(&ended);
        failpoint::pass("monitor.recorded");
        cable.wait_until_gone();
        if leavings.is_ok() {
            finish::remove_run_directory(&self.locations, &self.plan.id);
        }
        drop(self.ports);
        drop(self.lock);
        failpoint::pass("monitor.released");
        self.relay.tell_exited(&ended.exit, true)?;
        self.relay.say_goodbye()?;
        failpoint::pass("monitor.told-end");
        // Nobody waits for us any more.
        if let Ok(leavings) = leavings {
            leavings.reap();
        }
        if let Some(database) = &self.database {
            database.tidy().unwrap_or_default();
        }
        cable.wait();
        Ok(())
    }

    /// Opens the database if the container has anything there.
    pub(super) fn open_database(&self) -> Result<Option<Database>, crate::EngineError> {
        let has_address = matches!(&self.plan.network, NetworkPlan::Own(places) if !places.is_empty());
        (self.plan.recorded || has_address)
            .then(|| Database::open(&self.locations.root))
            .transpose()
            .map_err(Into::into)
    }

    fn record(&mut self, ended: &Ended) -> Result<finish::Leavings, crate::EngineError> {
        if self.database.is_none() {
            self.database = self.open_database()?;
        }
        match &self.database {
            Some(database) if self.plan.recorded => {
                finish::record(database, &self.locations, &self.plan.id, ended)
            }
            Some(database) => {
                finish::release(database, &self.plan.id)?;
                Ok(finish::Leavings::default())
            }
            None => Ok(finish::Leavings::default()),
        }
    }
}

/// What to poll for to hear that the host goes down.
pub(super) fn leave_signal(signals: Option<&SignalFd>) -> Option<(BorrowedFd<'_>, PollFlags)> {
    signals.map(|signals| (signals.as_fd(), PollFlags::IN))
}

/// Docker's exit codes for a command that did not start.
pub(in crate::containers) fn code_of(failure: StartFailure) -> i32 {
    match failure {
        StartFailure::CommandNotExecutable => 126,
        StartFailure::CommandNotFound => 127,
        StartFailure::Setup => 128,
    }
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
