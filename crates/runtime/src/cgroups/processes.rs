//! The processes of a cgroup: stopping them all, killing them all, and waiting until they are gone.

use super::directory::{Directory, read_again};
use super::hierarchy::Version;
use super::usage::value_of;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::SysError;

/// How long the kernel may take to stop everything. A process in an uninterruptible sleep (a dead network file
/// system, say) may never stop; then everything is let go again.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);

/// How often a list of processes that keeps growing is read again before we give up.
const KILL_ROUNDS: usize = 100;

/// Returns the processes in a cgroup and below it, as our pid namespace numbers them. 0 stands for a process that has
/// no number there and is left out.
pub(super) fn list(directory: &Directory) -> Result<BTreeSet<i32>, SysError> {
    let mut pids = BTreeSet::new();
    let text = match directory.read("cgroup.procs") {
        Ok(text) => text,
        // A cgroup that was removed meanwhile has none. A threaded one of version 2 shows its processes above.
        Err(error) if matches!(error.errno, Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP) => String::new(),
        Err(error) => return Err(error),
    };
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|pid| *pid > 0),
    );
    for child in directory.children()? {
        pids.append(&mut list(&child)?);
    }
    Ok(pids)
}

/// Opens pidfds for what is in a cgroup. The list is read again afterwards: a number that was recycled for a stranger
/// between reading and opening is not in it then.
fn open_all(directory: &Directory, known: &BTreeSet<i32>) -> Result<Vec<(i32, OwnedFd)>, SysError> {
    let mut open = Vec::new();
    for raw in list(directory)?.difference(known) {
        let Some(pid) = Pid::from_raw(*raw) else { continue };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => open.push((*raw, fd)),
            // Gone; or not the leader of its process, which has one and is in the list too.
            Err(Errno::SRCH | Errno::INVAL) => {}
            Err(errno) => return Err(SysError::on("open a process of cgroup", directory.path())(errno)),
        }
    }
    if !open.is_empty() {
        let still = list(directory)?;
        open.retain(|(pid, _)| still.contains(pid));
    }
    Ok(open)
}

/// Sends SIGKILL to all processes in and below a cgroup, including those that are forked meanwhile.
pub(super) fn kill_each(directory: &Directory) -> Result<(), SysError> {
    let mut killed = BTreeSet::new();
    for _round in 0..KILL_ROUNDS {
        let fresh = open_all(directory, &killed)?;
        if fresh.is_empty() {
            return Ok(());
        }
        for (pid, fd) in fresh {
            match pidfd_send_signal(&fd, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => killed.insert(pid),
                Err(errno) => {
                    return Err(SysError::on("kill the processes of cgroup", directory.path())(
                        errno,
                    ));
                }
            };
        }
    }
    Err(SysError::on("kill the processes of cgroup", directory.path())(
        Errno::BUSY,
    ))
}

/// Stops or resumes everything in a cgroup, and waits until that is so.
pub(super) fn freeze(version: Version, directory: &Directory, frozen: bool) -> Result<(), SysError> {
    let set = |frozen| match version {
        Version::One => directory.write("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        Version::Two => directory.write("cgroup.freeze", if frozen { "1" } else { "0" }),
    };
    let deadline = Instant::now() + FREEZE_PATIENCE;
    let done = match version {
        Version::One => freeze_1(directory, frozen, deadline, set),
        Version::Two => {
            set(frozen)?;
            wait_for_event(directory, "frozen", u64::from(frozen), deadline)
        }
    };
    match done {
        Ok(true) => Ok(()),
        Ok(false) => {
            set(false)?;
            Err(SysError::on(
                "freeze in time all processes of cgroup",
                directory.path(),
            )(Errno::TIMEDOUT))
        }
        Err(error) => {
            // What we report is why it failed; that it could then not be thawed either would hide it.
            let _thawed: Option<()> = set(false).ok();
            Err(error)
        }
    }
}

/// Version 1 has no event for the end of freezing, and a process forked at the wrong moment is only caught when the
/// state is written again. So write and read, with growing pauses; usually the first reading already says so.
fn freeze_1(
    directory: &Directory,
    frozen: bool,
    deadline: Instant,
    set: impl Fn(bool) -> Result<(), SysError>,
) -> Result<bool, SysError> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let mut pause = Duration::from_micros(50);
    loop {
        set(frozen)?;
        if directory.read("freezer.state")?.trim() == wanted {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Waits until `cgroup.events` of version 2 shows `wanted` for `key`; the kernel says when it has changed. False if
/// the deadline comes first.
fn wait_for_event(
    directory: &Directory,
    key: &str,
    wanted: u64,
    deadline: Instant,
) -> Result<bool, SysError> {
    let failed = |errno| SysError::on("watch the events of cgroup", directory.path())(errno);
    let events = directory.file("cgroup.events", OFlags::RDONLY)?;
    loop {
        let text = read_again(&events).map_err(failed)?;
        if value_of(&text, key) == Some(wanted) {
            return Ok(true);
        }
        if !wait_readable(&events, PollFlags::PRI, deadline).map_err(failed)? {
            return Ok(false);
        }
    }
}

/// Polls one descriptor; false if the deadline comes first.
fn wait_readable(fd: &OwnedFd, flags: PollFlags, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_overflow| Errno::INVAL)?;
        match poll(&mut [PollFd::new(fd, flags)], Some(&timeout)) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes a cgroup and everything below it. While processes are still in it, waits for their end rather than for a
/// while: on version 2 by its events, on version 1 by the processes themselves.
pub(super) fn remove(version: Version, directory: &Directory, deadline: Instant) -> Result<(), SysError> {
    let mut pause = Duration::from_micros(50);
    loop {
        let errno = match directory.remove() {
            Ok(()) => return Ok(()),
            Err(errno) => errno,
        };
        if errno != Errno::BUSY {
            return Err(SysError::on("remove cgroup", directory.path())(errno));
        }
        for child in directory.children()? {
            remove(version, &child, deadline)?;
        }
        match directory.remove() {
            Ok(()) => return Ok(()),
            Err(errno) if errno != Errno::BUSY || Instant::now() >= deadline => {
                return Err(SysError::on("remove cgroup", directory.path())(errno));
            }
            Err(_busy) => {}
        }
        match version {
            Version::Two => wait_for_event(directory, "populated", 0, deadline).map(drop)?,
            Version::One => wait_for_one(directory, deadline)?,
        }
        // Even then the last process may just be being taken apart, which takes some microseconds more.
        std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Waits for the end of one process of the cgroup, if there is one to be seen.
fn wait_for_one(directory: &Directory, deadline: Instant) -> Result<(), SysError> {
    let Some((_, fd)) = open_all(directory, &BTreeSet::new())?.into_iter().next() else {
        return Ok(());
    };
    wait_readable(&fd, PollFlags::IN, deadline)
        .map(drop)
        .map_err(|errno| SysError::on("wait for the processes of cgroup", directory.path())(errno))
}
