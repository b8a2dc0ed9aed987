//! The watch over one run of a container: its streams, its clients' wishes, its health, its time, its memory; and why
//! it ended.

use super::cable::Cable;
use super::container::{CGROUP_PATIENCE, Life, chain, leave_signal};
use super::health::Verdict;
use super::names::Names;
use super::oom::OutOfMemory;
use super::relay::Request;
use crate::containers::record::{Cause, ExitRecord, Usage};
use crate::containers::request::OnUnhealthy;
use crate::containers::running::{self, Running};
use crate::events::now;
use runtime::cgroups::{Cgroup, Usage as Counted};
use runtime::{Exit, Process};
use rustix::event::PollFlags;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::failpoint;

/// A process that has run this long will run longer, and its monitor gives back memory.
const SETTLING: Duration = Duration::from_millis(300);
/// How long SIGKILL may take before every process of the cgroup is killed.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// A run that fails so soon after a lack of memory failed for it.
const CONSEQUENCE: Duration = Duration::from_secs(10);
const KILL: i32 = 9;
/// What shells make of a program that was killed.
const KILLED: i32 = 128 + KILL;
/// How much of a check's output is told as the cause of an end.
const LONGEST_REASON: usize = 300;

/// What is known of the present run.
struct Run {
    begun: Instant,
    settled: bool,
    memory: OutOfMemory,
    /// Signals that clients sent last: to stop it, and just so.
    asked_to_stop: Option<i32>,
    signalled: Option<i32>,
    ending: Option<Ending>,
    /// When it has had its time.
    deadline: Option<Instant>,
}

/// An end that the monitor brings about: it asks, then insists, as `stop` does.
struct Ending {
    cause: Cause,
    /// Whether it has been killed.
    insisted: bool,
    next: Option<Instant>,
}

impl Run {
    fn new(timeout: Option<Duration>) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            settled: false,
            memory: OutOfMemory::default(),
            asked_to_stop: None,
            signalled: None,
            ending: None,
            deadline: timeout.and_then(|timeout| begun.checked_add(timeout)),
        }
    }

    /// When something is due, whatever happens.
    fn next(&self, checks: Option<Instant>) -> Option<Instant> {
        let settle = (!self.settled).then(|| self.begun + SETTLING);
        let ending = self.ending.as_ref().and_then(|ending| ending.next);
        let limit = self.deadline.filter(|_| self.ending.is_none());
        [settle, ending, limit, checks, self.memory.deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Life {
    /// Relays until the process has ended, and clears away what was its own.
    pub(super) fn watch(&mut self, process: &mut Process, mut running: Running) -> (ExitRecord, Cable) {
        let mut error = None;
        let mut run = Run::new(self.plan.care.timeout);
        loop {
            match self.round(process, &run) {
                Ok(news) => {
                    self.obey(process, &mut run, news.leave);
                    if news.ended {
                        break;
                    }
                    self.attend(process, &mut run, &mut running, &news);
                }
                // Without poll there is no watching: better it ends than that nobody watches it.
                Err(failure) => {
                    error = Some(failure.to_string());
                    process.kill(KILL).unwrap_or_default();
                    break;
                }
            }
        }
        if let Some(checks) = &mut self.checks {
            checks.abandon();
        }
        let ended = process.wait().unwrap_or_else(|failure| {
            error = Some(chain(&failure));
            Exit {
                code: KILLED,
                signal: None,
            }
        });
        failpoint::pass("monitor.ended");
        let cable = self.unplug();
        failpoint::pass("monitor.unplugged");
        if let Err(failure) = self.relay.drain() {
            error = Some(failure.to_string());
        }
        // A cgroup whose processes will not go is left to recovery.
        failpoint::pass("monitor.drained");
        let usage = runtime::close_cgroup(&self.plan.cgroup, CGROUP_PATIENCE);
        let kills = usage.map_or(0, |usage| usage.oom_kills);
        if run.memory.count(kills, Instant::now()) {
            run.memory.ask(self.plan.id.as_str(), running.pid);
        }
        let exit = ExitRecord {
            code: ended.code,
            oom_killed: run.memory.happened(),
            error,
            finished: now(),
            signal: ended.signal,
            cause: self.cause(run, ended, usage, &running),
            usage: usage.map(Usage::from).unwrap_or_default(),
        };
        (exit, cable)
    }

    /// Waits until something happens or is due.
    fn round(&mut self, process: &Process, run: &Run) -> std::io::Result<News> {
        let mut others: Vec<(BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(4);
        others.extend(leave_signal(self.signals.as_ref()));
        let after_leave = others.len();
        others.extend(run.memory.news());
        let after_memory = others.len();
        others.extend(self.checks.iter().flat_map(super::health::Checks::news));
        let after_health = others.len();
        others.extend(self.names.as_ref().map(Names::news));
        let after_names = others.len();
        others.extend(self.rules.as_ref().map(|rules| (rules.as_fd(), PollFlags::IN)));
        let checks = self.checks.as_ref().and_then(super::health::Checks::deadline);
        let names = self.names.as_ref().and_then(Names::deadline);
        let due = run
            .next(checks)
            .into_iter()
            .chain(names)
            .chain(self.rules_due)
            .min();
        let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
        let round = self.relay.round(Some(process.pidfd()), &others, patience)?;
        let below = |count: usize| (1_u32 << count) - 1;
        Ok(News {
            ended: round.ended,
            leave: round.ready & below(after_leave) != 0,
            memory: round.ready & below(after_memory) & !below(after_leave) != 0,
            health: round.ready & below(after_health) & !below(after_memory) != 0,
            rules: round.ready & !below(after_names) != 0,
            names: round.ready & below(after_names) & !below(after_health) != 0
                || names.is_some_and(|names| Instant::now() >= names),
        })
    }

    /// Does what clients, and the host, ask for.
    fn obey(&mut self, process: &Process, run: &mut Run, leave: bool) {
        let mut leave = leave && self.is_told_to_leave();
        for request in std::mem::take(&mut self.relay.requests) {
            let signal = match request {
                Request::Signal(signal) => {
                    run.signalled = Some(signal);
                    signal
                }
                Request::Stop(signal) => {
                    self.stopped = true;
                    run.asked_to_stop = Some(signal);
                    signal
                }
                Request::Policy(policy) => {
                    self.plan.restart = policy;
                    continue;
                }
                Request::Leave => {
                    leave = true;
                    continue;
                }
                Request::Networks(client) => {
                    let done = self.rejoin(Some(process.pid()));
                    self.relay.tell_done(client, &done);
                    sys::memory::release();
                    continue;
                }
            };
            // A process that is just ending cannot be signalled; it ends.
            process.kill(signal).unwrap_or_default();
        }
        if leave {
            self.interrupted = true;
            self.end_run(process, run, Cause::Reboot, false);
        }
        if !self.plan.recorded && self.relay.is_deserted() {
            process.kill(KILL).unwrap_or_default();
        }
    }

    fn is_told_to_leave(&self) -> bool {
        self.signals
            .as_ref()
            .is_some_and(|signals| signals.read().is_ok())
    }

    /// Does what is due.
    fn attend(&mut self, process: &Process, run: &mut Run, running: &mut Running, news: &News) {
        if news.names
            && let Some(names) = &mut self.names
        {
            names.answer(&self.locations);
        }
        if news.rules {
            self.hear_of_rules();
        }
        self.restore_rules();
        let now = Instant::now();
        if self.relay.ends.are_silent() {
            self.look_ahead();
        }
        if run.memory.look(news.memory, now) {
            run.memory.ask(self.plan.id.as_str(), running.pid);
            self.oom_killed = true;
            *running = self.write_process(running.pid);
            let usage = Cgroup::open(&self.plan.cgroup)
                .and_then(|cgroup| cgroup.usage())
                .ok();
            self.note_out_of_memory(&out_of_memory(&run.memory, usage, None));
        }
        self.attend_health(process, run, running, news.health);
        if run.deadline.is_some_and(|deadline| now >= deadline) && run.ending.is_none() {
            self.stopped = true;
            let limit = self.plan.care.timeout.unwrap_or_default().as_nanos();
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            self.end_run(process, run, Cause::Timeout { limit }, false);
        }
        self.insist(process, run, now);
        // Not at once: many a process ends again soon, and then it would only cost time.
        if !run.settled && run.begun.elapsed() >= SETTLING {
            run.settled = true;
            if self.plan.recorded {
                run.memory.watch(&self.plan.cgroup);
                if self.rules.is_none() {
                    self.watch_rules();
                }
            }
            sys::memory::release();
        }
    }

    fn attend_health(&mut self, process: &Process, run: &mut Run, running: &Running, news: bool) {
        let Some(checks) = &mut self.checks else { return };
        let paused = || running::is_paused(&self.locations, &self.plan.id);
        let Some(verdict) = checks.turn(news, running, paused) else {
            return;
        };
        let health = &checks.health;
        let has_failed = health.status == crate::containers::record::HealthStatus::Unhealthy;
        let (action, output) = (
            checks.on_failure(),
            health.log.last().map_or("", |check| check.output.as_str()),
        );
        let mut output = output.trim().to_owned();
        output.truncate(output.floor_char_boundary(LONGEST_REASON));
        self.note_health(verdict == Verdict::New);
        if has_failed && verdict == Verdict::New && action != OnUnhealthy::Nothing {
            self.again = action == OnUnhealthy::Restart;
            self.stopped |= action == OnUnhealthy::Stop;
            let at_once = action == OnUnhealthy::Kill;
            self.end_run(process, run, Cause::Unhealthy { output }, at_once);
        }
        // A check has used memory that is not needed until the next.
        sys::memory::release();
    }

    /// Begins to end the run; the first cause holds.
    fn end_run(&mut self, process: &Process, run: &mut Run, cause: Cause, at_once: bool) {
        if run.ending.is_some() {
            return;
        }
        self.thaw();
        let (signal, patience) = if at_once {
            (KILL, AFTER_KILL)
        } else {
            (self.plan.care.stop_signal, self.plan.care.stop_patience)
        };
        process.kill(signal).unwrap_or_default();
        run.ending = Some(Ending {
            cause,
            insisted: at_once,
            next: Instant::now().checked_add(patience),
        });
    }

    /// Goes on from asking to killing, and from killing one to killing all.
    fn insist(&mut self, process: &Process, run: &mut Run, now: Instant) {
        let Some(ending) = &mut run.ending else { return };
        if ending.next.is_none_or(|next| now < next) {
            return;
        }
        self.thaw();
        if ending.insisted {
            // Tried once: should that not help, nothing would.
            Cgroup::open(&self.plan.cgroup)
                .and_then(|cgroup| cgroup.kill())
                .unwrap_or_default();
            ending.next = None;
        } else {
            process.kill(KILL).unwrap_or_default();
            ending.insisted = true;
            ending.next = now.checked_add(AFTER_KILL);
        }
    }

    /// What is paused hears no signal but SIGKILL, and does not even die of that on cgroup version 1.
    fn thaw(&self) {
        if running::is_paused(&self.locations, &self.plan.id) {
            Cgroup::open(&self.plan.cgroup)
                .and_then(|cgroup| cgroup.freeze(false))
                .unwrap_or_default();
            running::unmark_paused(&self.locations, &self.plan.id).unwrap_or_default();
        }
    }

    /// Decides what brought the end about, if it was not the process itself.
    fn cause(&self, run: Run, ended: Exit, usage: Option<Counted>, running: &Running) -> Option<Cause> {
        if let Some(ending) = run.ending {
            return Some(ending.cause);
        }
        if let Some(signal) = run.asked_to_stop {
            return Some(Cause::Asked { signal });
        }
        if let Some(signal) = run.signalled
            && (ended.signal == Some(signal) || ended.code == 128 + signal)
        {
            return Some(Cause::Asked { signal });
        }
        let killed = ended.signal == Some(KILL) || ended.code == KILLED;
        let soon = run.memory.last.is_some_and(|last| last.elapsed() < CONSEQUENCE);
        (run.memory.happened() && (killed || (soon && ended.code != 0))).then(|| {
            // Without the kernel's word it was the first process if that was killed.
            let first = (ended.signal == Some(KILL))
                .then(|| self.name_of_first())
                .flatten();
            out_of_memory(&run.memory, usage, first.filter(|_| running.pid != 0))
        })
    }

    /// Returns the name that the kernel knew the first process by, if it has not given itself another.
    fn name_of_first(&self) -> Option<String> {
        let arguments = self.arguments()?;
        let program = arguments.first()?.rsplit('/').next()?;
        Some(program[..program.floor_char_boundary(15)].to_owned())
    }
}

/// What a round has brought.
struct News {
    ended: bool,
    leave: bool,
    memory: bool,
    health: bool,
    names: bool,
    rules: bool,
}

fn out_of_memory(memory: &OutOfMemory, usage: Option<Counted>, first: Option<String>) -> Cause {
    let victim = memory.victim.as_ref();
    Cause::OutOfMemory {
        process: victim.map(|victim| victim.process.clone()).or(first),
        limit: usage
            .and_then(|usage| usage.memory_limit)
            .filter(|_| victim.is_none_or(|victim| !victim.by_host)),
        peak: usage.and_then(|usage| usage.memory_peak),
    }
}
