//! Room on the disk that nobody else gets, so that what fills it can be removed.
//!
//! A transaction that deletes rows writes them to the log first, and on a disk without room it cannot. The room is a file,
//! `<root>/reserve`; whoever is about to remove something, and finds the disk full, removes that file first. It is made
//! again by the next command that finds enough room.

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open, statvfs, unlink};
use std::path::Path;

/// Its size in bytes: the log of a transaction that removes an image of some hundred layers, and the index beside it.
const SIZE: u64 = 512 << 10;
/// With fewer bytes left, the disk counts as full.
const LITTLE: u64 = 1 << 20;
/// With fewer bytes left, it is not made: somebody else needs them more.
const PLENTY: u64 = 4 << 20;

fn free(root: &Path) -> Option<u64> {
    let filesystem = statvfs(root).ok()?;
    Some(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
}

/// Makes the reserve if it is not there and there is room for it. That it is not there is no failure: it is needed when
/// the disk is full, and then it says so.
pub(crate) fn keep(root: &Path) {
    let path = root.join("reserve");
    if rustix::fs::access(&path, rustix::fs::Access::EXISTS).is_ok()
        || free(root).is_none_or(|bytes| bytes < PLENTY)
    {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let Ok(file) = open(&path, flags, Mode::RUSR | Mode::WUSR) else {
        return;
    };
    // A filesystem that cannot promise room has none to keep.
    if fallocate(&file, FallocateFlags::empty(), 0, SIZE).is_err() {
        unlink(&path).unwrap_or_default();
    }
}

/// Whether the disk is as good as full.
pub(crate) fn is_needed(root: &Path) -> bool {
    free(root).is_some_and(|bytes| bytes < LITTLE)
}

/// Gives the room back; says whether there was any.
pub(crate) fn give_back(root: &Path) -> bool {
    unlink(root.join("reserve")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_and_given_back() {
        let root = tempfile::tempdir().unwrap();
        keep(root.path());
        let metadata = root.path().join("reserve").metadata().unwrap();
        assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 >= SIZE);
        keep(root.path());
        assert!(give_back(root.path()));
        assert!(!give_back(root.path()));
    }
}
