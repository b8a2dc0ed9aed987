//! Removing a tree by descriptor: no link followed, no mount crossed, any depth.

use super::{for_each_entry, open_resolving, set_mode};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many directories are held open at once. Above that, the way up leads over `..`, and is checked.
const OPEN: usize = 64;
/// How many subdirectories of one directory are remembered before they are dealt with.
const BATCH: usize = 4096;
/// How often a directory that somebody keeps filling is emptied.
const PASSES: u32 = 64;

/// A directory on the way down.
struct Level {
    /// Closed, above [`OPEN`] levels.
    directory: Option<OwnedFd>,
    identity: (u64, u64),
    name: CString,
    subdirectories: Vec<CString>,
    passes: u32,
}

/// Removes `name` in the directory `above` and all below it.
pub(super) fn remove(above: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let name = CString::new(name.as_bytes()).or(Err(Errno::INVAL))?;
    match unlinkat(above, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let Some(first) = enter(above, name)? else {
        return Ok(());
    };
    let mut levels: Vec<Level> = vec![first];
    while let Some(level) = levels.last_mut() {
        let Some(directory) = &level.directory else {
            return Err(Errno::STALE);
        };
        if let Some(name) = level.subdirectories.pop() {
            let Some(next) = enter(directory, name)? else {
                continue;
            };
            levels.push(next);
            if let Some(far) = levels.len().checked_sub(OPEN + 1) {
                levels[far].directory = None;
            }
            continue;
        }
        let (name, passes) = (level.name.clone(), level.passes);
        if leave(&mut levels, above, &name)? {
            continue;
        }
        if passes >= PASSES {
            return Err(Errno::NOTEMPTY);
        }
        // Somebody put something in meanwhile, or there were more subdirectories than one batch.
        let holder = holder(&levels, above)?;
        if let Some(mut again) = enter(holder, name)? {
            again.passes = passes + 1;
            levels.push(again);
        }
    }
    Ok(())
}

/// Returns the directory that holds the next level.
fn holder<'a>(levels: &'a [Level], top: &'a OwnedFd) -> rustix::io::Result<&'a OwnedFd> {
    match levels.last() {
        Some(level) => level.directory.as_ref().ok_or(Errno::STALE),
        None => Ok(top),
    }
}

/// Goes up from the deepest level and removes it. Says whether it could be removed.
fn leave(levels: &mut Vec<Level>, top: &OwnedFd, name: &CString) -> rustix::io::Result<bool> {
    let Some(level) = levels.pop() else {
        return Ok(true);
    };
    if let (Some(parent), Some(directory)) = (levels.last_mut(), &level.directory)
        && parent.directory.is_none()
    {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let up = openat(directory, "..", flags, Mode::empty())?;
        let stat = fstat(&up)?;
        if (stat.st_dev, stat.st_ino) != parent.identity {
            // Somebody moved the directory away from under us: what is above it now is none of our business.
            return Err(Errno::STALE);
        }
        parent.directory = Some(up);
    }
    drop(level);
    match unlinkat(holder(levels, top)?, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a subdirectory, removes its files and notes its subdirectories. `None` if it is gone or was no directory.
fn enter(above: &OwnedFd, name: CString) -> rustix::io::Result<Option<Level>> {
    let directory = match open_to_empty(above, &name) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        // A link or a file by now.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return match unlinkat(above, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(errno),
            };
        }
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&directory)?;
    let mut subdirectories = Vec::new();
    for_each_entry(directory.as_fd(), |name, kind| {
        if subdirectories.len() >= BATCH {
            return Ok(());
        }
        if kind == FileType::Directory {
            subdirectories.push(name.to_owned());
            return Ok(());
        }
        match unlinkat(&directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                subdirectories.push(name.to_owned());
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    })?;
    Ok(Some(Level {
        directory: Some(directory),
        identity: (stat.st_dev, stat.st_ino),
        name,
        subdirectories,
        passes: 0,
    }))
}

/// EXDEV where something is mounted.
fn open_to_empty(above: &OwnedFd, name: &CString) -> rustix::io::Result<OwnedFd> {
    let path = Path::new(OsStr::from_bytes(name.as_bytes()));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open = || open_resolving(above.as_fd(), path, flags, Mode::empty(), resolve);
    match open() {
        // A user's own tree may have directories that its owner may not list; as root this does not happen.
        Err(Errno::ACCESS) => {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let found = open_resolving(above.as_fd(), path, flags, Mode::empty(), resolve)?;
            set_mode(found, Mode::RWXU)?;
            open()
        }
        result => result,
    }
}
