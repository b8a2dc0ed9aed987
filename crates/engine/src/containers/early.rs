//! Clients that come before the container runs: `docker run` attaches first and starts then.
//!
//! Nobody is there whom such a client could connect to. So it listens itself, on a socket in `<run root>/<id>.attaching/`,
//! and the container's monitor connects to all sockets there before it lets the process execute: nothing that the process
//! writes is missed. The socket's name says what its owner wants:
//!
//! ```text
//! a-<random>   the streams          e-<random>   to be told of the end
//! .a-<random>  not listening yet
//! ```
//!
//! A socket that nobody has open any more refuses, and is removed by whoever sees that: a monitor, or recovery. A start
//! without such clients pays one open(2) that fails.

use super::places::{hex, random};
use super::record::ContainerId;
use super::session::{Mode, Session};
use crate::{EngineError, Locations};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use sys::{SysError, failpoint};

/// What stands behind the id in the directory's name: so it is nobody's run directory.
const SUFFIX: &str = ".attaching";

/// One that waits for a container's monitor. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Early {
    listener: UnixListener,
    directory: PathBuf,
    name: String,
}

impl Early {
    /// Begins to listen. From when this returns, every start of the container comes to us.
    pub(super) fn listen(locations: &Locations, id: &ContainerId, mode: Mode) -> Result<Self, EngineError> {
        let directory = directory_of(locations, id);
        let letter = if mode == Mode::Attach { 'a' } else { 'e' };
        let name = format!("{letter}-{}", hex(&random::<8>()?));
        loop {
            super::super::make_private_directory(&directory)?;
            failpoint::reach("early.directory")?;
            match listen(&directory, &name) {
                // Somebody who was the last to leave took the directory away between our two steps.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                listener => {
                    let listener = listener.map_err(|error| SysError::io("listen in", &directory, &error))?;
                    return Ok(Self {
                        listener,
                        directory,
                        name,
                    });
                }
            }
        }
    }

    /// Returns the session with the monitor, if it has come.
    pub(super) fn take(&self) -> io::Result<Option<Session>> {
        match self.listener.accept() {
            Ok((stream, _)) => Ok(Some(Session::new(stream))),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Early {
    /// The descriptor to poll for readability before [`Early::take`].
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        // The monitor may have removed it, and others may have theirs in the directory.
        std::fs::remove_file(self.directory.join(&self.name)).unwrap_or_default();
        std::fs::remove_dir(&self.directory).unwrap_or_default();
    }
}

fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let opened = open(directory)?;
    let place = sys::mount::descriptor_path(opened.as_fd());
    let aside = place.join(format!(".{name}"));
    // A monitor that comes between bind(2) and listen(2) would be refused, and take us for dead.
    let listener = UnixListener::bind(&aside)?;
    let made = std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| std::fs::rename(&aside, place.join(name)));
    if made.is_err() {
        std::fs::remove_file(&aside).unwrap_or_default();
    }
    made.map(|()| listener)
}

/// Opens a directory for paths below it, because a socket's path may have no more than 107 bytes (unix(7)).
pub(super) fn open(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, FileMode::empty())
}

/// `<run root>/<id>.attaching`.
pub(super) fn directory_of(locations: &Locations, id: &ContainerId) -> PathBuf {
    locations.run_root.join(format!("{id}{SUFFIX}"))
}

/// Whether this is the name of such a directory.
pub(super) fn is_ours(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|id| ContainerId::parse(id).is_some())
}

/// Connects to all that wait, and takes their sockets away. What cannot be connected to has nobody behind it.
pub(super) fn meet(directory: &Path) -> Vec<(Mode, UnixStream)> {
    let Ok(opened) = open(directory) else {
        return Vec::new();
    };
    let place = sys::mount::descriptor_path(opened.as_fd());
    let mut met = Vec::new();
    for name in names(&place) {
        let mode = match name.as_bytes().first() {
            Some(b'a') => Mode::Attach,
            Some(b'e') => Mode::NextExit,
            _ => continue,
        };
        let path = place.join(&name);
        met.extend(UnixStream::connect(&path).map(|stream| (mode, stream)));
        std::fs::remove_file(&path).unwrap_or_default();
    }
    std::fs::remove_dir(directory).unwrap_or_default();
    met
}

/// Sends all away that wait: there will be no start, or there has been none.
pub(super) fn dismiss(directory: &Path) {
    drop(meet(directory));
}

/// Takes away what the dead have left.
pub(super) fn sweep(directory: &Path) {
    let Ok(opened) = open(directory) else {
        return;
    };
    let place = sys::mount::descriptor_path(opened.as_fd());
    for name in names(&place) {
        let path = place.join(name);
        if !is_open(&path) {
            std::fs::remove_file(path).unwrap_or_default();
        }
    }
    std::fs::remove_dir(directory).unwrap_or_default();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether somebody has a stream socket open at `path`, without connecting to it: the kernel looks for the socket before
/// it compares types, so that a datagram socket is told EPROTOTYPE by a living one and ECONNREFUSED by a dead one.
fn is_open(path: &Path) -> bool {
    let probe = || {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    !matches!(probe(), Err(Errno::CONNREFUSED | Errno::NOENT))
}

/// Likewise of a socket in a directory, however long its path.
pub(super) fn is_open_in(directory: &Path, name: &str) -> bool {
    open(directory).is_ok_and(|opened| is_open(&sys::mount::descriptor_path(opened.as_fd()).join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(run_root: &Path) -> Locations {
        Locations {
            root: run_root.join("root"),
            run_root: run_root.to_owned(),
            config: None,
        }
    }

    #[test]
    fn all_who_wait_are_met_and_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let locations = locations(directory.path());
        let id = ContainerId::random().unwrap();
        let place = directory_of(&locations, &id);
        assert!(meet(&place).is_empty());
        let first = Early::listen(&locations, &id, Mode::Attach).unwrap();
        let second = Early::listen(&locations, &id, Mode::NextExit).unwrap();
        let dead = Early::listen(&locations, &id, Mode::Attach).unwrap();
        let left = place.join(&dead.name);
        // Its process has been killed: the file stays.
        std::fs::rename(&left, place.join("a-aside")).unwrap();
        drop(dead);
        std::fs::rename(place.join("a-aside"), &left).unwrap();
        assert!(first.take().unwrap().is_none());
        sweep(&place);
        assert!(!left.exists());
        assert_eq!(names(&place).len(), 2);
        let mut modes: Vec<Mode> = meet(&place).into_iter().map(|(mode, _)| mode).collect();
        modes.sort_by_key(|mode| *mode as u8);
        assert_eq!(modes, [Mode::Attach, Mode::NextExit]);
        assert!(first.take().unwrap().is_some() && second.take().unwrap().is_some());
        assert!(!place.exists());
    }

    #[test]
    fn a_run_directory_is_told_from_ours() {
        let id = ContainerId::random().unwrap();
        assert!(is_ours(&format!("{id}.attaching")));
        assert!(!is_ours(id.as_str()) && !is_ours("x.attaching"));
    }
}
