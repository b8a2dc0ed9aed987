//! How much a directory may hold: project quotas, which ext4 and XFS know.
//!
//! Every file has a project number; what is made in a directory that hands its own on has the directory's. The
//! filesystem counts by number, and refuses (`EDQUOT`) what would exceed a number's limit.

use crate::SysError;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// `struct fsxattr` of ioctl_xfs_fsgetxattr(2).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    reserved: [u8; 8],
}

/// `struct if_dqblk` of quotactl(2).
#[repr(C)]
#[derive(Default)]
struct Limits {
    hard_blocks: u64,
    soft_blocks: u64,
    used_bytes: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    used_inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

const GET_ATTRIBUTES: u64 = 0x801c_581f;
const SET_ATTRIBUTES: u64 = 0x401c_5820;
/// What is made in the directory has its project number.
const HANDED_ON: u32 = 0x200;

const PROJECT_QUOTA: u32 = 2;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
const GET_STATE: u32 = 0x5808;
/// Of `struct if_dqblk`: the limits of blocks are given.
const BLOCK_LIMITS: u32 = 1;
/// Of the state: the limits of projects count.
const ENFORCED: u16 = 1 << 5;
/// In what the limits are counted.
const BLOCK: u64 = 1024;

/// A filesystem, by a directory of it.
#[derive(Debug)]
pub struct Filesystem {
    directory: OwnedFd,
}

impl Filesystem {
    /// Opens the one that has this directory.
    pub fn of(directory: &Path) -> Result<Self, SysError> {
        Ok(Self {
            directory: open_directory(directory)?,
        })
    }

    /// Says whether it refuses what exceeds a project's limit. One that does not count by projects, or cannot be
    /// asked, does not; nor does a kernel before 5.14.
    pub fn limits_projects(&self) -> bool {
        // `struct fs_quota_statv`, larger than it is: its version, an empty byte, the flags, and what we need not know.
        let mut state = [0_u64; 32];
        state[0] = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
        let asked = quota(
            self.directory.as_fd(),
            GET_STATE,
            0,
            std::ptr::from_mut(&mut state).cast(),
        );
        let [_, _, low, high, ..] = state[0].to_ne_bytes();
        asked.is_ok() && u16::from_ne_bytes([low, high]) & ENFORCED != 0
    }

    /// Sets how many bytes a project may take; none is no limit.
    pub fn limit(&self, project: u32, bytes: Option<u64>) -> Result<(), SysError> {
        let blocks = bytes.map_or(0, |bytes| bytes.div_ceil(BLOCK).max(1));
        let mut limits = Limits {
            hard_blocks: blocks,
            soft_blocks: blocks,
            valid: BLOCK_LIMITS,
            ..Limits::default()
        };
        let limits = std::ptr::from_mut(&mut limits).cast();
        quota(self.directory.as_fd(), SET_QUOTA, project, limits)
            .map_err(SysError::of("set the limit of a project"))
    }

    /// Says whether a project has neither files nor a limit.
    pub fn is_free(&self, project: u32) -> Result<bool, SysError> {
        let mut limits = Limits::default();
        match quota(
            self.directory.as_fd(),
            GET_QUOTA,
            project,
            std::ptr::from_mut(&mut limits).cast(),
        ) {
            // XFS answers so for what it has never heard of.
            Err(Errno::NOENT) => Ok(true),
            Err(errno) => Err(SysError::of("look up a project's quota")(errno)),
            Ok(()) => Ok(limits.hard_blocks == 0 && limits.used_bytes == 0 && limits.used_inodes == 0),
        }
    }
}

/// Returns the project of a directory; zero is everybody's.
pub fn project_of(directory: &Path) -> Result<u32, SysError> {
    let opened = open_directory(directory)?;
    let attributes = attributes(opened.as_fd()).map_err(SysError::on("read the project of", directory))?;
    Ok(attributes.project)
}

/// Gives a directory, and what will be made in it, to a project.
pub fn set_project(directory: &Path, project: u32) -> Result<(), SysError> {
    let opened = open_directory(directory)?;
    let failed = SysError::on("set the project of", directory);
    let set = attributes(opened.as_fd()).and_then(|mut attributes| {
        attributes.project = project;
        attributes.flags |= HANDED_ON;
        call(opened.as_fd(), SET_ATTRIBUTES, &mut attributes)
    });
    set.map_err(failed)
}

fn open_directory(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(SysError::on("open", path))
}

fn attributes(directory: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let mut attributes = Attributes::default();
    call(directory, GET_ATTRIBUTES, &mut attributes)?;
    Ok(attributes)
}

fn call(directory: BorrowedFd<'_>, request: u64, attributes: &mut Attributes) -> Result<(), Errno> {
    // SAFETY: both requests take a pointer to one `struct fsxattr`, whose layout `Attributes` has, and the kernel
    // keeps none of it.
    let answer = unsafe {
        libc::ioctl(
            directory.as_raw_fd(),
            request as _,
            std::ptr::from_mut(attributes),
        )
    };
    errno_of(answer.into())
}

/// quotactl_fd(2) on the filesystem of a directory. `argument` points to what `command` reads or writes.
fn quota(
    directory: BorrowedFd<'_>,
    command: u32,
    project: u32,
    argument: *mut libc::c_void,
) -> Result<(), Errno> {
    let command = (command << 8) | PROJECT_QUOTA;
    // SAFETY: the callers are above: each passes a live, writable structure at least as large as its command's, all of
    // whose bytes may have any value, and the kernel keeps none of it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            directory.as_raw_fd(),
            command,
            project,
            argument,
        )
    };
    errno_of(answer)
}

fn errno_of(answer: libc::c_long) -> Result<(), Errno> {
    if answer == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_takes_is_of_the_right_size() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(size_of::<Limits>(), 72);
    }

    #[test]
    fn a_filesystem_without_projects_says_so() {
        let proc = Filesystem::of(Path::new("/proc")).unwrap();
        assert!(!proc.limits_projects());
        assert!(proc.limit(1 << 20, Some(1 << 20)).is_err());
        let error = set_project(Path::new("/proc"), 1).unwrap_err();
        assert!(
            error.to_string().contains("cannot set the project of '/proc'"),
            "{error}"
        );
    }
}
