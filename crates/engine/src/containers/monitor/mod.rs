//! The monitor: one per running container, the parent of its first process.
//!
//! `start` hands it a plan, its lock and its sockets; it makes the process, then only watches: output to the log and
//! to attached clients, signals and sizes back, health checks, time limits, the exit record and why, the restart
//! policy. It has one thread, waits in poll(2), and opens the database only when it has something to record.

mod cable;
mod client;
mod container;
mod exec;
mod health;
mod kernel_log;
mod log;
mod names;
mod notes;
mod oom;
mod plugs;
mod relay;
mod streams;
mod watch;

use super::launch;
use runtime::cgroups::systemd::Scope;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

pub(super) use container::{Care, MonitorPlan, NetworkPlan, code_of};
pub(super) use exec::ExecMonitorPlan;

/// The hidden first argument that makes this program a monitor. `main` looks for it before anything else.
pub const ARGUMENT: &str = "coracle-monitor";

/// Role of a monitor that runs a container, or a build step.
pub(super) const CONTAINER: &str = "container";
/// Role of a monitor that runs a further process in a container.
pub(super) const EXEC: &str = "exec";

/// The kernel's OOM killer looks at us after everything else, where we may say so.
const OOM_SCORE: &[u8] = b"-500";

/// Runs a monitor to its end. Called by `main` in a process that has no other thread and has parsed nothing.
pub fn main() -> ExitCode {
    // Whatever else the caller had open is not ours to keep: a lock or a pipe would be held for the container's life.
    sys::process::close_all_but(&[
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]);
    // A container's limits are no server's. Only lowered, it cannot fail.
    sys::descriptors::restore_limit().unwrap_or_default();
    let mut arguments = std::env::args().skip(2);
    let role = arguments.next().unwrap_or_default();
    // systemd works on it while our plan is made.
    let scope = match (arguments.next(), arguments.next()) {
        (Some(unit), Some(slice)) => Some(Scope::named(unit, slice).request()),
        _ => None,
    };
    let result = settle_down().and_then(|(client, inherited)| {
        // Held to the end: see `launch::Launched`.
        let _program = inherited.program;
        match role.as_str() {
            CONTAINER => container::run(client, inherited.plan, inherited.others, scope),
            EXEC => exec::run(client, inherited.plan, inherited.others),
            _ => Err(io::Error::other("a monitor has no such role")),
        }
    });
    // Nobody reads a monitor's standard error: what matters went to the client or stands in the run directory.
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What the caller hands over.
struct Inherited {
    plan: File,
    program: OwnedFd,
    others: Vec<OwnedFd>,
}

/// Leaves the caller's session and directory, and takes what the caller handed over.
fn settle_down() -> io::Result<(UnixStream, Inherited)> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::thread::set_name(c"coracle-monitor")?;
    let client = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    // Without CAP_SYS_RESOURCE it may not be lowered; then we are killed as readily as anybody.
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE).unwrap_or_default();
    let mut descriptors = launch::receive_descriptors(&client)?.into_iter();
    let missing = || io::Error::other("a monitor got no plan");
    let inherited = Inherited {
        plan: descriptors.next().map(File::from).ok_or_else(missing)?,
        program: descriptors.next().ok_or_else(missing)?,
        others: descriptors.collect(),
    };
    client.set_nonblocking(true)?;
    sys::failpoint::pass("monitor.settled");
    Ok((client, inherited))
}
