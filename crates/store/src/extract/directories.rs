//! The directories on the way to the present member, held open: members come in the order of a walk, so nearly all
//! of them find theirs here without a system call.

use crate::marks;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use sys::path::{Tree, open_resolving};

/// How many directories are held open.
const DEPTH: usize = 64;
/// Of directories that the archive does not mention.
const MODE: u32 = 0o755;

#[derive(Debug)]
pub(super) struct Directories {
    root: Rc<OwnedFd>,
    /// The path that `open` lead to, and for each of its directories where its name ends.
    path: Vec<u8>,
    held: Vec<(usize, Rc<OwnedFd>)>,
    /// The last one that was reached over links, or that lies too deep to hold all of its way.
    other: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Directories {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(root),
            path: Vec::new(),
            held: Vec::new(),
            other: None,
        }
    }

    /// Must be called when a directory or link may have been replaced.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.path.clear();
        self.other = None;
    }

    /// Returns a tree for walks of other kinds.
    pub(super) fn tree(&self) -> rustix::io::Result<Tree> {
        self.root
            .try_clone()
            .map(Tree::new)
            .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
    }

    /// Opens the directory at a cleaned path, following the layer's own links, and makes what is missing.
    pub(super) fn open(&mut self, path: &[u8]) -> rustix::io::Result<Rc<OwnedFd>> {
        if let Some((other, directory)) = &self.other
            && other == path
        {
            return Ok(Rc::clone(directory));
        }
        while let Some((end, _)) = self.held.last() {
            let end = *end;
            if path.len() >= end
                && path[..end] == self.path[..end]
                && (path.len() == end || path[end] == b'/')
            {
                break;
            }
            self.held.pop();
        }
        let mut done = self.held.last().map_or(0, |(end, _)| *end);
        self.path.truncate(done);
        while done < path.len() {
            let start = if done == 0 { 0 } else { done + 1 };
            let end = path[start..]
                .iter()
                .position(|byte| *byte == b'/')
                .map_or(path.len(), |slash| start + slash);
            let step = if self.held.len() < DEPTH {
                self.step(&path[start..end])?
            } else {
                None
            };
            let Some(directory) = step else {
                return self.open_over_links(path);
            };
            self.held.push((end, Rc::new(directory)));
            self.path.clear();
            self.path.extend_from_slice(&path[..end]);
            done = end;
        }
        Ok(Rc::clone(
            self.held.last().map_or(&self.root, |(_, directory)| directory),
        ))
    }

    /// Opens or makes a directory in the deepest one that is held. `None` if there is a link.
    fn step(&self, name: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
        let here = self.held.last().map_or(&self.root, |(_, directory)| directory);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&**here, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                mkdirat(&**here, name, Mode::from_raw_mode(MODE))?;
                openat(&**here, name, flags, Mode::empty()).map(Some)
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let found = openat(&**here, name, flags.difference(OFlags::DIRECTORY), Mode::empty())?;
                if !marks::is_whiteout(&fstat(found)?) {
                    return Ok(None);
                }
                // The layer removes what is below and makes a directory of its own.
                unlinkat(&**here, name, rustix::fs::AtFlags::empty())?;
                mkdirat(&**here, name, Mode::from_raw_mode(MODE))?;
                let made = openat(&**here, name, flags, Mode::empty())?;
                marks::set_opaque(&made)?;
                Ok(Some(made))
            }
            result => result.map(Some),
        }
    }

    fn open_over_links(&mut self, path: &[u8]) -> rustix::io::Result<Rc<OwnedFd>> {
        let owner = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let directory = self
            .tree()?
            .create_dir_all(
                Path::new(OsStr::from_bytes(path)),
                Mode::from_raw_mode(MODE),
                owner,
            )
            .map_err(|error| error.errno)?;
        let directory = Rc::new(directory);
        self.other = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// Opens the directory at a cleaned path if it is one and no link leads there.
    pub(super) fn find(&self, path: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
        let path = if path.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(path))
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match open_resolving(self.root.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            result => result.map(Some),
        }
    }
}
