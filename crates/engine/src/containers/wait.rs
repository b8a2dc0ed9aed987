//! `wait`: until a container has stopped.

mod vigil;

use super::{
    Containers,
    record::{ContainerId, ExitRecord},
    session::{Ending, Mode, Session},
};
use crate::{EngineError, Locations};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use sys::SysError;
use sys::lock::Lock;
pub use vigil::{Until, Vigil};

impl Containers<'_> {
    /// Blocks until the container does not run (at once if it does not) and returns how it ended.
    pub fn wait(&self, id: &ContainerId) -> Result<ExitRecord, EngineError> {
        let locations = self.engine.locations();
        if locations.is_claimed(id)? {
            if let Some(mut session) = connect(locations, id, Mode::Wait)?
                && let Ending::Exited(exit) = session.exit_until(None).map_err(session_error(id))?
            {
                return Ok(exit);
            }
            self.wait_for_release(id)?;
        }
        match self.record(id) {
            Ok(record) => Ok(record.status.exit.unwrap_or_default()),
            // It was removed while we waited; its last run tells how it ended.
            Err(error @ EngineError::NotFound { .. }) => {
                let last = self.runs(Some(id))?.into_iter().next();
                last.and_then(|run| run.exit).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until nobody holds the container's lock, and records an end that its monitor could not record.
    pub(super) fn wait_for_release(self, id: &ContainerId) -> Result<(), EngineError> {
        match Lock::shared(&self.engine.locations().lock_file(id)) {
            // The run directory goes with the container's end.
            Err(error) if error.errno == rustix::io::Errno::NOENT => {}
            lock => drop(lock?),
        }
        self.recover()
    }
}

/// Connects to a container's monitor; `None` if there is none, or not yet, or no longer.
pub(super) fn connect(
    locations: &Locations,
    id: &ContainerId,
    mode: Mode,
) -> Result<Option<Session>, EngineError> {
    let directory = locations.run_directory(id);
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&directory, flags, rustix::fs::Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        opened => opened.map_err(SysError::on("open", &directory))?,
    };
    // By the descriptor, because a socket's path may have no more than 107 bytes (unix(7)).
    let socket = sys::mount::descriptor_path(opened.as_fd()).join("control.sock");
    let connected = UnixStream::connect(socket).and_then(|stream| Session::open(stream, mode));
    match connected {
        Ok(session) => Ok(Some(session)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(session_error(id)(error)),
    }
}

/// Makes a `map_err` closure for a conversation with a container's monitor.
pub(super) fn session_error(id: &ContainerId) -> impl Fn(io::Error) -> EngineError + '_ {
    move |error| SysError::io("talk to the monitor of", id.short(), &error).into()
}

/// Waits until the descriptor can be read; `false` if `deadline` came first.
pub(super) fn readable(descriptor: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map(|deadline| {
            Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            })
        });
        let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
