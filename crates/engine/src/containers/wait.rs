//! `wait`: until a container has stopped.
use super::{
    Containers,
    record::{ContainerId, ExitRecord},
    rows::Record,
    session::{Ending, Mode, Session},
};
use crate::{EngineError, Locations};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use sys::SysError;
use sys::lock::Lock;

/// What is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// It does not run (at once if it does not).
    #[default]
    NotRunning,
    /// It ends the next time, also if it does not run now.
    NextExit,
    /// It has been removed.
    Removed,
}

/// How often it is looked for what nobody tells.
const GLANCE: Duration = Duration::from_millis(20);

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

    /// Blocks until what `until` says has come about, and returns how the container ended last.
    pub fn wait_until(&self, id: &ContainerId, until: Until) -> Result<ExitRecord, EngineError> {
        match until {
            Until::NotRunning => self.wait(id),
            Until::NextExit => {
                let last = |record: &Record| record.status.exit.as_ref().map(|exit| exit.finished);
                let before = last(&self.record(id)?);
                loop {
                    if self.engine.locations().is_claimed(id)? {
                        return self.wait(id);
                    }
                    // Nobody tells of a start to come: nobody is there who knows.
                    match self.record(id) {
                        Ok(record) if last(&record) == before => std::thread::sleep(GLANCE),
                        _ended_or_gone => return self.wait(id),
                    }
                }
            }
            Until::Removed => {
                let mut exit = self.wait(id)?;
                loop {
                    match self.record(id) {
                        Ok(record) => exit = record.status.exit.unwrap_or(exit),
                        Err(EngineError::NotFound { .. }) => return Ok(exit),
                        Err(error) => return Err(error),
                    }
                    std::thread::sleep(GLANCE);
                }
            }
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
