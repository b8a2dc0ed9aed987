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
