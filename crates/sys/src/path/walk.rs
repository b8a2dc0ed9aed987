//! Walks from component to component, for what one openat2(2) cannot do.

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As many links as the kernel follows on one path (`path_resolution(7)`).
const MOST_LINKS: u32 = 40;
/// A path's greatest length, also after its links have been put in.
const LONGEST: usize = 64 * 1024;

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories walked through below the root, with their names: `..` goes back to what was walked through.
    passed: Vec<(OwnedFd, OsString)>,
    ahead: VecDeque<OsString>,
    length_ahead: usize,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, path: &Path) -> rustix::io::Result<Self> {
        let mut walk = Walk {
            root,
            passed: Vec::new(),
            ahead: VecDeque::new(),
            length_ahead: 0,
            links: 0,
        };
        walk.prepend(path.as_os_str().as_bytes())?;
        Ok(walk)
    }

    fn prepend(&mut self, path: &[u8]) -> rustix::io::Result<()> {
        self.length_ahead += path.len();
        if self.length_ahead > LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        for component in path.split(|byte| *byte == b'/').rev() {
            if !matches!(component, b"" | b".") {
                self.ahead.push_front(OsStr::from_bytes(component).to_owned());
            }
        }
        Ok(())
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.passed
            .last()
            .map_or(self.root, |(directory, _)| directory.as_fd())
    }

    fn next(&mut self) -> Option<OsString> {
        loop {
            let component = self.ahead.pop_front()?;
            self.length_ahead = self.length_ahead.saturating_sub(component.len());
            if component == ".." {
                // Above the root is the root, as after chroot(2).
                self.passed.pop();
            } else {
                return Some(component);
            }
        }
    }

    fn open(&self, name: &OsStr) -> rustix::io::Result<(OwnedFd, FileType)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(self.here(), name, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
        Ok((found, kind))
    }

    /// Puts the link's target in the place of its name. The text of procfs's magic links is followed like any
    /// other's, so they lead nowhere else than their text does inside the tree.
    fn follow(&mut self, link: &OwnedFd) -> rustix::io::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(link, "", Vec::new())?.into_bytes();
        if target.first() == Some(&b'/') {
            self.passed.clear();
        }
        self.prepend(&target)
    }
}

/// Makes the missing directories of `path`.
pub(super) fn create(
    root: BorrowedFd<'_>,
    path: &Path,
    mode: Mode,
    owner: (u32, u32),
) -> rustix::io::Result<OwnedFd> {
    let mut walk = Walk::new(root, path)?;
    while let Some(name) = walk.next() {
        let (found, kind) = match walk.open(&name) {
            Err(Errno::NOENT) => match mkdirat(walk.here(), &name, mode) {
                Ok(()) => (finish(walk.here(), &name, mode, owner)?, FileType::Directory),
                // Somebody else was faster.
                Err(Errno::EXIST) => walk.open(&name)?,
                Err(errno) => return Err(errno),
            },
            result => result?,
        };
        match kind {
            FileType::Directory => walk.passed.push((found, name)),
            FileType::Symlink => walk.follow(&found)?,
            _ => return Err(Errno::NOTDIR),
        }
    }
    match walk.passed.pop() {
        Some((directory, _)) => Ok(directory),
        None => openat(
            root,
            ".",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ),
    }
}

fn finish(
    above: BorrowedFd<'_>,
    name: &OsStr,
    mode: Mode,
    (uid, gid): (u32, u32),
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(above, name, flags | OFlags::RDONLY, Mode::empty())?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    let now = fstat(&made)?;
    if (now.st_uid, now.st_gid) != (uid.as_raw(), gid.as_raw()) {
        rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    }
    // After the owner, which clears set-id bits, and because mkdir obeyed the umask.
    fchmod(&made, mode)?;
    // The same directory by O_PATH; its own name has no link or mount in it.
    openat(&made, ".", flags | OFlags::PATH, Mode::empty())
}

/// Follows the links of `path`.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<PathBuf> {
    let mut walk = Walk::new(root, path)?;
    let mut missing: Vec<OsString> = Vec::new();
    while let Some(name) = walk.ahead.pop_front() {
        if name == ".." {
            if missing.pop().is_none() {
                walk.passed.pop();
            }
            continue;
        }
        if !missing.is_empty() {
            missing.push(name);
            continue;
        }
        match walk.open(&name) {
            Ok((found, FileType::Symlink)) => walk.follow(&found)?,
            Ok((found, FileType::Directory)) => walk.passed.push((found, name)),
            Ok(_) if walk.ahead.is_empty() => missing.push(name),
            Ok(_) => return Err(Errno::NOTDIR),
            Err(Errno::NOENT) => missing.push(name),
            Err(errno) => return Err(errno),
        }
    }
    let mut path = vec![];
    for name in walk.passed.iter().map(|(_, name)| name).chain(&missing) {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}
