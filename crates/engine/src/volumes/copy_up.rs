//! What an image has where a volume will be mounted is copied into the volume, once, while that is empty.
//!
//! Both sides are walked by descriptor: the image is a detached read-only union that nobody else sees, so a link in it
//! leads at most to another place in it (podman CVE-2019-10152, containerd CVE-2022-23648).

use crate::containers::invalid;
use crate::{Engine, EngineError, Locations};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
    copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, futimens, linkat, mkdirat, mknodat,
    openat, readlinkat, renameat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use store::Image;
use sys::SysError;
use sys::lock::Lock;
use sys::path::Tree;

/// Directories may lie this deep; each level holds two descriptors while it is copied.
const DEEPEST: usize = 200;
/// No extended attribute is larger (xattr(7)).
const LARGEST_ATTRIBUTE: usize = 64 << 10;
/// One call copies at most so much, so that a signal is not kept waiting.
const CHUNK: usize = 16 << 20;

/// An image, opened to fill volumes from.
#[derive(Debug)]
pub(crate) struct Filler {
    image: Tree,
}

impl Filler {
    /// Mounts the image, detached and read-only.
    pub(crate) fn open(engine: &Engine, image: &Image) -> Result<Self, EngineError> {
        let layers: Vec<_> = image.layers.iter().map(|layer| layer.id.clone()).collect();
        let union = engine.store.overlay(&layers, None, true);
        let root = sys::mount::overlay(&union.lower, None, &[])?;
        Ok(Self {
            image: Tree::new(root),
        })
    }

    /// Refuses a volume over something that is no directory.
    pub(crate) fn check(&self, target: &str) -> Result<(), EngineError> {
        match self.image.stat(Path::new(target), true) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => Err(invalid(
                format!("cannot mount volume over existing file, file exists {target}"),
            )),
            Err(error) if !matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Copies what the image has at `target` into the volume, unless one of the two is empty.
    pub(crate) fn fill(&self, locations: &Locations, name: &str, target: &str) -> Result<(), EngineError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = match self.image.open_at(Path::new(target), flags, Mode::empty()) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            source => source?,
        };
        let directory = locations.volume_directory(name);
        let lock = Lock::exclusive(&directory.join("lock"))?;
        let data = directory.join("_data");
        if !is_empty(&data)? {
            return Ok(());
        }
        let filling = directory.join("_filling");
        remove(&filling)?;
        std::fs::create_dir(&filling)
            .map_err(|error| SysError::io("make the directory", &filling, &error))?;
        sys::failpoint::pass("volume.filling");
        let copied = copy_tree(source.as_fd(), &filling).and_then(|()| {
            sys::failpoint::reach("volume.copied")?;
            // An empty directory is replaced by rename. Where a container that was made earlier already has it
            // mounted and empty, that container keeps the empty one: nobody else can be there, since this one is new.
            renameat(CWD, &filling, CWD, &data).map_err(SysError::on("fill the volume", &data))
        });
        if copied.is_err() {
            remove(&filling)?;
        }
        drop(lock);
        Ok(copied?)
    }
}

fn is_empty(directory: &Path) -> Result<bool, SysError> {
    let failed = |error: std::io::Error| SysError::io("read the directory", directory, &error);
    Ok(std::fs::read_dir(directory).map_err(failed)?.next().is_none())
}

fn remove(directory: &Path) -> Result<(), SysError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SysError::io("remove the directory", directory, &error))
        }
        _ => Ok(()),
    }
}

/// Copies the directory `source` onto the directory at `target`: content, owners, modes, times, links, attributes.
fn copy_tree(source: BorrowedFd<'_>, target: &Path) -> Result<(), SysError> {
    let target_fd = openat(
        CWD,
        target,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(SysError::on("open", target))?;
    let mut copy = Copy {
        top: target_fd.as_fd(),
        first_names: HashMap::new(),
        buffer: Vec::new(),
    };
    copy.directory(source, target_fd.as_fd(), &mut PathBuf::new(), 0)
}

struct Copy<'t> {
    top: BorrowedFd<'t>,
    /// Where in the target a file with several names was first written, by device and inode.
    first_names: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), SysError> {
        if depth > DEEPEST {
            return Err(SysError::on("copy so deep a directory as", &*path)(
                Errno::NAMETOOLONG,
            ));
        }
        let stat = rustix::fs::fstat(source).map_err(SysError::on("look at", &*path))?;
        for entry in Dir::read_from(source).map_err(SysError::on("read", &*path))? {
            let entry = entry.map_err(SysError::on("read", &*path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
            self.entry(source, target, name, path, depth)?;
            path.pop();
        }
        // Last, because writing into it has changed its times.
        self.attributes(source, target, &stat)
            .map_err(SysError::on("set the owner, mode and attributes of", &*path))
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), SysError> {
        let stat =
            statat(source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(SysError::on("look at", &*path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                return linkat(self.top, first, target, name, AtFlags::empty())
                    .map_err(SysError::on("link", &*path));
            }
            self.first_names.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        let open = |flags| {
            openat(
                source,
                name,
                flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::empty(),
            )
        };
        match kind {
            FileType::Directory => {
                mkdirat(target, name, Mode::RWXU).map_err(SysError::on("make", &*path))?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let inner = open(flags).map_err(SysError::on("open", &*path))?;
                let made = openat(
                    target,
                    name,
                    flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                    Mode::empty(),
                )
                .map_err(SysError::on("open", &*path))?;
                self.directory(inner.as_fd(), made.as_fd(), path, depth + 1)
            }
            FileType::RegularFile => {
                let file = open(OFlags::RDONLY).map_err(SysError::on("open", &*path))?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let made = openat(target, name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(SysError::on("make", &*path))?;
                self.content(&file, &made).map_err(SysError::on("copy", &*path))?;
                self.attributes(file.as_fd(), made.as_fd(), &stat)
                    .map_err(SysError::on("set the owner, mode and attributes of", &*path))
            }
            FileType::Symlink => {
                let link =
                    readlinkat(source, name, Vec::new()).map_err(SysError::on("read the link", &*path))?;
                symlinkat(link, target, name).map_err(SysError::on("make the link", &*path))?;
                let (uid, gid) = owner(&stat);
                chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(SysError::on("set the owner of", &*path))?;
                utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(SysError::on("set the times of", &*path))
            }
            // A socket without its server is nothing.
            FileType::Socket | FileType::Unknown => Ok(()),
            kind => {
                mknodat(target, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)
                    .map_err(SysError::on("make the node", &*path))?;
                let (uid, gid) = owner(&stat);
                chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(SysError::on("set the owner of", &*path))?;
                // It was made this moment in a directory that nobody else sees, so it is no link.
                rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())
                    .map_err(SysError::on("set the mode of", &*path))
            }
        }
    }

    fn content(&mut self, from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
        loop {
            match copy_file_range(from, None, to, None, CHUNK) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => break,
                Err(errno) => return Err(errno),
            }
        }
        self.buffer.resize(128 << 10, 0);
        loop {
            let count = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut self.buffer[..]))?;
            if count == 0 {
                return Ok(());
            }
            let mut rest = &self.buffer[..count];
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(to, rest))?;
                rest = &rest[written..];
            }
        }
    }

    /// Sets owner, extended attributes, mode and times, in this order: a change of the owner takes file capabilities
    /// and setuid bits away (chown(2)). A filesystem that has no attributes, or not this one, takes what it can.
    fn attributes(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        stat: &Stat,
    ) -> rustix::io::Result<()> {
        let (uid, gid) = owner(stat);
        fchown(to, Some(uid), Some(gid))?;
        self.buffer.resize(LARGEST_ATTRIBUTE, 0);
        let length = match flistxattr(from, &mut self.buffer[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            length => length?,
        };
        let names: Vec<CString> = self.buffer[..length]
            .split_inclusive(|&byte| byte == 0)
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
            .filter(|name| !name.to_bytes().starts_with(b"trusted.overlay."))
            .collect();
        for name in names {
            let length = match fgetxattr(from, &name, &mut self.buffer[..]) {
                Err(Errno::NODATA) => continue,
                length => length?,
            };
            match fsetxattr(to, &name, &self.buffer[..length], XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => {}
                result => result?,
            }
        }
        fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
        futimens(to, &times(stat))
    }
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn owners_modes_and_links_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (source, target) = (directory.path().join("source"), directory.path().join("target"));
        std::fs::create_dir_all(source.join("deep/er")).unwrap();
        std::fs::create_dir(&target).unwrap();
        std::fs::write(source.join("deep/file"), b"content").unwrap();
        std::fs::hard_link(source.join("deep/file"), source.join("twin")).unwrap();
        symlink("/etc/shadow", source.join("link")).unwrap();
        std::os::unix::fs::chown(source.join("deep/file"), Some(1000), Some(1001)).unwrap();
        std::fs::set_permissions(source.join("deep/file"), PermissionsExt::from_mode(0o4711)).unwrap();
        std::fs::set_permissions(&source, PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&source, Some(7), Some(8)).unwrap();
        let opened = std::fs::File::open(&source).unwrap();
        copy_tree(opened.as_fd(), &target).unwrap();
        let file = std::fs::metadata(target.join("deep/file")).unwrap();
        assert_eq!(
            (file.uid(), file.gid(), file.mode() & 0o7777),
            (1000, 1001, 0o4711)
        );
        assert_eq!(std::fs::read(target.join("deep/file")).unwrap(), b"content");
        assert_eq!(std::fs::metadata(target.join("twin")).unwrap().ino(), file.ino());
        assert_eq!(
            std::fs::read_link(target.join("link")).unwrap(),
            Path::new("/etc/shadow")
        );
        let top = std::fs::metadata(&target).unwrap();
        assert_eq!((top.uid(), top.gid(), top.mode() & 0o777), (7, 8, 0o700));
        assert!(target.join("deep/er").is_dir());
    }
}
