//! Another process whose namespaces are looked into or joined, told from whoever gets its pid after it.

use crate::StartError;
use crate::error::failed;
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A process, by its pid in our pid namespace and the time at which it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its pid.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the pid it names one process until the next boot.
    pub start_time: u64,
}

impl Peer {
    /// Opens the process and makes sure that it is the one that is meant: a pid is used again.
    pub(crate) fn open(self) -> Result<OwnedFd, StartError> {
        let not_running = || StartError::setup("the container is not running");
        if self.pid <= 0 {
            return Err(not_running());
        }
        let process = sys::process::open(self.pid).map_err(|_gone| not_running())?;
        match sys::process::start_time(self.pid) {
            Ok(time) if time == self.start_time => {}
            _ => return Err(not_running()),
        }
        // The time read may be of a successor, unless the process that the descriptor names is still there.
        sys::process::send_signal(process.as_fd(), 0).map_err(|_gone| not_running())?;
        Ok(process)
    }

    /// Opens one of its namespaces.
    pub(crate) fn namespace(self, kind: LinuxNamespaceType) -> Result<OwnedFd, StartError> {
        let process = self.open()?;
        let path = format!("/proc/{}/ns/{}", self.pid, name(kind));
        let opened = rustix::fs::open(Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed(format!("open the namespace '{path}'")))?;
        // While it is there nobody else has its pid, so what was opened is its own.
        sys::process::send_signal(process.as_fd(), 0)
            .map_err(|_gone| StartError::setup("the container has ended"))?;
        Ok(opened)
    }
}

fn name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Time => "time",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Uts => "uts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_not_taken_for_the_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start_time = sys::process::start_time(pid).unwrap();
        let namespace = Peer { pid, start_time }
            .namespace(LinuxNamespaceType::Ipc)
            .unwrap();
        let (found, own) = (
            rustix::fs::fstat(&namespace).unwrap().st_ino,
            rustix::fs::stat("/proc/self/ns/ipc").unwrap().st_ino,
        );
        assert_eq!(found, own);
        let other = Peer {
            pid,
            start_time: start_time + 1,
        };
        assert!(other.open().is_err());
        assert!(Peer::default().open().is_err());
    }
}
