//! Paths inside a tree that a container or an image controls.
//!
//! Every walk is `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` below a directory descriptor, so that links,
//! `..` and swaps by another process cannot lead out of it (CVE-2018-15664, CVE-2021-30465, CVE-2024-45310).

use crate::SysError;
use rustix::fs::{Mode, OFlags, Stat};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A directory tree whose content is not trusted, held by descriptor. Absolute paths and links resolve inside it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// Wraps a descriptor (`O_PATH` will do) of the tree's top directory, which may be a detached mount.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Opens the tree at a trusted host path; the last component must not be a link.
    pub fn open(path: &Path) -> Result<Self, SysError> {
        todo!("{path:?}")
    }

    /// Opens `path` inside the tree, following links inside it.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, SysError> {
        todo!("{path:?} {flags:?} {mode:?}")
    }

    /// Reads a regular file of at most `limit` bytes, following links inside the tree. A FIFO, device or larger
    /// file is an error, never a hang (containerd CVE-2026-47262).
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, SysError> {
        todo!("{path:?} {limit}")
    }

    /// Returns what `path` is; with `follow`, of the end of the links.
    pub fn stat(&self, path: &Path, follow: bool) -> Result<Stat, SysError> {
        todo!("{path:?} {follow}")
    }

    /// Returns the descriptor (`O_PATH`) of the directory that holds `path`, links followed, and its last
    /// component, which may not exist. A path that ends in `/`, `.` or `..` is an error.
    pub fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), SysError> {
        todo!("{path:?}")
    }

    /// Makes `path` and what is missing above it, each with `mode` and `owner` (uid, gid); what is there stays as
    /// it is. Links inside the tree are followed. Returns an `O_PATH` descriptor of the directory.
    pub fn create_dir_all(&self, path: &Path, mode: Mode, owner: (u32, u32)) -> Result<OwnedFd, SysError> {
        todo!("{path:?} {mode:?} {owner:?}")
    }

    /// Returns where `path` leads when its links are followed, as an absolute path inside the tree. Missing last
    /// components are kept as they are.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, SysError> {
        todo!("{path:?}")
    }

    /// Removes `path` and what is below it, never following a link and never crossing into another mount. That it
    /// is not there is no error.
    pub fn remove_all(&self, path: &Path) -> Result<(), SysError> {
        todo!("{path:?}")
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
