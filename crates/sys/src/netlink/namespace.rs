//! Work inside another network namespace.

use crate::SysError;
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Runs `work` with the calling thread in the network namespace `netns`, and brings the thread back. A socket opened
/// in there stays there, and files under `/proc/sys/net` opened in there are that namespace's.
///
/// The thread itself goes, not a helper: a joined thread is still leaving the process for a moment, and in that
/// moment unshare(2) and setns(2) of other namespaces can fail because the process has two threads.
///
/// If the thread cannot be brought back the process ends (abort): all it would do from there on would be done to the
/// wrong namespace. The kernel has no reason to refuse a process that was allowed to leave.
pub fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T, SysError> {
    const OWN: &str = "/proc/thread-self/ns/net";
    let home =
        open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(SysError::on("open", OWN))?;
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(SysError::of("enter network namespace"))?;
    let _back = Back { home };
    Ok(work())
}

/// Goes home when dropped, so that a panic in the work does not leave the thread abroad.
struct Back {
    home: OwnedFd,
}

impl Drop for Back {
    fn drop(&mut self) {
        if move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    fn current() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
    }

    #[test]
    fn the_thread_is_there_during_the_work_and_back_after_it() {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let netns = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        let home = current();
        assert_ne!(home, netns.metadata().unwrap().ino());
        assert_eq!(
            inside(netns.as_fd(), current).unwrap(),
            netns.metadata().unwrap().ino()
        );
        assert_eq!(current(), home);
        let panic = std::panic::catch_unwind(|| inside(netns.as_fd(), || panic!("in the work")));
        assert!(panic.is_err());
        assert_eq!(current(), home);
        let file = File::open("/dev/null").unwrap();
        assert!(inside(file.as_fd(), || ()).is_err());
        assert_eq!(current(), home);
    }
}
