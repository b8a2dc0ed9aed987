//! Putting files into a root filesystem, by descriptor only: nothing in it can lead a write out of it.

use crate::digests;
use crate::error::{Failure, StepError};
use crate::mode::ModeChange;
use crate::source::{Found, Item, Kind};
use rustix::fs::{FileType, Mode, fstat};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::Tree;

/// Directories that are made on the way.
pub(crate) const PARENT_MODE: Mode = Mode::from_raw_mode(0o755);

/// Where files go, and what they become.
pub(crate) struct Placement<'a> {
    pub(crate) from: &'a Tree,
    pub(crate) to: &'a Tree,
    /// The destination, absolute.
    pub(crate) destination: &'a Path,
    /// Whether it was written as a directory.
    pub(crate) is_directory: bool,
    /// `--chown`. Without it files of the context belong to root, and others keep their owners.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) keep_owners: bool,
    pub(crate) mode: Option<&'a ModeChange>,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// Set when a source was not what it had been when it was looked at: then what was copied is not what the step
    /// is keyed by, and must not be found under that key.
    pub(crate) changed: Cell<bool>,
}

impl Placement<'_> {
    /// Copies one source to the destination: a directory's content into it, a file into it or onto it.
    pub(crate) fn copy(&self, found: &Found) -> Result<(), Failure> {
        if !found.kept.is_empty() {
            return self.copy_below(found);
        }
        if found.is_directory() {
            let base = self.directory(self.destination)?;
            for item in &found.items[1..] {
                if (self.cancelled)() {
                    return Err(Failure::Cancelled);
                }
                self.item(found, item, &item.below(&base))?;
            }
            return Ok(());
        }
        let Some(item) = found.items.first() else {
            return Ok(());
        };
        let target = if self.is_directory || self.kind(self.destination)? == Some(FileType::Directory) {
            self.directory(self.destination)?.join(&found.name)
        } else {
            if let Some(parent) = self.destination.parent() {
                self.directory(parent)?;
            }
            self.to.resolve(self.destination)?
        };
        self.item(found, item, &target)
    }

    /// Copies a source together with the directories on the way to it.
    fn copy_below(&self, found: &Found) -> Result<(), Failure> {
        let base = self.directory(self.destination)?;
        let Some(((last, _), above)) = found.kept.split_last() else {
            return Ok(());
        };
        for (path, mode) in above {
            self.kept_directory(&base.join(OsStr::from_bytes(path)), *mode)?;
        }
        let target = base.join(OsStr::from_bytes(last));
        for item in &found.items {
            if (self.cancelled)() {
                return Err(Failure::Cancelled);
            }
            self.item(found, item, &item.below(&target))?;
        }
        Ok(())
    }

    fn kept_directory(&self, path: &Path, mode: u32) -> Result<(), StepError> {
        if self.kind(path)? == Some(FileType::Directory) {
            return Ok(());
        }
        self.directory(path)?;
        let made = self.to.locate(path, true)?;
        let mode = self.mode.map_or(mode, |change| change.apply(mode, true));
        Self::attributes(
            &made,
            path,
            self.owner.unwrap_or((0, 0)),
            Some(Mode::from_raw_mode(mode)),
        )?;
        Ok(())
    }

    /// Makes a directory and what is missing above it, and returns where it is when links are followed.
    pub(crate) fn directory(&self, path: &Path) -> Result<PathBuf, StepError> {
        match self
            .to
            .create_dir_all(path, PARENT_MODE, self.owner.unwrap_or((0, 0)))
        {
            Ok(_) => Ok(self.to.resolve(path)?),
            Err(error) if matches!(error.errno, Errno::NOTDIR | Errno::EXIST) => {
                Err(self.not_a_directory(path))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what is at `path`, links followed; `None` if nothing is there.
    fn kind(&self, path: &Path) -> Result<Option<FileType>, StepError> {
        match self.to.stat(path, true) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) if error.errno == Errno::NOTDIR => Err(self.not_a_directory(path)),
            Err(error) => Err(error.into()),
        }
    }

    /// Names what is in the way of `path`.
    fn not_a_directory(&self, path: &Path) -> StepError {
        let is_file = |path: &&Path| {
            self.to
                .stat(path, true)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
        };
        let found = path.ancestors().find(is_file).unwrap_or(path);
        StepError::NotADirectory(found.display().to_string())
    }

    fn item(&self, found: &Found, item: &Item, target: &Path) -> Result<(), Failure> {
        let owner = self
            .owner
            .unwrap_or(if self.keep_owners { item.owner } else { (0, 0) });
        let is_directory = item.kind == Kind::Directory;
        let mode = Mode::from_raw_mode(match self.mode {
            Some(change) => change.apply(item.mode, is_directory),
            None => item.mode,
        });
        let source = item.below(&found.at);
        match item.kind {
            Kind::Directory => {
                if self.kind(target)? != Some(FileType::Directory) {
                    if self.present(target)?.is_some() {
                        return Err(StepError::NotADirectory(target.display().to_string()).into());
                    }
                    self.to.create_dir(target, mode)?;
                }
                // A link to a directory stays, and its end gets the attributes.
                let made = self.to.locate(target, true)?;
                Self::attributes(&made, target, owner, Some(mode))?;
                self.copy_xattrs(&source, &made, target)?;
            }
            Kind::File => {
                self.clear(target)?;
                let made = self.to.create_file(target, Mode::from_raw_mode(0o600))?;
                let from = digests::open(self.from, &source)?;
                copy_data(&from, &made, &source, target, self.cancelled)?;
                let stat = fstat(&from).map_err(SysError::on("look at", &source))?;
                let differs = !item.is_still(&stat)
                    || item.unsettled
                        && !self.keep_owners
                        && item.digest != Some(digests::of_file(self.to, target, self.cancelled)?);
                self.changed.set(self.changed.get() || differs);
                Self::attributes(&made, target, owner, Some(mode))?;
                self.copy_xattrs(&source, &made, target)?;
            }
            Kind::Link => {
                self.clear(target)?;
                self.to.symlink(OsStr::from_bytes(&item.target), target)?;
                self.to.set_owner(target, owner)?;
            }
            Kind::Special(kind) => {
                self.clear(target)?;
                self.to.make_node(target, kind, mode, item.number)?;
                let made = self.to.locate(target, false)?;
                Self::attributes(&made, target, owner, Some(mode))?;
            }
        }
        Ok(())
    }

    /// Looks once more at a source file that was read as a whole.
    pub(crate) fn check_source(&self, found: &Found) -> Result<(), Failure> {
        let Some(item) = found.items.first() else {
            return Ok(());
        };
        let differs = !item.is_still(&self.from.stat(&found.at, false)?)
            || item.unsettled && item.digest != Some(digests::of_file(self.from, &found.at, self.cancelled)?);
        self.changed.set(self.changed.get() || differs);
        Ok(())
    }

    fn present(&self, target: &Path) -> Result<Option<FileType>, StepError> {
        match self.to.stat(target, false) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes room for a file.
    pub(crate) fn clear(&self, target: &Path) -> Result<(), StepError> {
        match self.present(target)? {
            None => Ok(()),
            Some(FileType::Directory) => Err(StepError::ReplacesDirectory(target.display().to_string())),
            Some(_) => Ok(self.to.remove_file(target)?),
        }
    }

    /// The owner goes first: changing it clears the set-id bits.
    pub(crate) fn attributes(
        made: &OwnedFd,
        target: &Path,
        owner: (u32, u32),
        mode: Option<Mode>,
    ) -> Result<(), SysError> {
        sys::path::set_owner(made, owner).map_err(SysError::on("set the owner of", target))?;
        match mode {
            Some(mode) => sys::path::set_mode(made, mode).map_err(SysError::on("set the mode of", target)),
            None => Ok(()),
        }
    }

    /// Copies what programs rely on: file capabilities and user attributes. Those of a context are local, and would
    /// make images differ between machines.
    fn copy_xattrs(&self, source: &Path, made: &OwnedFd, target: &Path) -> Result<(), SysError> {
        if !self.keep_owners {
            return Ok(());
        }
        for (name, value) in self.from.xattrs(source)? {
            if name == "security.capability" || name.as_bytes().starts_with(b"user.") {
                sys::path::set_xattr(made, &name, &value)
                    .map_err(SysError::on("set an extended attribute of", target))?;
            }
        }
        Ok(())
    }
}

/// Copies a file's content: by sharing blocks where the filesystem can, in the kernel where it can, else through us.
fn copy_data(
    from: &OwnedFd,
    to: &OwnedFd,
    source: &Path,
    target: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Failure> {
    const PIECE: usize = 16 << 20;
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut copied = false;
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, PIECE) {
            Ok(0) => return Ok(()),
            Ok(_) => copied = true,
            Err(Errno::INTR) => {}
            // Not between these filesystems, or not of such a file: nothing has been copied yet.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::PERM)
                if !copied =>
            {
                break;
            }
            Err(errno) => return Err(SysError::on("write", target)(errno).into()),
        }
        if cancelled() {
            return Err(Failure::Cancelled);
        }
    }
    let failed = |error| SysError::io("copy", source, &error);
    let mut input = File::from(from.try_clone().map_err(failed)?);
    let mut output = File::from(to.try_clone().map_err(failed)?);
    std::io::copy(&mut input, &mut output).map_err(failed)?;
    Ok(())
}
