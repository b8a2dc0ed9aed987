//! The sources of a build as another machine would have them: in another directory, made in another order and at another
//! time. `build --verify` builds from such a copy what it has built from the original.

use crate::commit_time;
use crate::context::BuildContext;
use crate::error::BuildError;
use crate::scratch::Scratch;
use crate::{Build, NamedContext};
use rustix::fs::{FileType, Mode, Stat, Timespec, Timestamps};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::Store;
use sys::SysError;
use sys::path::Tree;

/// So much older the copies look, in seconds: all by the same, since `make` compares files' times.
const OLDER: i64 = 39 * 86_400 + 12_345;

/// A build that finds its sources elsewhere.
#[derive(Debug)]
pub struct Elsewhere<'a> {
    /// The same build otherwise.
    pub build: Build,
    _contexts: Vec<Scratch<'a>>,
}

/// Copies the sources of a build, but not what its ignore file excludes. `stopped` ends it with an error.
pub fn elsewhere<'a>(
    store: &'a Store,
    build: &Build,
    stopped: &dyn Fn() -> bool,
) -> Result<Elsewhere<'a>, BuildError> {
    let lease = Arc::new(store.lease()?);
    let mut copies = Vec::new();
    let mut copy = |context: &BuildContext| -> Result<PathBuf, BuildError> {
        let scratch = Scratch::new(store, &lease).map_err(crate::fetched::context_error)?;
        let copying = Copying {
            context,
            from: Tree::open(context.path())?,
            to: Tree::open(scratch.directory())?,
            stopped,
        };
        copying.directory(Path::new("."), &mut HashMap::new())?;
        let path = scratch.directory().to_owned();
        copies.push(scratch);
        Ok(path)
    };
    let mut moved = build.clone();
    let context = BuildContext::open(&build.context, "the build context", build.ignore.as_ref())?;
    // A copy is checked out at no commit.
    moved.image_time = build.image_time.or_else(|| commit_time::of(&build.context));
    moved.context = copy(&context)?;
    for (name, named) in &mut moved.contexts {
        if let NamedContext::Directory(path) = named {
            let ignore = crate::build::ignore_file(path)?;
            let context = BuildContext::open(path, &format!("the context {name}"), ignore.as_ref())?;
            *path = copy(&context)?;
        }
    }
    Ok(Elsewhere {
        build: moved,
        _contexts: copies,
    })
}

struct Copying<'a> {
    context: &'a BuildContext,
    from: Tree,
    to: Tree,
    stopped: &'a dyn Fn() -> bool,
}

impl Copying<'_> {
    /// Copies what is in a directory, the last listed first. `linked` has the first names of files with several.
    fn directory(&self, path: &Path, linked: &mut HashMap<(u64, u64), PathBuf>) -> Result<(), BuildError> {
        let mut entries = self.from.entries(path)?;
        entries.reverse();
        for entry in entries {
            if (self.stopped)() {
                return Err(BuildError::Cancelled);
            }
            let path = path.join(&entry.name);
            let below = path.strip_prefix(".").unwrap_or(&path);
            if self.context.excludes(&below.to_string_lossy()) {
                continue;
            }
            self.entry(&path, linked)?;
        }
        Ok(())
    }

    fn entry(&self, path: &Path, linked: &mut HashMap<(u64, u64), PathBuf>) -> Result<(), BuildError> {
        let stat = self.from.stat(path, false)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = linked.get(&(stat.st_dev, stat.st_ino)) {
                self.to.hard_link(first, path)?;
                return Ok(());
            }
            linked.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            FileType::Directory => {
                self.to.create_dir(path, Mode::RWXU)?;
                self.directory(path, linked)?;
            }
            FileType::RegularFile => {
                let mut from = File::from(self.from.open_regular(path)?);
                let mut to = File::from(self.to.create_file(path, Mode::RWXU)?);
                std::io::copy(&mut from, &mut to).map_err(|error| SysError::io("copy", path, &error))?;
            }
            FileType::Symlink => self.to.symlink(&self.from.read_link(path)?, path)?,
            FileType::Fifo => self.to.make_node(path, kind, Mode::RWXU, 0)?,
            // Of no use to a build anywhere.
            _ => return Ok(()),
        }
        self.furnish(path, kind, &stat)
    }

    fn furnish(&self, path: &Path, kind: FileType, stat: &Stat) -> Result<(), BuildError> {
        self.to.set_owner(path, (stat.st_uid, stat.st_gid))?;
        if kind != FileType::Symlink {
            for (name, value) in self.from.xattrs(path)? {
                if is_portable(&name) {
                    self.to.set_xattr(path, &name, &value)?;
                }
            }
            self.to
                .set_mode(path, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        let time = Timespec {
            tv_sec: stat.st_mtime - OLDER,
            tv_nsec: 0,
        };
        self.to.set_times(
            path,
            &Timestamps {
                last_access: time,
                last_modification: time,
            },
        )?;
        Ok(())
    }
}

/// Says whether an extended attribute is a file's own, and not its filesystem's.
fn is_portable(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"user.") || name == b"security.capability"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_copy_is_older_and_otherwise_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::create_dir_all(from.join("sub/deep")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("sub/a"), "a").unwrap();
        std::fs::set_permissions(from.join("sub/a"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::hard_link(from.join("sub/a"), from.join("sub/deep/b")).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        std::fs::write(from.join("secret"), "left out").unwrap();
        let ignore = (from.join(".dockerignore"), "secret\n".to_owned());
        let context = BuildContext::open(&from, "it", Some(&ignore)).unwrap();
        let copying = Copying {
            context: &context,
            from: Tree::open(&from).unwrap(),
            to: Tree::open(&to).unwrap(),
            stopped: &|| false,
        };
        copying.directory(Path::new("."), &mut HashMap::new()).unwrap();
        let old = std::fs::metadata(from.join("sub/a")).unwrap();
        let new = std::fs::metadata(to.join("sub/a")).unwrap();
        assert_eq!(new.mtime(), old.mtime() - OLDER);
        assert_eq!((new.mode(), new.nlink()), (old.mode(), 2));
        assert_eq!(std::fs::read(to.join("sub/deep/b")).unwrap(), b"a");
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(!to.join("secret").exists());
    }
}
