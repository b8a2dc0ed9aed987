//! Paths inside a tree that a container or an image controls.
//!
//! Every walk is `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` below a directory descriptor, so that links,
//! `..` and swaps by another process cannot lead out of it (CVE-2018-15664, CVE-2021-30465, CVE-2024-45310).
//! Where one openat2(2) cannot do it (making directories on the way, telling where links lead), the walk goes from
//! component to component, each opened `O_NOFOLLOW` below the last, and links are read and followed here.

mod remove;
mod walk;

use crate::SysError;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timestamps, Uid, XattrFlags, chmod,
    chownat, fstat, linkat, mkdirat, mknodat, openat, openat2, readlinkat, renameat, renameat_with,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The kernel answers EAGAIN when somebody renames on the path of an openat2 walk; whoever keeps that up longer
/// than this is attacking, and gets the error.
const RACES: u32 = 1000;

/// A directory tree whose content is not trusted, held by descriptor. Absolute paths and links resolve inside it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, never `.` or `..`.
    pub name: OsString,
    /// What it is; `Unknown` where the filesystem does not tell.
    pub kind: FileType,
}

impl Tree {
    /// Wraps a descriptor (`O_PATH` will do) of the tree's top directory, which may be a detached mount.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Opens the tree at a trusted host path; the last component must not be a link.
    pub fn open(path: &Path) -> Result<Self, SysError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(Self::new)
            .map_err(SysError::on("open the directory", path))
    }

    /// Opens `path` inside the tree, following links inside it.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, SysError> {
        self.try_open(path, flags, mode)
            .map_err(SysError::on("open", path))
    }

    fn try_open(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        open_resolving(self.root.as_fd(), path, flags, mode, resolve)
    }

    /// Reads a regular file of at most `limit` bytes, following links inside the tree. A FIFO, device or larger
    /// file is an error, never a hang (containerd CVE-2026-47262).
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, SysError> {
        let file = self.open_regular(path)?;
        crate::fs::read_limited(file, limit, path)
    }

    /// Opens a regular file for reading, following links inside the tree. Anything else is an error, and is not
    /// opened even for a moment: opening a FIFO hangs, and opening some devices does things.
    pub fn open_regular(&self, path: &Path) -> Result<OwnedFd, SysError> {
        let found = self.open_at(path, OFlags::PATH, Mode::empty())?;
        let stat = fstat(&found).map_err(SysError::on("look at", path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => reopen(&found, OFlags::RDONLY, path),
            FileType::Directory => Err(SysError::on("read", path)(Errno::ISDIR)),
            _ => Err(SysError::on("read the special file", path)(Errno::INVAL)),
        }
    }

    /// Returns what `path` is; with `follow`, of the end of the links.
    pub fn stat(&self, path: &Path, follow: bool) -> Result<Stat, SysError> {
        let found = self.locate(path, follow)?;
        fstat(found).map_err(SysError::on("look at", path))
    }

    /// Returns an `O_PATH` descriptor of `path`; without `follow`, of the link itself if it ends in one.
    pub fn locate(&self, path: &Path, follow: bool) -> Result<OwnedFd, SysError> {
        let flags = if follow {
            OFlags::PATH
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        self.open_at(path, flags, Mode::empty())
    }

    /// Returns the descriptor (`O_PATH`) of the directory that holds `path`, links followed, and its last
    /// component, which may not exist. A path that ends in `/`, `.` or `..` is an error.
    pub fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), SysError> {
        let bytes = path.as_os_str().as_bytes();
        let (above, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(0) => (&b"/"[..], &bytes[1..]),
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(SysError::on("find a name at the end of", path)(Errno::INVAL));
        }
        let directory = self
            .try_open(
                Path::new(OsStr::from_bytes(above)),
                OFlags::PATH | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .map_err(SysError::on("open the directory above", path))?;
        Ok((directory, OsString::from_vec(name.to_vec())))
    }

    /// Makes `path` and what is missing above it, each with `mode` and `owner` (uid, gid); what is there stays as
    /// it is. Links inside the tree are followed. Returns an `O_PATH` descriptor of the directory.
    pub fn create_dir_all(&self, path: &Path, mode: Mode, owner: (u32, u32)) -> Result<OwnedFd, SysError> {
        match self.try_open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {}
            result => return result.map_err(SysError::on("open the directory", path)),
        }
        walk::create(self.root.as_fd(), path, mode, owner).map_err(SysError::on("make the directory", path))
    }

    /// Returns where `path` leads when its links are followed, as an absolute path inside the tree. Missing last
    /// components are kept as they are.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, SysError> {
        walk::resolve(self.root.as_fd(), path).map_err(SysError::on("follow", path))
    }

    /// Removes `path` and what is below it, never following a link and never crossing into another mount. That it
    /// is not there is no error.
    pub fn remove_all(&self, path: &Path) -> Result<(), SysError> {
        let (directory, name) = match self.parent(path) {
            Err(error) if error.errno == Errno::NOENT => return Ok(()),
            result => result?,
        };
        remove::remove(&directory, &name).map_err(SysError::on("remove", path))
    }

    /// Removes what is in the directory `path`, but not the directory.
    pub fn remove_contents(&self, path: &Path) -> Result<(), SysError> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        for entry in entries_of(&directory).map_err(SysError::on("list", path))? {
            remove::remove(&directory, &entry.name)
                .map_err(SysError::on("remove", path.join(&entry.name)))?;
        }
        Ok(())
    }

    /// Lists a directory, links followed; sorted by name.
    pub fn entries(&self, path: &Path) -> Result<Vec<Entry>, SysError> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = entries_of(&directory).map_err(SysError::on("list", path))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Makes a new regular file for writing, with exactly this mode whatever the umask; an error if anything has
    /// that name, a link included.
    pub fn create_file(&self, path: &Path, mode: Mode) -> Result<OwnedFd, SysError> {
        let (directory, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, &name, flags, mode).map_err(SysError::on("make", path))?;
        rustix::fs::fchmod(&file, mode).map_err(SysError::on("set the mode of", path))?;
        Ok(file)
    }

    /// Makes one directory, with exactly this mode whatever the umask, in a directory that is there.
    pub fn create_dir(&self, path: &Path, mode: Mode) -> Result<OwnedFd, SysError> {
        let (directory, name) = self.parent(path)?;
        mkdirat(&directory, &name, mode).map_err(SysError::on("make the directory", path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&directory, &name, flags, Mode::empty()).map_err(SysError::on("open", path))?;
        rustix::fs::fchmod(&made, mode).map_err(SysError::on("set the mode of", path))?;
        Ok(made)
    }

    /// Makes a symbolic link at `path`.
    pub fn symlink(&self, target: &OsStr, path: &Path) -> Result<(), SysError> {
        let (directory, name) = self.parent(path)?;
        symlinkat(target, directory, &name).map_err(SysError::on("make the link", path))
    }

    /// Makes a further name for a file; `existing` itself is taken, not what it may point to.
    pub fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), SysError> {
        let (from, old) = self.parent(existing)?;
        let (to, new) = self.parent(path)?;
        linkat(from, &old, to, &new, AtFlags::empty()).map_err(SysError::on("make the hard link", path))
    }

    /// Makes a FIFO, socket or device. `device` is a device's number as `makedev` makes it, else 0.
    pub fn make_node(&self, path: &Path, kind: FileType, mode: Mode, device: u64) -> Result<(), SysError> {
        let (directory, name) = self.parent(path)?;
        mknodat(&directory, &name, kind, mode, device)
            .map_err(SysError::on("make the special file", path))?;
        let made = openat(
            &directory,
            &name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(SysError::on("open", path))?;
        set_mode(&made, mode).map_err(SysError::on("set the mode of", path))
    }

    /// Renames within the tree, replacing what is at `to` as rename(2) does.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), SysError> {
        let (old_directory, old) = self.parent(from)?;
        let (new_directory, new) = self.parent(to)?;
        renameat(old_directory, &old, new_directory, &new).map_err(SysError::on("rename something to", to))
    }

    /// Renames within the tree with renameat2(2)'s flags.
    pub fn rename_with(
        &self,
        from: &Path,
        to: &Path,
        flags: rustix::fs::RenameFlags,
    ) -> Result<(), SysError> {
        let (old_directory, old) = self.parent(from)?;
        let (new_directory, new) = self.parent(to)?;
        renameat_with(old_directory, &old, new_directory, &new, flags)
            .map_err(SysError::on("rename something to", to))
    }

    /// Removes one file, link or special file, not a directory.
    pub fn remove_file(&self, path: &Path) -> Result<(), SysError> {
        let (directory, name) = self.parent(path)?;
        unlinkat(directory, &name, AtFlags::empty()).map_err(SysError::on("remove", path))
    }

    /// Removes one empty directory.
    pub fn remove_dir(&self, path: &Path) -> Result<(), SysError> {
        let (directory, name) = self.parent(path)?;
        unlinkat(directory, &name, AtFlags::REMOVEDIR).map_err(SysError::on("remove the directory", path))
    }

    /// Returns what the link `path` holds.
    pub fn read_link(&self, path: &Path) -> Result<OsString, SysError> {
        let link = self.locate(path, false)?;
        readlinkat(link, "", Vec::new())
            .map(|target| OsString::from_vec(target.into_bytes()))
            .map_err(SysError::on("read the link", path))
    }

    /// Sets owner and group of `path` itself, not of what it may point to. The kernel clears setuid bits.
    pub fn set_owner(&self, path: &Path, owner: (u32, u32)) -> Result<(), SysError> {
        set_owner(self.locate(path, false)?, owner).map_err(SysError::on("set the owner of", path))
    }

    /// Sets the mode of `path` itself; a link has none, and is an error.
    pub fn set_mode(&self, path: &Path, mode: Mode) -> Result<(), SysError> {
        set_mode(self.locate(path, false)?, mode).map_err(SysError::on("set the mode of", path))
    }

    /// Sets the times of `path` itself, not of what it may point to.
    pub fn set_times(&self, path: &Path, times: &Timestamps) -> Result<(), SysError> {
        set_times(self.locate(path, false)?, times).map_err(SysError::on("set the times of", path))
    }

    /// Returns the extended attributes of `path` itself, sorted by name.
    pub fn xattrs(&self, path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, SysError> {
        xattrs(self.locate(path, false)?).map_err(SysError::on("read the extended attributes of", path))
    }

    /// Sets an extended attribute of `path` itself.
    pub fn set_xattr(&self, path: &Path, name: &OsStr, value: &[u8]) -> Result<(), SysError> {
        set_xattr(self.locate(path, false)?, name, value)
            .map_err(SysError::on("set an extended attribute of", path))
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// openat2(2), tried again when somebody renames on the way.
pub fn open_resolving(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    // The kernel refuses an empty path, and a mode where nothing can be made.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let mode = if flags.intersects(OFlags::CREATE | OFlags::TMPFILE.difference(OFlags::DIRECTORY)) {
        mode
    } else {
        Mode::empty()
    };
    let mut races = 0;
    loop {
        match openat2(directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if races < RACES => races += 1,
            result => return result,
        }
    }
}

/// Opens a directory in a directory for reading, never through a link; `None` if something else is mounted there.
pub fn enter(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match open_resolving(directory.as_fd(), Path::new(name), flags, Mode::empty(), resolve) {
        Err(Errno::XDEV) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Opens what an `O_PATH` descriptor names once more, for use; `path` is for the error's text only.
pub fn reopen(found: impl AsFd, flags: OFlags, path: &Path) -> Result<OwnedFd, SysError> {
    rustix::fs::open(magic_link(found.as_fd()), flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(SysError::on("open", path))
}

/// The only path by which calls that refuse `O_PATH` descriptors reach what such a descriptor names.
fn magic_link(found: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}

/// Sets owner and group of what a descriptor (`O_PATH` will do) names, a link included. The kernel clears setuid
/// and setgid bits and file capabilities.
pub fn set_owner(found: impl AsFd, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    chownat(
        found,
        "",
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::EMPTY_PATH,
    )
}

/// Sets the mode of what a descriptor (`O_PATH` will do) names; a link is an error.
pub fn set_mode(found: impl AsFd, mode: Mode) -> rustix::io::Result<()> {
    chmod(magic_link(found.as_fd()), mode)
}

/// Sets the times of what a descriptor (`O_PATH` will do) names, a link included.
pub fn set_times(found: impl AsFd, times: &Timestamps) -> rustix::io::Result<()> {
    utimensat(found, "", times, AtFlags::EMPTY_PATH)
}

/// Sets an extended attribute of what a descriptor (`O_PATH` will do) names, a link included.
pub fn set_xattr(found: impl AsFd, name: &OsStr, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::setxattr(magic_link(found.as_fd()), name, value, XattrFlags::empty())
}

/// Removes an extended attribute of what a descriptor (`O_PATH` will do) names; that there is none is no error.
pub fn remove_xattr(found: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::removexattr(magic_link(found.as_fd()), name) {
        Err(Errno::NODATA) => Ok(()),
        result => result,
    }
}

/// Returns the extended attributes of what a descriptor (`O_PATH` will do) names, sorted by name; none where the
/// filesystem has none.
pub fn xattrs(found: impl AsFd) -> rustix::io::Result<Vec<(OsString, Vec<u8>)>> {
    let path = magic_link(found.as_fd());
    let mut names: Vec<u8> = Vec::new();
    loop {
        let size = match rustix::fs::listxattr_query(&path) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            size => size?,
        };
        names.clear();
        names.reserve(size);
        match rustix::fs::listxattr(&path, spare_capacity(&mut names)) {
            // It grew meanwhile.
            Err(Errno::RANGE) => {}
            result => {
                result?;
                break;
            }
        }
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = OsStr::from_bytes(name);
        if let Some(value) = xattr_at(&path, name)? {
            found.push((name.to_owned(), value));
        }
    }
    found.sort();
    Ok(found)
}

fn xattr_at(path: &str, name: &OsStr) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    loop {
        let size = match rustix::fs::getxattr_query(path, name) {
            Err(Errno::NODATA) => return Ok(None),
            size => size?,
        };
        value.clear();
        value.reserve(size.max(1));
        match rustix::fs::getxattr(path, name, spare_capacity(&mut value)) {
            Err(Errno::RANGE) => {}
            Err(Errno::NODATA) => return Ok(None),
            result => {
                result?;
                return Ok(Some(value));
            }
        }
    }
}

/// Lists an open directory (not `O_PATH`) from its start, in the filesystem's order.
pub fn entries_of(directory: impl AsFd) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for_each_entry(directory.as_fd(), |name, kind| {
        entries.push(Entry {
            name: OsStr::from_bytes(name.to_bytes()).to_owned(),
            kind,
        });
        Ok(())
    })?;
    Ok(entries)
}

/// Calls `each` with every name of an open directory, from its start, without `.` and `..`.
fn for_each_entry(
    directory: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            each(name, entry.file_type())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
