//! Control groups: version 1, version 2, and the mixture of both, found out by looking at what is mounted.

use oci_spec::runtime::LinuxResources;
use std::path::Path;

/// A cgroup of ours in every hierarchy that has one.
#[derive(Debug)]
pub struct Cgroup {
    _private: (),
}

/// What a cgroup's processes have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Bytes in use now.
    pub memory: u64,
    /// The most bytes ever in use, where the kernel tells.
    pub memory_peak: Option<u64>,
    /// Nanoseconds of processor time.
    pub cpu: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Times that the kernel killed a process for lack of memory.
    pub oom_kills: u64,
}

impl Cgroup {
    /// Makes the cgroup `path` (relative to every hierarchy's mount) with `resources` as limits. Limits for which the
    /// kernel has no controller come back as warnings; a limit that the kernel refuses is an error and leaves
    /// nothing.
    pub fn create(
        path: &Path,
        resources: Option<&LinuxResources>,
    ) -> Result<(Self, Vec<String>), sys::SysError> {
        todo!("{path:?} {resources:?}")
    }

    /// Opens a cgroup that is there.
    pub fn open(path: &Path) -> Result<Self, sys::SysError> {
        todo!("{path:?}")
    }

    /// Returns the descriptor for `CLONE_INTO_CGROUP` where version 2 rules, so that nobody is ever moved.
    pub fn clone_into(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        todo!()
    }

    /// Returns open `tasks` files of version 1 hierarchies: the child writes `0` into each before it drops its
    /// rights (an RCU grace period cheaper than writing its pid into `cgroup.procs`).
    pub fn tasks_files(&self) -> &[std::os::fd::OwnedFd] {
        todo!()
    }

    /// Changes limits of a living cgroup.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>, sys::SysError> {
        todo!("{resources:?}")
    }

    /// Reads what its processes have used.
    pub fn usage(&self) -> Result<Usage, sys::SysError> {
        todo!()
    }

    /// Freezes or thaws every process in it, and returns when that is done.
    pub fn freeze(&self, frozen: bool) -> Result<(), sys::SysError> {
        todo!("{frozen}")
    }

    /// Kills every process in it.
    pub fn kill(&self) -> Result<(), sys::SysError> {
        todo!()
    }

    /// Removes it, empty, from every hierarchy; also below it. Waits at most `patience` for processes to go.
    pub fn remove(&self, patience: std::time::Duration) -> Result<(), sys::SysError> {
        todo!("{patience:?}")
    }
}
