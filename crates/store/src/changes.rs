//! What a container has changed in its image's files: overlayfs's upper directory compared with what lies below it.
//!
//! Overlayfs copies a file up when it is opened for writing, and a directory when anything in it changes. So being in
//! the upper directory says little; as Docker does, each entry is compared with the one below it. Both trees are
//! walked by descriptor and nothing is followed, for the container may be changing them meanwhile.

use crate::{StoreError, marks};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{Tree, entries_of, xattrs};

/// How deep directories may be nested; each level holds two descriptors.
const DEEPEST: usize = 400;

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It, or something in it, is not as it was.
    Changed,
    /// It is gone.
    Deleted,
}

/// A path that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, inside the container.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// Compares overlayfs's upper directory with the tree below it. The changes come sorted by name within each directory,
/// a directory before what is in it.
pub fn changes(upper: &Path, below: &Tree) -> Result<Vec<Change>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(upper, flags, Mode::empty()).map_err(SysError::on("open the directory", upper))?;
    let mut walk = Walk { found: Vec::new() };
    walk.directory(opened.as_fd(), Some(below.as_fd()), Path::new("/"), 0)?;
    Ok(walk.found)
}

struct Walk {
    found: Vec<Change>,
}

impl Walk {
    /// Compares what is in two directories; without `below` all is new.
    fn directory(
        &mut self,
        upper: BorrowedFd<'_>,
        below: Option<BorrowedFd<'_>>,
        path: &Path,
        depth: usize,
    ) -> Result<(), StoreError> {
        if depth > DEEPEST {
            return Err(SysError::on("look into so deep a directory as", path)(Errno::NAMETOOLONG).into());
        }
        let mut names: BTreeSet<OsString> = entries_of(upper)
            .map_err(SysError::on("list", path))?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let attributes = xattrs(upper).map_err(SysError::on("read the extended attributes of", path))?;
        marks::refuse_pointer(&attributes, path)?;
        // What is below an opaque directory is gone, but for what is there again.
        if let Some(below) = below
            && marks::is_opaque(&attributes)
        {
            let listed = open_directory(below, OsStr::new(".")).map_err(SysError::on("open", path))?;
            let old = entries_of(&listed).map_err(SysError::on("list", path))?;
            names.extend(old.into_iter().map(|entry| entry.name));
        }
        for name in names {
            let on = path.join(&name);
            let new = look(upper, &name).map_err(SysError::on("look at", &on))?;
            let old = match below {
                Some(below) => look(below, &name).map_err(SysError::on("look at", &on))?,
                None => None,
            };
            self.entry((upper, new), (below, old), &name, on, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        (upper, new): (BorrowedFd<'_>, Option<Stat>),
        (below, old): (Option<BorrowedFd<'_>>, Option<Stat>),
        name: &OsStr,
        path: PathBuf,
        depth: usize,
    ) -> Result<(), StoreError> {
        let new = new.filter(|stat| !marks::is_whiteout(stat));
        let change = match (&old, &new) {
            (None, None) => return Ok(()),
            (Some(_), None) => {
                self.found.push(Change {
                    path,
                    kind: ChangeKind::Deleted,
                });
                return Ok(());
            }
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(old), Some(new)) => {
                let differs = differ(old, new)
                    || (is(new, FileType::RegularFile)
                        && capability(upper, name)? != capability_of(below, name)?);
                differs.then_some(ChangeKind::Changed)
            }
        };
        let index = self.found.len();
        self.found.extend(change.map(|kind| Change {
            path: path.clone(),
            kind,
        }));
        if !new.is_some_and(|new| is(&new, FileType::Directory)) {
            return Ok(());
        }
        let Some(inside) = open_existing(upper, name).map_err(SysError::on("open", &path))? else {
            return Ok(());
        };
        let before = match (below, old) {
            (Some(below), Some(old)) if is(&old, FileType::Directory) => {
                open_existing(below, name).map_err(SysError::on("open", &path))?
            }
            _ => None,
        };
        self.directory(inside.as_fd(), before.as_ref().map(AsFd::as_fd), &path, depth + 1)?;
        // A directory in which something changed has changed.
        if change.is_none() && self.found.len() > index {
            self.found.insert(
                index,
                Change {
                    path,
                    kind: ChangeKind::Changed,
                },
            );
        }
        Ok(())
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// Docker's rule: a directory's size and time say nothing, and a time without fractions may have lost them on its way
/// through a tar.
fn differ(old: &Stat, new: &Stat) -> bool {
    let same_time = old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0);
    old.st_mode != new.st_mode
        || (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid)
        || old.st_rdev != new.st_rdev
        || (!is(old, FileType::Directory) && (!same_time || old.st_size != new.st_size))
}

/// Looks at an entry; `None` if there is none, or no longer.
fn look(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn open_directory(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Opens a directory that may have gone, or been replaced, since it was looked at.
fn open_existing(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<OwnedFd>> {
    match open_directory(directory, name) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn capability_of(directory: Option<BorrowedFd<'_>>, name: &OsStr) -> Result<Option<Vec<u8>>, SysError> {
    directory.map_or(Ok(None), |directory| capability(directory, name))
}

/// Reads the file capabilities of a regular file.
fn capability(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Vec<u8>>, SysError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(SysError::on("open", name))?,
    };
    let stat = fstat(&opened).map_err(SysError::on("look at", name))?;
    if !is(&stat, FileType::RegularFile) {
        return Ok(None);
    }
    let all = xattrs(&opened).map_err(SysError::on("read the extended attributes of", name))?;
    Ok(all
        .into_iter()
        .find(|(name, _)| name == "security.capability")
        .map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Timespec, Timestamps, mknodat};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Two directories: what lies below, and the upper one. Times are all the same.
    fn layers(below: &[(&str, &str)], upper: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (side, entries) in [("below", below), ("upper", upper)] {
            let root = directory.path().join(side);
            fs::create_dir(&root).unwrap();
            for (path, content) in entries {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                match *content {
                    "dir" => fs::create_dir_all(&path).unwrap(),
                    "gone" => {
                        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                        continue;
                    }
                    "link" => symlink("nowhere", &path).unwrap(),
                    content => fs::write(&path, content).unwrap(),
                }
                let time = Timespec {
                    tv_sec: 1,
                    tv_nsec: 5,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
        }
        directory
    }

    fn compared(directory: &tempfile::TempDir) -> Vec<String> {
        let below = Tree::open(&directory.path().join("below")).unwrap();
        let found = changes(&directory.path().join("upper"), &below).unwrap();
        found
            .iter()
            .map(|change| {
                let letter = match change.kind {
                    ChangeKind::Added => 'A',
                    ChangeKind::Changed => 'C',
                    ChangeKind::Deleted => 'D',
                };
                format!("{letter} {}", change.path.display())
            })
            .collect()
    }

    #[test]
    fn entries_are_added_changed_and_deleted_with_their_parents() {
        let layers = layers(
            &[
                ("etc/same", "x"),
                ("etc/other", "x"),
                ("gone/file", "x"),
                ("was/file", "x"),
                ("odd", "dir"),
            ],
            &[
                ("etc/same", "x"),
                ("etc/other", "longer"),
                ("gone", "gone"),
                ("new/deep/file", "x"),
                ("was", "a file now"),
                ("odd", "link"),
                ("never", "gone"),
            ],
        );
        assert_eq!(
            compared(&layers),
            [
                "C /etc",
                "C /etc/other",
                "D /gone",
                "A /new",
                "A /new/deep",
                "A /new/deep/file",
                "C /odd",
                "C /was",
            ]
        );
    }

    #[test]
    fn what_was_only_copied_up_is_not_listed() {
        let layers = layers(&[("etc/a", "x"), ("etc/b", "x")], &[("etc/a", "x")]);
        assert_eq!(compared(&layers), [""; 0]);
        // Its attributes alone count, too.
        let path = layers.path().join("upper/etc/a");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(compared(&layers), ["C /etc", "C /etc/a"]);
    }

    #[test]
    fn an_opaque_directory_hides_what_is_below() {
        let layers = layers(
            &[("d/kept", "x"), ("d/lost/deep", "x"), ("d/old", "x")],
            &[("d/kept", "x"), ("d/new", "x")],
        );
        marks::set_opaque(fs::File::open(layers.path().join("upper/d")).unwrap()).unwrap();
        assert_eq!(compared(&layers), ["C /d", "D /d/lost", "A /d/new", "D /d/old"]);
    }

    #[test]
    fn a_file_that_became_a_directory_has_all_new_content() {
        let layers = layers(&[("d", "x")], &[("d/inside", "x")]);
        assert_eq!(compared(&layers), ["C /d", "A /d/inside"]);
    }
}
