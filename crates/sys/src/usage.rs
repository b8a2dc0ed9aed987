//! How much of the disk a tree takes, as du(1) counts.

use crate::SysError;
use crate::path::{Tree, entries_of, open_resolving};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

impl Tree {
    /// Returns the bytes that the tree's files and directories take on the disk, a file with several names once, other
    /// mounts inside it not at all. What vanishes during the walk does not count.
    pub fn disk_usage(&self) -> Result<u64, SysError> {
        let top = open_resolving(
            self.as_fd(),
            Path::new("."),
            DIRECTORY,
            Mode::empty(),
            ResolveFlags::BENEATH,
        )
        .map_err(SysError::on("open", "."))?;
        let mut walk = Walk {
            bytes: 0,
            linked: BTreeSet::new(),
        };
        walk.directory(top.as_fd())
            .map_err(SysError::of("measure the directory"))?;
        Ok(walk.bytes)
    }
}

struct Walk {
    bytes: u64,
    /// Inodes with several names that have been counted.
    linked: BTreeSet<u64>,
}

impl Walk {
    fn directory(&mut self, directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.bytes += blocks(&rustix::fs::fstat(directory)?);
        for entry in entries_of(directory)? {
            let stat = match statat(directory, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if stat.st_nlink < 2 || self.linked.insert(stat.st_ino) {
                    self.bytes += blocks(&stat);
                }
                continue;
            }
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            match open_resolving(
                directory,
                Path::new(&entry.name),
                DIRECTORY,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::NOENT | Errno::XDEV | Errno::LOOP | Errno::NOTDIR) => {}
                child => self.directory(child?.as_fd())?,
            }
        }
        Ok(())
    }
}

fn blocks(stat: &rustix::fs::Stat) -> u64 {
    stat.st_blocks.unsigned_abs() * 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let usage = || Tree::open(directory.path()).unwrap().disk_usage().unwrap();
        let empty = usage();
        std::fs::write(directory.path().join("a"), vec![1; 100_000]).unwrap();
        let one = usage();
        assert!(one >= empty + 100_000);
        std::fs::hard_link(directory.path().join("a"), directory.path().join("b")).unwrap();
        assert_eq!(usage(), one);
        std::os::unix::fs::symlink("/", directory.path().join("everything")).unwrap();
        assert!(usage() <= one + 4096);
    }
}
