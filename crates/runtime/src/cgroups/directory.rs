//! One cgroup directory of one hierarchy, and the files in it.
//!
//! These paths are the host's own and kernfs knows no symbolic links, so the directory is opened by path once; all
//! its files are then opened relative to that descriptor, and a cgroup that is removed and made anew under the same
//! name is never mistaken for the old one.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdir, open, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use sys::SysError;

/// An open cgroup directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// How often making a cgroup starts over.
const RACES: usize = 16;

impl Directory {
    /// Opens the cgroup at `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, SysError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(SysError::on("open cgroup", path)(errno)),
        }
    }

    /// Opens it if it is there.
    pub(super) fn open_existing(path: PathBuf) -> Result<Option<Self>, SysError> {
        match Self::open(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the cgroup `relative` below `mount`, with whatever leads to it.
    ///
    /// What an earlier, broken run left empty is replaced, so that its limits are not inherited; a cgroup with
    /// processes in it is an error, because its limits are somebody's.
    pub(super) fn make(mount: &Path, relative: &Path) -> Result<Self, SysError> {
        let path = mount.join(relative);
        let mode = Mode::from_raw_mode(0o755);
        let mut made = mkdir(&path, mode);
        // Again if somebody takes an idle ancestor away between two steps of ours.
        for _ in 0..RACES {
            if made != Err(Errno::NOENT) {
                break;
            }
            for ancestor in ancestors(relative).skip(1) {
                match Self::make_if_missing(&mount.join(ancestor)) {
                    Err(error) if error.errno == Errno::NOENT => {}
                    result => result?,
                }
            }
            made = mkdir(&path, mode);
        }
        if made == Err(Errno::EXIST) && rustix::fs::rmdir(&path).is_ok() {
            made = mkdir(&path, mode);
        }
        made.map_err(SysError::on("make cgroup", &path))?;
        Self::open(path)
    }

    /// Opens a cgroup that others share, on the way to ours; somebody else may make it at the same moment.
    pub(super) fn shared(path: PathBuf) -> Result<Self, SysError> {
        if let Some(directory) = Self::open_existing(path.clone())? {
            return Ok(directory);
        }
        Self::make_if_missing(&path)?;
        Self::open(path)
    }

    fn make_if_missing(path: &Path) -> Result<(), SysError> {
        match mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(SysError::on("make cgroup", path)(errno)),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file in it.
    pub(super) fn file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, SysError> {
        openat(
            &self.fd,
            name,
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|errno| SysError::on("open", self.path.join(name))(errno))
    }

    /// Reads a whole file of it.
    pub(super) fn read(&self, name: &str) -> Result<String, SysError> {
        let file = self.file(name, OFlags::RDONLY)?;
        read_again(&file).map_err(|errno| SysError::on("read", self.path.join(name))(errno))
    }

    /// Reads a file of it if there is such a file.
    pub(super) fn read_existing(&self, name: &str) -> Result<Option<String>, SysError> {
        match self.read(name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `value` to a file of it, in one call as the kernel wants it. The kernel does not mind truncation.
    pub(super) fn write(&self, name: &str, value: &str) -> Result<(), SysError> {
        let file = self.file(name, OFlags::WRONLY | OFlags::TRUNC)?;
        write_value(&file, value).map_err(|errno| SysError::on("write to", self.path.join(name))(errno))
    }

    /// Returns the cgroups right below it.
    pub(super) fn children(&self) -> Result<Vec<Self>, SysError> {
        let failed = |errno| SysError::on("list cgroup", &self.path)(errno);
        let mut children = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = match entry {
                Ok(entry) => entry,
                // The kernel's answer when the directory was removed while it was read.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(failed(errno)),
            };
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
                continue;
            }
            let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&self.fd, name, flags, Mode::empty()) {
                Ok(fd) => children.push(Self { fd, path }),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(SysError::on("open cgroup", path)(errno)),
            }
        }
        Ok(children)
    }

    /// Removes it. `ENOENT`, and `ENODEV` for a cgroup that died under our hands, are success.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        match unlinkat(rustix::fs::CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The ways to `relative` from the top, without itself: `a/b/c` gives nothing, `a`, `a/b`.
pub(super) fn ancestors(relative: &Path) -> impl Iterator<Item = &Path> {
    let mut all: Vec<_> = relative.ancestors().skip(1).collect();
    all.reverse();
    all.into_iter()
}

/// Reads an open file from its beginning; cgroup files make their text anew each time.
pub(super) fn read_again(file: &OwnedFd) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let offset = u64::try_from(bytes.len()).map_err(|_overflow| Errno::OVERFLOW)?;
        match rustix::io::pread(file, &mut chunk, offset) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a value in one call.
pub(super) fn write_value(file: &OwnedFd, value: &str) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes()))? {
        count if count == value.len() => Ok(()),
        _short => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_come_from_the_top() {
        let all = |path| ancestors(Path::new(path)).map(Path::to_owned).collect::<Vec<_>>();
        assert_eq!(all("a/b/c"), [Path::new(""), Path::new("a"), Path::new("a/b")]);
        assert_eq!(all("a"), [Path::new("")]);
    }
}
