//! What differs between two trees.
//!
//! Files of two versions that are one file are the same without a look. Otherwise content is compared by reading it:
//! neither a time nor a size says that it is the same.

use super::super::tree_copy::read_whole;
use super::super::{Volumes, mounting};
use super::{Source, open_directory};
use crate::EngineError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{enter, entries_of, reopen, xattrs};

/// Directories may lie this deep; each level holds two descriptors.
const DEEPEST: usize = 200;
/// How much is read at once.
const BUFFER: usize = 128 << 10;

/// What has become of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is there only afterwards.
    Added,
    /// Content, owner, mode, attributes or kind are others; of a directory also what is in it.
    Changed,
    /// It was there only before.
    Deleted,
}

/// A difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What has become of it.
    pub kind: DifferenceKind,
    /// Where, from the volume's top, with a slash before it.
    pub path: PathBuf,
    /// The bytes that were there, of a regular file.
    pub before: u64,
    /// The bytes that are there.
    pub after: u64,
}

impl Volumes<'_> {
    /// Returns what has changed from one version to another, or to what the volume holds now.
    pub fn diff(
        &self,
        volume: &str,
        from: &str,
        to: Option<&str>,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Difference>, EngineError> {
        let found = self.inspect(volume)?;
        // One turn for both: they are the same volume's.
        let before = self.version(volume, from)?;
        let (before_tree, opened) = self.open_source(&Source {
            volume: volume.to_owned(),
            tag: Some(before.tag),
        })?;
        let (after_tree, mounted) = if let Some(tag) = to {
            let version = self.version(volume, tag)?;
            (
                super::directory(&self.engine.locations, volume).join(version.id),
                None,
            )
        } else {
            let mounted = mounting::Guest::enter(&self.engine.locations, volume, &found.options)?;
            (found.mountpoint, mounted)
        };
        let (before, after) = (open_directory(&before_tree)?, open_directory(&after_tree)?);
        let mut comparison = Comparison {
            differences: Vec::new(),
            cancelled,
            buffers: (vec![0; BUFFER], vec![0; BUFFER]),
        };
        let path = PathBuf::from("/");
        comparison.top(before.as_fd(), after.as_fd(), &path)?;
        drop((opened, mounted));
        Ok(comparison.differences)
    }
}

/// Returns the bytes of a tree's regular files, a file with several names once for each.
pub(super) fn bytes(directory: BorrowedFd<'_>) -> Result<u64, SysError> {
    let nobody = || false;
    let mut comparison = Comparison {
        differences: Vec::new(),
        cancelled: &nobody,
        buffers: (Vec::new(), Vec::new()),
    };
    let path = PathBuf::from("/");
    for name in names(directory, &path)? {
        comparison.whole(directory, &name, &path, DifferenceKind::Added, 0)?;
    }
    Ok(comparison
        .differences
        .iter()
        .map(|difference| difference.after)
        .sum())
}

struct Comparison<'c> {
    differences: Vec<Difference>,
    cancelled: &'c (dyn Fn() -> bool + Sync),
    buffers: (Vec<u8>, Vec<u8>),
}

impl Comparison<'_> {
    fn top(&mut self, before: BorrowedFd<'_>, after: BorrowedFd<'_>, path: &Path) -> Result<(), SysError> {
        let (one, two) = (look(before, path)?, look(after, path)?);
        self.children(before, after, path, 0)?;
        if !same_attributes(before, after, &one, &two) {
            self.differences.insert(
                0,
                Difference {
                    kind: DifferenceKind::Changed,
                    path: path.to_owned(),
                    before: 0,
                    after: 0,
                },
            );
        }
        Ok(())
    }

    /// Compares what is in two directories; says whether anything differs.
    fn children(
        &mut self,
        before: BorrowedFd<'_>,
        after: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<bool, SysError> {
        if depth > DEEPEST {
            return Err(SysError::on("compare so deep a directory as", path)(
                Errno::NAMETOOLONG,
            ));
        }
        let mut all: BTreeMap<OsString, (bool, bool)> = BTreeMap::new();
        for name in names(before, path)? {
            all.entry(name).or_default().0 = true;
        }
        for name in names(after, path)? {
            all.entry(name).or_default().1 = true;
        }
        let mut differs = false;
        for (name, there) in all {
            let inner = path.join(&name);
            differs |= match there {
                (true, true) => self.both(before, after, &name, &inner, depth)?,
                (true, false) => self.whole(before, &name, path, DifferenceKind::Deleted, depth)?,
                _ => self.whole(after, &name, path, DifferenceKind::Added, depth)?,
            };
        }
        Ok(differs)
    }

    fn both(
        &mut self,
        before: BorrowedFd<'_>,
        after: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<bool, SysError> {
        if (self.cancelled)() {
            return Err(SysError::on("compare", path)(Errno::CANCELED));
        }
        let (Some(one), Some(two)) = (find(before, name, path)?, find(after, name, path)?) else {
            // It went while we looked.
            return Ok(false);
        };
        let (about, about_other) = (look(one.as_fd(), path)?, look(two.as_fd(), path)?);
        let kind = FileType::from_raw_mode(about.st_mode);
        let size = |stat: &Stat| {
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                stat.st_size.unsigned_abs()
            } else {
                0
            }
        };
        let changed = Difference {
            kind: DifferenceKind::Changed,
            path: path.to_owned(),
            before: size(&about),
            after: size(&about_other),
        };
        if kind != FileType::from_raw_mode(about_other.st_mode) {
            self.differences.push(changed);
            return Ok(true);
        }
        // Two names of one file.
        if (about.st_dev, about.st_ino) == (about_other.st_dev, about_other.st_ino) {
            return Ok(false);
        }
        let mut differs = !same_attributes(one.as_fd(), two.as_fd(), &about, &about_other);
        if kind == FileType::Directory {
            let place = self.differences.len();
            if let (Some(one), Some(two)) = (go_in(before, name, path)?, go_in(after, name, path)?) {
                differs |= self.children(one.as_fd(), two.as_fd(), path, depth + 1)?;
            }
            if differs {
                // Before what is in it.
                self.differences.insert(place, changed);
            }
            return Ok(differs);
        }
        differs = differs
            || match kind {
                FileType::RegularFile => {
                    about.st_size != about_other.st_size || !self.same_content(&one, &two, path)?
                }
                FileType::Symlink => {
                    let target = |link: &OwnedFd| {
                        readlinkat(link, "", Vec::new()).map_err(SysError::on("read the link", path))
                    };
                    target(&one)? != target(&two)?
                }
                _ => about.st_rdev != about_other.st_rdev,
            };
        if differs {
            self.differences.push(changed);
        }
        Ok(differs)
    }

    /// Tells of everything at and below a path that the other tree has not.
    fn whole(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        above: &Path,
        kind: DifferenceKind,
        depth: usize,
    ) -> Result<bool, SysError> {
        let path = above.join(name);
        if (self.cancelled)() {
            return Err(SysError::on("compare", &path)(Errno::CANCELED));
        }
        if depth > DEEPEST {
            return Err(SysError::on("compare so deep a directory as", &path)(
                Errno::NAMETOOLONG,
            ));
        }
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat.map_err(SysError::on("look at", &path))?,
        };
        let file_type = FileType::from_raw_mode(stat.st_mode);
        // No version has them.
        if file_type == FileType::Socket {
            return Ok(false);
        }
        let size = if file_type == FileType::RegularFile {
            stat.st_size.unsigned_abs()
        } else {
            0
        };
        let is_added = kind == DifferenceKind::Added;
        self.differences.push(Difference {
            kind,
            path: path.clone(),
            before: if is_added { 0 } else { size },
            after: if is_added { size } else { 0 },
        });
        if file_type == FileType::Directory
            && let Some(inner) = go_in(directory, name, &path)?
        {
            for name in names(inner.as_fd(), &path)? {
                self.whole(inner.as_fd(), &name, &path, kind, depth + 1)?;
            }
        }
        Ok(true)
    }

    fn same_content(&mut self, one: &OwnedFd, two: &OwnedFd, path: &Path) -> Result<bool, SysError> {
        let (one, two) = (
            reopen(one, OFlags::RDONLY, path)?,
            reopen(two, OFlags::RDONLY, path)?,
        );
        let (mine, other) = &mut self.buffers;
        let mut offset = 0;
        loop {
            if (self.cancelled)() {
                return Err(SysError::on("compare", path)(Errno::CANCELED));
            }
            let count = read_whole(&one, mine, offset).map_err(SysError::on("read", path))?;
            let count_other = read_whole(&two, other, offset).map_err(SysError::on("read", path))?;
            if mine[..count] != other[..count_other] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
            offset += count as u64;
        }
    }
}

/// Lists a directory in the order of names, without sockets, which no version has.
fn names(directory: BorrowedFd<'_>, path: &Path) -> Result<BTreeSet<OsString>, SysError> {
    let entries = entries_of(directory).map_err(SysError::on("read", path))?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind != FileType::Socket)
        .map(|entry| entry.name)
        .collect())
}

/// Opens a directory in a directory; `None` if it has gone, or something else is mounted there.
fn go_in(directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>, SysError> {
    match enter(directory, name) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => opened.map_err(SysError::on("open", path)),
    }
}

fn find(directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>, SysError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some).map_err(SysError::on("open", path)),
    }
}

fn look(found: BorrowedFd<'_>, path: &Path) -> Result<Stat, SysError> {
    fstat(found).map_err(SysError::on("look at", path))
}

/// Compares owner, mode, extended attributes. A link has no mode and no attributes of its own.
fn same_attributes(one: BorrowedFd<'_>, two: BorrowedFd<'_>, about: &Stat, other: &Stat) -> bool {
    if (about.st_uid, about.st_gid) != (other.st_uid, other.st_gid) {
        return false;
    }
    if FileType::from_raw_mode(about.st_mode) == FileType::Symlink {
        return true;
    }
    about.st_mode == other.st_mode && xattrs(one).ok() == xattrs(two).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn compare(one: &Path, two: &Path) -> Vec<String> {
        let nobody = || false;
        let mut comparison = Comparison {
            differences: Vec::new(),
            cancelled: &nobody,
            buffers: (vec![0; BUFFER], vec![0; BUFFER]),
        };
        let (one, two) = (open_directory(one).unwrap(), open_directory(two).unwrap());
        comparison.top(one.as_fd(), two.as_fd(), Path::new("/")).unwrap();
        comparison
            .differences
            .iter()
            .map(|difference| {
                let letter = match difference.kind {
                    DifferenceKind::Added => 'A',
                    DifferenceKind::Changed => 'C',
                    DifferenceKind::Deleted => 'D',
                };
                format!(
                    "{letter} {} {} {}",
                    difference.path.display(),
                    difference.before,
                    difference.after
                )
            })
            .collect()
    }

    #[test]
    fn every_kind_of_difference_is_told_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        for tree in [&one, &two] {
            fs::create_dir_all(tree.join("same/deep")).unwrap();
            fs::create_dir_all(tree.join("dir")).unwrap();
            fs::write(tree.join("same/deep/file"), "same").unwrap();
            fs::write(tree.join("dir/content"), "one").unwrap();
            fs::write(tree.join("mode"), "mode").unwrap();
            symlink("target", tree.join("link")).unwrap();
            fs::write(tree.join("kind"), "kind").unwrap();
        }
        let modified = fs::metadata(one.join("dir/content")).unwrap().modified().unwrap();
        fs::write(two.join("dir/content"), "two").unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(two.join("dir/content"))
            .unwrap();
        file.set_modified(modified).unwrap();
        fs::set_permissions(two.join("mode"), PermissionsExt::from_mode(0o600)).unwrap();
        fs::remove_file(two.join("link")).unwrap();
        symlink("elsewhere", two.join("link")).unwrap();
        fs::remove_file(two.join("kind")).unwrap();
        fs::create_dir(two.join("kind")).unwrap();
        fs::create_dir(one.join("gone")).unwrap();
        fs::write(one.join("gone/file"), "12").unwrap();
        fs::create_dir(two.join("new")).unwrap();
        fs::write(two.join("new/file"), "123").unwrap();
        assert_eq!(
            compare(&one, &two),
            [
                "C /dir 0 0",
                "C /dir/content 3 3",
                "D /gone 0 0",
                "D /gone/file 2 0",
                "C /kind 4 0",
                "C /link 0 0",
                "C /mode 4 4",
                "A /new 0 0",
                "A /new/file 0 3",
            ]
        );
        assert_eq!(compare(&one, &one), Vec::<String>::new());
    }
}
