//! Health checks: one at a time, in the monitor's poll loop, without a thread and without waiting anywhere.

use crate::containers::health::{HealthPlan, Terms};
use crate::containers::launch;
use crate::containers::record::{Check, Health, HealthStatus};
use crate::containers::running::Running;
use crate::events::now;
use runtime::{ExecPlan, Process, StartError, StartFailure, Starting, Streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of a check's output that are kept.
const LONGEST_OUTPUT: usize = 4096;
/// Checks that are kept.
const KEPT: usize = 5;
/// How long a check may take to get to its command; that is not its own time.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a check that was killed with its container may take to go.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The checks of one container.
#[derive(Debug)]
pub(super) struct Checks {
    terms: Terms,
    /// The plan of the check, in a memfd and not in our heap.
    plan: File,
    cgroup: PathBuf,
    pub(super) health: Health,
    stage: Stage,
    /// When the container's process began.
    born: Instant,
    output: Output,
    started: i64,
}

/// What the present check is at.
#[derive(Debug)]
enum Stage {
    /// There is none; the next comes then.
    Waiting(Instant),
    /// It is being made, until then at most.
    Starting(Starting, Instant),
    /// It runs, until then at most.
    Running(Process, Instant),
    /// It was killed; what it counts for once it has gone.
    Dying(Process, Option<(i32, String)>),
}

/// The first bytes of what a check writes.
#[derive(Debug, Default)]
struct Output {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
    cut: bool,
}

impl Checks {
    pub(super) fn new(plan: &HealthPlan, cgroup: PathBuf) -> io::Result<Self> {
        Ok(Self {
            terms: plan.terms,
            plan: launch::write_plan(&plan.exec)?,
            cgroup,
            health: Health::default(),
            stage: Stage::Waiting(Instant::now() + plan.terms.interval),
            born: Instant::now(),
            output: Output::default(),
            started: 0,
        })
    }

    /// Begins anew with a new process; the log of the checks stays.
    pub(super) fn begin_run(&mut self) {
        self.born = Instant::now();
        self.health.status = HealthStatus::Starting;
        self.health.failing_streak = 0;
        self.stage = Stage::Waiting(self.born + self.interval());
    }

    /// What is done with an unhealthy container.
    pub(super) fn on_failure(&self) -> crate::containers::request::OnUnhealthy {
        self.terms.on_failure
    }

    /// What to poll for.
    pub(super) fn news(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stage = match &self.stage {
            Stage::Waiting(_) => None,
            Stage::Starting(starting, _) => Some(starting.news()),
            Stage::Running(process, _) | Stage::Dying(process, _) => Some(process.pidfd()),
        };
        let output = self.output.pipe.as_ref().map(AsFd::as_fd);
        stage
            .into_iter()
            .chain(output)
            .map(|descriptor| (descriptor, PollFlags::IN))
    }

    /// When something is due without news.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting(at) | Stage::Starting(_, at) | Stage::Running(_, at) => Some(*at),
            Stage::Dying(..) => None,
        }
    }

    /// Does what is due. `news`: one of the descriptors was ready. Says whether a check has ended, and if its verdict
    /// is another than before, so.
    pub(super) fn turn(
        &mut self,
        news: bool,
        process: &Running,
        paused: impl Fn() -> bool,
    ) -> Option<Verdict> {
        let now = Instant::now();
        if news {
            self.output.take();
        }
        match std::mem::replace(&mut self.stage, Stage::Waiting(now)) {
            Stage::Waiting(at) if now < at => {
                self.stage = Stage::Waiting(at);
                None
            }
            Stage::Waiting(_) if paused() => {
                self.stage = Stage::Waiting(now + self.interval());
                None
            }
            Stage::Waiting(_) => match self.begin(process) {
                Ok(starting) => {
                    self.stage = Stage::Starting(starting, now + START_PATIENCE);
                    None
                }
                Err(error) => Some(self.conclude(-1, error.message)),
            },
            Stage::Starting(starting, deadline) => self.go_on(starting, deadline, now, paused),
            Stage::Running(mut process, deadline) => {
                if is_ready(process.pidfd()) {
                    let code = process.wait().map_or(-1, |exit| exit.code);
                    self.output.take();
                    let output = self.output.finish();
                    return Some(self.conclude(code, output));
                }
                if now < deadline {
                    self.stage = Stage::Running(process, deadline);
                    return None;
                }
                // Time that it was frozen for was not its own.
                let counts = (!paused()).then(|| {
                    let limit = go_duration(self.terms.timeout);
                    match self.output.finish() {
                        output if output.is_empty() => {
                            (-1, format!("Health check exceeded timeout ({limit})"))
                        }
                        output => (-1, format!("Health check exceeded timeout ({limit}): {output}")),
                    }
                });
                self.kill(process, counts);
                None
            }
            Stage::Dying(mut process, counts) => {
                if !is_ready(process.pidfd()) {
                    self.stage = Stage::Dying(process, counts);
                    return None;
                }
                // How it died is known.
                process.wait().map(drop).unwrap_or_default();
                if let Some((code, output)) = counts {
                    return Some(self.conclude(code, output));
                }
                self.stage = Stage::Waiting(now + self.interval());
                None
            }
        }
    }

    /// Ends the present check with the container.
    pub(super) fn abandon(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Waiting(Instant::now()));
        self.output = Output::default();
        let mut process = match stage {
            Stage::Waiting(_) => return,
            Stage::Starting(starting, _) => starting.into_process(),
            Stage::Running(process, _) | Stage::Dying(process, _) => process,
        };
        // Mostly it has gone with the container's pid namespace.
        process.kill_family(&self.cgroup).unwrap_or_default();
        if waits_for(process.pidfd(), LAST_PATIENCE) {
            process.wait().map(drop).unwrap_or_default();
        }
    }

    fn begin(&mut self, running: &Running) -> Result<Starting, StartError> {
        let setup = |error: io::Error| StartError {
            failure: StartFailure::Setup,
            message: error.to_string(),
        };
        self.started = now();
        let mut plan: ExecPlan = launch::read_plan(&self.plan).map_err(setup)?;
        plan.container_pid = running.pid;
        plan.container_start_time = running.start_time;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| setup(errno.into()))?;
        super::streams::never_wait(&read).map_err(setup)?;
        let streams = Streams::Files {
            stdin: None,
            stdout: Some(write.try_clone().map_err(setup)?),
            stderr: Some(write),
        };
        self.output = Output {
            pipe: Some(read),
            ..Output::default()
        };
        runtime::begin_exec(&plan, streams)
    }

    fn go_on(
        &mut self,
        mut starting: Starting,
        deadline: Instant,
        now: Instant,
        paused: impl Fn() -> bool,
    ) -> Option<Verdict> {
        while is_ready(starting.news()) {
            match starting.advance() {
                Ok(false) => {}
                Ok(true) => {
                    self.stage = Stage::Running(starting.into_process(), now + self.terms.timeout);
                    return None;
                }
                Err(error) => {
                    self.kill(starting.into_process(), Some((-1, error.message)));
                    return None;
                }
            }
        }
        if now < deadline {
            self.stage = Stage::Starting(starting, deadline);
        } else {
            let counts =
                (!paused()).then(|| (-1, "the health check could not be started in time".to_owned()));
            self.kill(starting.into_process(), counts);
        }
        None
    }

    fn kill(&mut self, process: Process, counts: Option<(i32, String)>) {
        // One that cannot be killed stays, and no further check is begun beside it.
        process.kill_family(&self.cgroup).unwrap_or_default();
        self.output = Output::default();
        self.stage = Stage::Dying(process, counts);
    }

    /// Notes how a check went, by Docker's rules.
    fn conclude(&mut self, code: i32, output: String) -> Verdict {
        self.output = Output::default();
        let before = self.health.status;
        // A container that has never been healthy is let off while it starts.
        let in_start = before == HealthStatus::Starting && self.born.elapsed() < self.terms.start_period;
        note(&mut self.health, self.terms.retries, code == 0, in_start);
        self.health.log.push(Check {
            started: self.started,
            finished: now(),
            code,
            output,
        });
        let surplus = self.health.log.len().saturating_sub(KEPT);
        self.health.log.drain(..surplus);
        self.stage = Stage::Waiting(Instant::now() + self.interval());
        if self.health.status == before {
            Verdict::Same
        } else {
            Verdict::New
        }
    }

    /// How long until the next check.
    fn interval(&self) -> Duration {
        if self.health.status == HealthStatus::Starting && self.born.elapsed() < self.terms.start_period {
            self.terms.start_interval
        } else {
            self.terms.interval
        }
    }
}

/// A check has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The verdict is what it was.
    Same,
    /// It is another.
    New,
}

fn note(health: &mut Health, retries: u32, succeeded: bool, in_start: bool) {
    if succeeded {
        health.failing_streak = 0;
        health.status = HealthStatus::Healthy;
    } else if !in_start {
        health.failing_streak += 1;
        if health.failing_streak >= retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
}

impl Output {
    /// Takes what there is; what is too much is thrown away, so that nobody waits to write it.
    fn take(&mut self) {
        let mut buffer = [0; LONGEST_OUTPUT];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) | Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = LONGEST_OUTPUT - self.bytes.len();
                    self.cut |= count > room;
                    self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                    // One that never stops writing must not have all our time.
                    if count < buffer.len() || self.cut {
                        return;
                    }
                }
            }
        }
    }

    fn finish(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

fn is_ready(descriptor: BorrowedFd<'_>) -> bool {
    waits_for(descriptor, Duration::ZERO)
}

/// Says whether the descriptor is readable within `patience`.
fn waits_for(descriptor: BorrowedFd<'_>, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).unwrap_or_default();
    let mut set = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    matches!(
        rustix::io::retry_on_intr(|| poll(&mut set, Some(&timeout))),
        Ok(1..)
    )
}

/// Writes a duration as Go does, which is what clients of Docker's expect in this text.
fn go_duration(time: Duration) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
    let fraction = |value: f64| format!("{value}");
    if time < Duration::from_secs(1) {
        return format!("{}ms", fraction(time.as_secs_f64() * 1000.0));
    }
    let seconds_text = if time.subsec_nanos() == 0 {
        format!("{seconds}s")
    } else {
        format!(
            "{}.{}s",
            seconds,
            format!("{:09}", time.subsec_nanos()).trim_end_matches('0')
        )
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds_text,
        (0, minutes) => format!("{minutes}m{seconds_text}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds_text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_docker_s_rules() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let mut health = Health::default();
        for (succeeded, in_start, status, streak) in [
            (false, true, Starting, 0),
            (false, false, Starting, 1),
            (true, false, Healthy, 0),
            (false, false, Healthy, 1),
            (false, false, Unhealthy, 2),
            (false, false, Unhealthy, 3),
            (true, false, Healthy, 0),
        ] {
            note(&mut health, 2, succeeded, in_start);
            assert_eq!((health.status, health.failing_streak), (status, streak));
        }
    }

    #[test]
    fn output_is_cut_and_the_rest_thrown_away() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        super::super::streams::never_wait(&read).unwrap();
        let mut output = Output {
            pipe: Some(read),
            ..Output::default()
        };
        rustix::io::write(&write, &[b'x'; LONGEST_OUTPUT]).unwrap();
        output.take();
        assert!(!output.cut);
        rustix::io::write(&write, &[b'y'; 10]).unwrap();
        drop(write);
        output.take();
        let text = output.finish();
        assert_eq!(text.len(), LONGEST_OUTPUT + 3);
        assert!(text.ends_with("x..."));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (time, expected) in [
            (Duration::from_millis(1), "1ms"),
            (Duration::from_millis(200), "200ms"),
            (Duration::from_secs(30), "30s"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_hours(1), "1h0m0s"),
        ] {
            assert_eq!(go_duration(time), expected);
        }
    }
}
