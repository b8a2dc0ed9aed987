//! What mounts are mounted on, where the image has nothing there.
//!
//! It is made in a directory of its own, which lies between the image and what the command writes. So it never comes
//! into the layer, and nothing has to be cleaned up afterwards in a tree that the command has changed
//! (CVE-2024-23652).

use crate::error::StepError;
use crate::place::PARENT_MODE;
use rustix::fs::{FileType, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use std::path::{Component, Path, PathBuf};
use sys::path::Tree;

/// Filesystems of the container's own, which the runtime makes places in by itself.
const OWN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Makes what is missing in `root` for mounts on `targets` (and whether each is a directory), in the empty directory
/// `into`. Says whether anything was.
pub(super) fn make(root: &Tree, into: &Path, targets: &[(&Path, bool)]) -> Result<bool, StepError> {
    let mut any = false;
    let stubs = Tree::open(into)?;
    for (target, is_directory) in targets {
        let place = root.resolve(target)?;
        if OWN.iter().any(|own| place.starts_with(own)) || exists(root, &place)? {
            continue;
        }
        any = true;
        let mut path = PathBuf::from("/");
        let mut components = place
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .peekable();
        while let Some(component) = components.next() {
            path.push(component);
            let last = components.peek().is_none();
            if last && !is_directory {
                stubs.create_file(&path, Mode::from_raw_mode(0o644))?;
            } else {
                directory(root, &stubs, &path)?;
            }
        }
    }
    Ok(any)
}

fn exists(root: &Tree, path: &Path) -> Result<bool, StepError> {
    match root.stat(path, false) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory that looks like the image's, if that has it: what lies above in a union hides how it looks below.
fn directory(root: &Tree, stubs: &Tree, path: &Path) -> Result<(), StepError> {
    if exists(stubs, path)? {
        return Ok(());
    }
    if !exists(root, path)? {
        stubs.create_dir(path, PARENT_MODE)?;
        return Ok(());
    }
    copy_directory(root, stubs, path)
}

/// Makes a directory like one of another tree, empty.
pub(super) fn copy_directory(from: &Tree, to: &Tree, path: &Path) -> Result<(), StepError> {
    let stat = from.stat(path, false)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(StepError::NotADirectory(path.display().to_string()));
    }
    to.create_dir(path, PARENT_MODE)?;
    to.set_owner(path, (stat.st_uid, stat.st_gid))?;
    to.set_mode(path, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in from.xattrs(path)? {
        if !name.as_encoded_bytes().starts_with(b"trusted.overlay.") {
            to.set_xattr(path, &name, &value)?;
        }
    }
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec.cast_signed(),
    };
    to.set_times(
        path,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_what_is_missing_is_made_and_links_are_followed_inside() {
        let directory = tempfile::tempdir().unwrap();
        let (root, into) = (directory.path().join("root"), directory.path().join("into"));
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::fs::create_dir(&into).unwrap();
        symlink("/usr/lib", root.join("lib")).unwrap();
        symlink("../../../../etc", root.join("out")).unwrap();
        std::fs::set_permissions(root.join("usr"), std::fs::Permissions::from_mode(0o710)).unwrap();
        let tree = Tree::open(&root).unwrap();
        let there = [(Path::new("/usr/lib"), true), (Path::new("/dev/x"), true)];
        assert!(!make(&tree, &into, &there).unwrap());
        let missing = [
            (Path::new("/lib/a/b"), true),
            (Path::new("/lib/a/c"), false),
            (Path::new("/out/x"), true),
        ];
        assert!(make(&tree, &into, &missing).unwrap());
        assert!(into.join("usr/lib/a/b").is_dir() && into.join("usr/lib/a/c").is_file());
        assert!(into.join("etc/x").is_dir() && !into.join("lib").exists());
        let mode = std::fs::metadata(into.join("usr")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o710);
    }
}
