//! What is not the same in two layers that ought to be.

use crate::{Layer, Store, StoreError, marks};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{entries_of, xattrs};

/// How deep directories may be nested; each level holds two descriptors.
const DEEPEST: usize = 400;

/// In what way a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Its extended attributes.
    Attributes,
    /// The bytes of a file, where a link leads, a device's number.
    Content,
    /// It is of another kind: a file and a directory.
    Kind,
    /// Its permission bits.
    Mode,
    /// It is in the first layer alone.
    OnlyInFirst,
    /// It is in the second layer alone.
    OnlyInSecond,
    /// Its user or group.
    Owner,
    /// When it was last changed.
    Time,
}

impl Aspect {
    /// Returns a word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attributes => "extended attributes",
            Self::Content => "content",
            Self::Kind => "kind",
            Self::Mode => "mode",
            Self::OnlyInFirst => "only in the first build",
            Self::OnlyInSecond => "only in the second build",
            Self::Owner => "owner",
            Self::Time => "time",
        }
    }
}

/// A path that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Absolute, as a container sees it.
    pub path: PathBuf,
    /// In what way.
    pub aspects: Vec<Aspect>,
}

impl Store {
    /// Compares two layers, file by file; the differences come sorted.
    pub fn compare_layers(&self, first: &Layer, second: &Layer) -> Result<Vec<Difference>, StoreError> {
        let open = |layer: &Layer| {
            let path = self.layer_path(&layer.id);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty()).map_err(SysError::on("open the directory", &path))
        };
        let (first, second) = (open(first)?, open(second)?);
        let mut found = Vec::new();
        directory(first.as_fd(), second.as_fd(), Path::new("/"), 0, &mut found)?;
        Ok(found)
    }
}

fn directory(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
    found: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    if depth > DEEPEST {
        return Err(
            SysError::on("look into so deep a directory as", path)(rustix::io::Errno::NAMETOOLONG).into(),
        );
    }
    let names = |of: BorrowedFd<'_>| -> Result<BTreeSet<OsString>, SysError> {
        let entries = entries_of(of).map_err(SysError::on("list", path))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    };
    let (in_first, in_second) = (names(first)?, names(second)?);
    for name in in_first.union(&in_second) {
        let on = path.join(name);
        let alone = match (in_first.contains(name), in_second.contains(name)) {
            (true, false) => Some(Aspect::OnlyInFirst),
            (false, true) => Some(Aspect::OnlyInSecond),
            _ => None,
        };
        if let Some(aspect) = alone {
            found.push(Difference {
                path: on,
                aspects: vec![aspect],
            });
            continue;
        }
        let look = |of: BorrowedFd<'_>| {
            statat(of, name, AtFlags::SYMLINK_NOFOLLOW).map_err(SysError::on("look at", &on))
        };
        let stats = (look(first)?, look(second)?);
        let kind = FileType::from_raw_mode(stats.0.st_mode);
        let flags = match kind {
            FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            FileType::RegularFile => OFlags::RDONLY | OFlags::NONBLOCK,
            _ => OFlags::PATH,
        };
        let mut aspects = of_stats(&stats.0, &stats.1);
        if aspects.contains(&Aspect::Kind) {
            found.push(Difference { path: on, aspects });
        } else {
            let open = |of: BorrowedFd<'_>| {
                openat(
                    of,
                    name,
                    flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )
                .map_err(SysError::on("open", &on))
            };
            let opened = (open(first)?, open(second)?);
            let attributes = |of: &OwnedFd| {
                xattrs(of).map(|all| {
                    all.into_iter()
                        .filter(|(name, _)| keeps(name))
                        .collect::<Vec<_>>()
                })
            };
            let on_attributes = SysError::on("read the extended attributes of", &on);
            let read = attributes(&opened.0).and_then(|a| Ok((a, attributes(&opened.1)?)));
            let (a, b) = read.map_err(on_attributes)?;
            if a != b {
                aspects.push(Aspect::Attributes);
            }
            let same = match kind {
                FileType::RegularFile => {
                    stats.0.st_size == stats.1.st_size && same_bytes(&opened.0, &opened.1, &on)?
                }
                FileType::Symlink => {
                    let link =
                        |of| readlinkat(of, name, Vec::new()).map_err(SysError::on("read the link", &on));
                    link(first)? == link(second)?
                }
                FileType::BlockDevice | FileType::CharacterDevice => stats.0.st_rdev == stats.1.st_rdev,
                _ => true,
            };
            if !same {
                aspects.push(Aspect::Content);
            }
            if !aspects.is_empty() {
                aspects.sort_unstable();
                found.push(Difference {
                    path: on.clone(),
                    aspects,
                });
            }
            if kind == FileType::Directory {
                directory(opened.0.as_fd(), opened.1.as_fd(), &on, depth + 1, found)?;
            }
        }
    }
    Ok(())
}

/// Says whether an attribute is the layer's: an opaque directory's mark is, what ties it to a mount is not.
fn keeps(name: &std::ffi::OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    !marks::is_overlays(name.as_bytes()) || name == marks::opaque_attribute()
}

fn of_stats(first: &Stat, second: &Stat) -> Vec<Aspect> {
    if FileType::from_raw_mode(first.st_mode) != FileType::from_raw_mode(second.st_mode) {
        return vec![Aspect::Kind];
    }
    let mut aspects = Vec::new();
    if first.st_mode != second.st_mode {
        aspects.push(Aspect::Mode);
    }
    if (first.st_uid, first.st_gid) != (second.st_uid, second.st_gid) {
        aspects.push(Aspect::Owner);
    }
    // Layers have whole seconds.
    if first.st_mtime != second.st_mtime && !(marks::is_whiteout(first) && marks::is_whiteout(second)) {
        aspects.push(Aspect::Time);
    }
    aspects
}

fn same_bytes(first: &OwnedFd, second: &OwnedFd, path: &Path) -> Result<bool, SysError> {
    let failed = |error: std::io::Error| SysError::io("read", path, &error);
    let open = |of: &OwnedFd| of.try_clone().map(File::from).map_err(failed);
    let (mut first, mut second) = (open(first)?, open(second)?);
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = first.read(&mut a).map_err(failed)?;
        if length == 0 {
            return Ok(second.read(&mut b).map_err(failed)? == 0);
        }
        match second.read_exact(&mut b[..length]) {
            Ok(()) if a[..length] == b[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn each_way_to_differ_is_named() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (number, root) in directories.iter().map(tempfile::TempDir::path).enumerate() {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
            std::fs::create_dir(root.join("d")).unwrap();
            for name in ["same", "content", "mode", "owner", "time", "d/deep"] {
                let text = if number == 1 && matches!(name, "content" | "d/deep") {
                    "b"
                } else {
                    "a"
                };
                std::fs::write(root.join(name), text).unwrap();
                let later = std::time::Duration::from_secs(u64::from(number == 1 && name == "time"));
                File::options()
                    .write(true)
                    .open(root.join(name))
                    .unwrap()
                    .set_modified(time + later)
                    .unwrap();
            }
            std::fs::write(root.join(["first", "second"][number]), "x").unwrap();
            symlink(["x", "y"][number], root.join("link")).unwrap();
            if number == 0 {
                std::fs::create_dir(root.join("kind")).unwrap();
            } else {
                std::fs::write(root.join("kind"), "x").unwrap();
                std::fs::set_permissions(root.join("mode"), std::fs::Permissions::from_mode(0o600)).unwrap();
                std::os::unix::fs::chown(root.join("owner"), Some(7), None).unwrap();
            }
            for name in ["link", "d"] {
                let time = rustix::fs::Timespec {
                    tv_sec: 5,
                    tv_nsec: 0,
                };
                let times = rustix::fs::Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                rustix::fs::utimensat(
                    rustix::fs::CWD,
                    root.join(name),
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )
                .unwrap();
            }
        }
        let [first, second] = directories
            .each_ref()
            .map(|root| File::open(root.path()).unwrap());
        let mut found = Vec::new();
        directory(first.as_fd(), second.as_fd(), Path::new("/"), 0, &mut found).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|difference| {
                let names: Vec<_> = difference.aspects.iter().map(|aspect| aspect.name()).collect();
                format!("{} {}", difference.path.display(), names.join(","))
            })
            .collect();
        assert_eq!(
            found,
            [
                "/content content",
                "/d/deep content",
                "/first only in the first build",
                "/kind kind",
                "/link content",
                "/mode mode",
                "/owner owner",
                "/second only in the second build",
                "/time time",
            ]
        );
    }
}
