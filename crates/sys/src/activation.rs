//! Sockets that a service manager opened for us (sd_listen_fds(3)), and word to it that we are ready (sd_notify(3)).

use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// They are handed over once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors that were handed to this very process; none if there are none. From here on they are not handed
/// on to programs that we execute. A second call finds none.
pub fn take_sockets() -> io::Result<Vec<OwnedFd>> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let for_us = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0);
    if count == 0 || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let count = RawFd::try_from(count).map_err(|_too_many| io::Error::from(Errno::RANGE))?;
    let end = FIRST.checked_add(count).ok_or(io::Error::from(Errno::RANGE))?;
    (FIRST..end).map(adopt).collect()
}

fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD reads no memory; a number that is no open descriptor is answered with EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is an open descriptor, as F_SETFD has just shown. LISTEN_PID says that it was opened for this
    // process before it began, so nothing in it owns it, and TAKEN sees to it that nothing is handed out twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Tells the service manager a state such as `READY=1`; nothing if none asked to be told.
pub fn notify(state: &str) -> io::Result<()> {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    tell(&address, state)
}

fn tell(address: &OsStr, state: &str) -> io::Result<()> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), "READY=1").unwrap();
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");
        let name = format!("coracle-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        tell(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(manager.recv(&mut text).unwrap(), 10);
        assert!(tell(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
