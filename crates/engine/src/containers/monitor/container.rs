//! The life of a container under its monitor: begun, watched, begun again as its restart policy says, and recorded.

use super::log::Log;
use super::relay::{Relay, Request};
use super::streams::{self, Shape};
use crate::Locations;
use crate::containers::record::{ContainerId, ExitRecord, Usage};
use crate::containers::request::RestartPolicy;
use crate::containers::running::{self, Ended, Running};
use crate::containers::session::Mode;
use crate::containers::sharing::{self, Join};
use crate::containers::{finish, launch, update};
use crate::events::now;
use network::{Bridge, Endpoint};
use runtime::{Created, Plan, Process, StartError, StartFailure};
use serde::{Deserialize, Serialize};
use state::Database;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sys::failpoint;

/// Docker's pauses before a restart: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A run this long makes the next pause the first again.
const LONG_RUN: Duration = Duration::from_secs(10);
/// How long the processes of a cgroup may take to go after SIGKILL.
const CGROUP_PATIENCE: Duration = Duration::from_secs(10);

/// A process that has run this long will run longer, and its monitor gives back memory.
const SETTLING: Duration = Duration::from_millis(300);
/// How often it is looked whether a link has gone.
const GLANCE: Duration = Duration::from_micros(200);

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
    pub(in crate::containers) log: Option<LogPlan>,
    pub(in crate::containers) restart: RestartPolicy,
    /// A container has a record, of which the end is a part; a build step has none, and ends with its client.
    pub(in crate::containers) recorded: bool,
    pub(in crate::containers) cgroup: PathBuf,
    pub(in crate::containers) started: i64,
    /// Namespaces of other containers.
    pub(in crate::containers) joins: Vec<Join>,
}

/// What is done with the network namespace before the process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::containers) enum NetworkPlan {
    /// A cable to a bridge.
    Bridge(Bridge, Endpoint),
    /// Nothing but `lo`.
    Loopback,
    /// It is somebody else's.
    Shared,
}

/// Where the log is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::containers) struct LogPlan {
    pub(in crate::containers) path: PathBuf,
    pub(in crate::containers) max_size: u64,
    pub(in crate::containers) max_files: u32,
}

/// Runs a container to its end.
pub(super) fn run(client: UnixStream, plan_file: File, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let plan: MonitorPlan = launch::read_plan(&plan_file)?;
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
        database: None,
        ports: descriptors.collect(),
        lock,
    };
    match life.begin() {
        Ok(process) => life.live(process),
        // Whoever started us undoes what it has recorded; the lock goes with us.
        Err(error) => life.relay.tell_failed(&error),
    }
}

struct Life {
    locations: Locations,
    plan: MonitorPlan,
    plan_file: File,
    relay: Relay,
    restarts: u32,
    started: i64,
    /// Stopped by hand: the restart policy is out of force.
    stopped: bool,
    /// Open from when the end is near.
    database: Option<Database>,
    /// Bound sockets that keep the published ports ours.
    ports: Vec<OwnedFd>,
    lock: OwnedFd,
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
            let opened = Log::open(&log.path, log.max_size, log.max_files).map_err(|error| StartError {
                failure: StartFailure::Setup,
                message: format!("cannot open the log '{}': {error}", log.path.display()),
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
            match &self.plan.network {
                NetworkPlan::Bridge(bridge, endpoint) => bridge.attach(namespace, endpoint),
                NetworkPlan::Loopback => network::raise_loopback(namespace),
                NetworkPlan::Shared => Ok(()),
            }
            .map_err(|error| setup(&error))?;
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
        let mut last_exit: Option<ExitRecord> = None;
        let mut told = false;
        let (end, cable) = loop {
            failpoint::pass("monitor.running");
            self.write_process(process.pid(), last_exit.clone());
            if !told {
                self.relay.tell_started();
                failpoint::pass("monitor.told-start");
                told = true;
            }
            let begun = Instant::now();
            let (exit, cable) = self.watch(&mut process);
            drop(process);
            if !self.restarts_after(&exit) {
                break (exit, cable);
            }
            // The next process is cloned from a single thread, and gets a link of the same name.
            cable.wait();
            self.relay.tell_exited(&exit, false)?;
            if begun.elapsed() >= LONG_RUN {
                pause = FIRST_PAUSE;
            }
            self.restarts += 1;
            self.write_process(0, Some(exit.clone()));
            if !self.rest(pause)? {
                break (exit, Cable::default());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
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
            last_exit = Some(exit);
        };
        self.end(end, cable)
    }

    fn write_process(&self, pid: i32, last_exit: Option<ExitRecord>) {
        let running = Running {
            pid,
            start_time: sys::process::start_time(pid).unwrap_or_default(),
            started: self.started,
            restarts: self.restarts,
            last_exit,
        };
        // Others then do not know the pid; the container is none the worse for it.
        running::write(&self.locations, &self.plan.id, &running).unwrap_or_default();
    }

    /// Relays until the process has ended, and clears away what was its own.
    fn watch(&mut self, process: &mut Process) -> (ExitRecord, Cable) {
        let mut error = None;
        let begun = Instant::now();
        let mut settled = false;
        loop {
            let patience = (!settled).then_some(SETTLING);
            let ended = match self.relay.round(Some(process.pidfd()), patience) {
                Ok(ended) => ended,
                // Without poll there is no watching: better it ends than that nobody watches it.
                Err(failure) => {
                    error = Some(failure.to_string());
                    process.kill(9).unwrap_or_default();
                    true
                }
            };
            for request in std::mem::take(&mut self.relay.requests) {
                let signal = match request {
                    Request::Signal(signal) => signal,
                    Request::Stop(signal) => {
                        self.stopped = true;
                        signal
                    }
                    Request::Policy(policy) => {
                        self.plan.restart = policy;
                        continue;
                    }
                };
                // A process that is just ending cannot be signalled; it ends.
                process.kill(signal).unwrap_or_default();
            }
            if ended {
                break;
            }
            if !self.plan.recorded && self.relay.is_deserted() {
                process.kill(9).unwrap_or_default();
            }
            if self.relay.ends.are_silent() {
                self.look_ahead();
            }
            // Not at once: many a process ends again soon, and then it would only cost time.
            if !settled && begun.elapsed() >= SETTLING {
                settled = true;
                sys::memory::release();
            }
        }
        let (code, signal) = match process.wait() {
            Ok(exit) => (exit.code, exit.signal),
            Err(failure) => {
                error = Some(chain(&failure));
                (137, None)
            }
        };
        failpoint::pass("monitor.ended");
        let cable = self.unplug();
        failpoint::pass("monitor.unplugged");
        if let Err(failure) = self.relay.drain() {
            error = Some(failure.to_string());
        }
        // A cgroup whose processes will not go is left to recovery.
        failpoint::pass("monitor.drained");
        let usage = runtime::close_cgroup(&self.plan.cgroup, CGROUP_PATIENCE);
        let exit = ExitRecord {
            code,
            oom_killed: usage.is_some_and(|usage| usage.oom_kills > 0),
            error,
            finished: now(),
            signal,
            cause: None,
            usage: usage.map(Usage::from).unwrap_or_default(),
        };
        (exit, cable)
    }

    /// Takes ports and the host's end of the cable away. What stays has the container's name on it and is swept.
    fn take_network_away(&self) {
        if let NetworkPlan::Bridge(bridge, endpoint) = &self.plan.network {
            bridge.detach(endpoint).unwrap_or_default();
        }
    }

    /// Likewise, but the cable in a thread of its own: the kernel lets its caller go only when no processor can still
    /// be looking at the link, which is milliseconds after nobody can find it any more.
    fn unplug(&self) -> Cable {
        let NetworkPlan::Bridge(bridge, endpoint) = &self.plan.network else {
            return Cable::default();
        };
        bridge.unpublish(&endpoint.published()).unwrap_or_default();
        let (bridge, host_link) = (bridge.clone(), endpoint.host_link.clone());
        let removal = std::thread::Builder::new().spawn(move || {
            bridge.remove_link(&host_link).unwrap_or_default();
        });
        match removal {
            Ok(thread) => Cable {
                removal: Some((thread, endpoint.host_link.clone())),
            },
            Err(_no_thread) => {
                self.take_network_away();
                Cable::default()
            }
        }
    }

    /// Opens the database, which takes a moment, when the process seems to be ending: it has closed its output, and
    /// the kernel is still busy with its mounts.
    fn look_ahead(&mut self) {
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
        wanted && !self.stopped
    }

    /// Waits before a restart; `false` if somebody stopped the container meanwhile.
    fn rest(&mut self, pause: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + pause;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            self.relay.round(None, Some(left))?;
            for request in std::mem::take(&mut self.relay.requests) {
                match request {
                    Request::Signal(_) => {}
                    Request::Stop(_) => {
                        self.stopped = true;
                        return Ok(false);
                    }
                    Request::Policy(policy) => self.plan.restart = policy,
                }
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
    fn open_database(&self) -> Result<Option<Database>, crate::EngineError> {
        let has_address = matches!(self.plan.network, NetworkPlan::Bridge(..));
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

/// The host's end of a cable on its way out.
#[derive(Default)]
struct Cable {
    removal: Option<(JoinHandle<()>, String)>,
}

impl Cable {
    /// Waits until nobody can find the link any more.
    fn wait_until_gone(&self) {
        if let Some((thread, host_link)) = &self.removal {
            // Its directory goes when the link is out of the kernel's lists.
            let link = Path::new("/sys/class/net").join(host_link);
            while !thread.is_finished() && link.exists() {
                std::thread::sleep(GLANCE);
            }
        }
    }

    /// Waits until the thread has ended. A panic in there changes nothing here: what stays is swept.
    fn wait(self) {
        if let Some((thread, _)) = self.removal {
            thread.join().unwrap_or_default();
        }
    }
}

/// Docker's exit codes for a command that did not start.
pub(in crate::containers) fn code_of(failure: StartFailure) -> i32 {
    match failure {
        StartFailure::CommandNotExecutable => 126,
        StartFailure::CommandNotFound => 127,
        StartFailure::Setup => 128,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
