//! The built-in init: process 1 that forwards signals, reaps whatever is orphaned, and ends as its command ends.
//!
//! It is this program itself, without exec: a file in the container would have to be put there, and could be
//! replaced. The container cannot look into it (it stays undumpable), and it keeps nothing but the right to signal.

use crate::StartError;
use crate::error::failed;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};
use sys::signal::{Blocked, SignalFd};

/// Signals that are not passed on: they concern init's own doing.
const OWN: [i32; 6] = [4, 5, 7, 8, 11, 17];

/// Prepares for being init, before the command is cloned: no signal may be lost on the way. The command unblocks them.
pub(crate) fn become_init() -> Result<Blocked, StartError> {
    let blocked = Blocked::all()?;
    rustix::thread::set_name(c"init").map_err(failed("set the name of init"))?;
    // Where it is not process 1, orphans come to it all the same.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(failed("become a reaper"))?;
    Ok(blocked)
}

/// Runs until the command ends, and ends likewise: with its exit code, or 128 + the number of the signal that killed
/// it. Returns only errors.
pub(crate) fn serve(blocked: Blocked, command: i32) -> Result<Infallible, StartError> {
    let signals = SignalFd::all()?;
    let process = sys::process::open(command)?;
    // Every other descriptor is the engine's, locks and pipes among them, or the command's: none may be held open
    // from here.
    sys::process::close_all_but(&[signals.as_fd(), process.as_fd()]);
    // An error has nobody left to be told to.
    let code = forward(&signals, process.as_fd(), command).unwrap_or(125);
    // Still blocked: no signal may get in between.
    std::mem::forget(blocked);
    sys::process::exit_now(code)
}

fn forward(signals: &SignalFd, process: BorrowedFd<'_>, command: i32) -> Result<i32, StartError> {
    let kill = CapabilitySet::KILL;
    sys::process::limit_bounding_set(kill.bits()).map_err(failed("limit the bounding set"))?;
    let sets = CapabilitySets {
        effective: kill,
        permitted: kill,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(failed("set capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("set no_new_privs"))?;
    loop {
        if let Some(code) = reap(command)? {
            return Ok(code);
        }
        let signal = signals.read()?;
        if OWN.contains(&signal) {
            continue;
        }
        match sys::process::send_signal(process, signal) {
            // It has just ended: the next round reaps it.
            Err(error) if error.errno != Errno::SRCH => return Err(error.into()),
            _ => {}
        }
    }
}

/// Reaps all that have ended; returns the command's code if it is among them.
fn reap(command: i32) -> Result<Option<i32>, StartError> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == command => code = exit_code(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(code),
            Err(errno) => return Err(failed("wait for processes")(errno)),
        }
    }
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
