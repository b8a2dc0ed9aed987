//! A layer's directory as a tar: the same tree gives the same bytes, whoever writes them.
//!
//! Members are sorted by name within each directory, a directory before what is in it; owners are numbers, times
//! whole seconds; overlayfs's marks become whiteouts; sockets are left out; the root is mentioned only if it differs
//! from what every root is (0755, owned by root).

use crate::blobs::{finished, hasher};
use crate::marks;
use crate::tar::{LONGEST_PATH, Member, MemberKind, TarError, Writer};
use crate::{StoreError, Times};
use oci::Digest;
use ring::digest::Context;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{set_times, xattrs};

/// How deep directories may be nested; each level holds a descriptor.
const DEEPEST: usize = 400;
/// Attributes that belong to this host and not to the layer.
const LOCAL: [&[u8]; 3] = [b"security.evm", b"security.ima", b"security.selinux"];

/// Writes a layer's tar and returns the bytes of its regular files.
pub(crate) fn write(root: &Path, into: &mut dyn Write) -> Result<u64, StoreError> {
    run(root, into, true)
}

/// Returns the length of the tar, without reading files.
pub(crate) fn size(root: &Path) -> Result<u64, StoreError> {
    let mut counted = Counted(0);
    run(root, &mut counted, false)?;
    Ok(counted.0)
}

fn run(root: &Path, into: &mut dyn Write, with_data: bool) -> Result<u64, StoreError> {
    let directory = open_root(root)?;
    let mut walk = TarWalk {
        writer: Writer::new(into),
        root,
        linked: HashMap::new(),
        size: 0,
        with_data,
    };
    let stat = fstat(&directory).map_err(SysError::on("look at", root))?;
    let attributes = attributes(directory.as_fd(), root)?;
    if stat.st_mode & 0o7777 != 0o755 || (stat.st_uid, stat.st_gid) != (0, 0) || !attributes.is_empty() {
        walk.append(
            b".",
            &stat,
            MemberKind::Directory,
            &attributes,
            &mut std::io::empty(),
        )?;
    }
    walk.directory(directory.as_fd(), &[], 0)?;
    walk.writer.finish()?;
    Ok(walk.size)
}

struct TarWalk<'a> {
    writer: Writer<&'a mut dyn Write>,
    root: &'a Path,
    /// Files with several names, by device and inode, and the first name.
    linked: HashMap<(u64, u64), Vec<u8>>,
    size: u64,
    with_data: bool,
}

impl TarWalk<'_> {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), StoreError> {
        let here = self.shown(path);
        let refuse = |name: &OsStr, why| StoreError::Snapshot {
            path: here.join(name),
            why,
        };
        if depth > DEEPEST {
            return Err(refuse(OsStr::new(""), "directories are nested too deep"));
        }
        let mut entries = sys::path::entries_of(directory).map_err(SysError::on("list", &here))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let name = entry.name.as_bytes();
            let mut member = path.to_vec();
            if !member.is_empty() {
                member.push(b'/');
            }
            let above = member.len();
            member.extend_from_slice(name);
            if member.len() >= LONGEST_PATH {
                return Err(refuse(&entry.name, "its path is longer than 4096 bytes"));
            }
            if name.starts_with(marks::WHITEOUT) {
                return Err(refuse(
                    &entry.name,
                    "in a layer, a name that begins with '.wh.' means a removed file",
                ));
            }
            let on = here.join(&entry.name);
            let stat = statat(directory, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(SysError::on("look at", &on))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if marks::is_whiteout(&stat) {
                member.truncate(above);
                member.extend_from_slice(marks::WHITEOUT);
                member.extend_from_slice(name);
                self.mark(&member)?;
                continue;
            }
            if kind == FileType::Socket {
                continue;
            }
            if kind != FileType::Directory && stat.st_nlink > 1 {
                let first = self.linked.get(&(stat.st_dev, stat.st_ino)).cloned();
                if let Some(first) = first {
                    self.append(
                        &member,
                        &stat,
                        MemberKind::HardLink(&first),
                        &[],
                        &mut std::io::empty(),
                    )?;
                    continue;
                }
                self.linked.insert((stat.st_dev, stat.st_ino), member.clone());
            }
            let flags = match kind {
                FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
                FileType::RegularFile => OFlags::RDONLY | OFlags::NONBLOCK,
                _ => OFlags::PATH,
            };
            let opened = openat(
                directory,
                &entry.name,
                flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(SysError::on("open", &on))?;
            let attributes = attributes(opened.as_fd(), &on)?;
            let mut nothing = std::io::empty();
            match kind {
                FileType::Directory => {
                    self.append(&member, &stat, MemberKind::Directory, &attributes, &mut nothing)?;
                    let all =
                        xattrs(&opened).map_err(SysError::on("read the extended attributes of", &on))?;
                    if marks::is_opaque(&all) {
                        let mut mark = member.clone();
                        mark.push(b'/');
                        mark.extend_from_slice(marks::OPAQUE_NAME);
                        self.mark(&mark)?;
                    }
                    self.directory(opened.as_fd(), &member, depth + 1)?;
                }
                FileType::RegularFile => self.file(&member, &stat, &attributes, opened)?,
                FileType::Symlink => {
                    let target = readlinkat(directory, &entry.name, Vec::new())
                        .map_err(SysError::on("read the link", &on))?;
                    let kind = MemberKind::Symlink(target.as_bytes());
                    self.append(&member, &stat, kind, &attributes, &mut nothing)?;
                }
                FileType::Fifo => self.append(&member, &stat, MemberKind::Fifo, &attributes, &mut nothing)?,
                FileType::CharacterDevice => {
                    let kind = MemberKind::Character(major(stat.st_rdev), minor(stat.st_rdev));
                    self.append(&member, &stat, kind, &attributes, &mut nothing)?;
                }
                FileType::BlockDevice => {
                    let kind = MemberKind::Block(major(stat.st_rdev), minor(stat.st_rdev));
                    self.append(&member, &stat, kind, &attributes, &mut nothing)?;
                }
                FileType::Socket | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        stat: &Stat,
        attributes: &[(Vec<u8>, Vec<u8>)],
        opened: OwnedFd,
    ) -> Result<(), StoreError> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.size += size;
        if self.with_data {
            return self.append(
                path,
                stat,
                MemberKind::File(size),
                attributes,
                &mut File::from(opened),
            );
        }
        let mut zeros = std::io::repeat(0).take(size);
        self.append(path, stat, MemberKind::File(size), attributes, &mut zeros)
    }

    fn append(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: MemberKind<'_>,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        data: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let member = Member {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            xattrs,
        };
        self.writer.append(&member, data).map_err(|error| match error {
            TarError::Read(source) => SysError::io("read", self.shown(path), &source).into(),
            error => error.into(),
        })
    }

    /// Writes an empty file that says that something is gone. It has no life of its own, so its header is constant.
    fn mark(&mut self, path: &[u8]) -> Result<(), StoreError> {
        let member = Member {
            path,
            kind: MemberKind::File(0),
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: &[],
        };
        Ok(self.writer.append(&member, &mut std::io::empty())?)
    }

    fn shown(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }
}

/// Extended attributes: names and values.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Returns the attributes that belong to the layer.
fn attributes(of: BorrowedFd<'_>, path: &Path) -> Result<Attributes, StoreError> {
    let all = xattrs(of).map_err(SysError::on("read the extended attributes of", path))?;
    marks::refuse_pointer(&all, path)?;
    Ok(all
        .into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value))
        .filter(|(name, _)| !marks::is_overlays(name) && !LOCAL.contains(&name.as_slice()))
        .collect())
}

fn open_root(root: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty()).map_err(SysError::on("open the directory", root))
}

/// Makes what overlayfs wrote fit to be a lower directory, and sets times: strips the attributes that tie it to the
/// mount it was written in, and refuses what only that mount could read.
pub(crate) fn settle(root: &Path, times: Times) -> Result<(), StoreError> {
    let directory = open_root(root)?;
    settle_directory(&directory, root, times, 0)?;
    settle_one(&directory, root, times)
}

fn settle_directory(directory: &OwnedFd, path: &Path, times: Times, depth: usize) -> Result<(), StoreError> {
    if depth > DEEPEST {
        return Err(StoreError::Snapshot {
            path: path.to_owned(),
            why: "directories are nested too deep",
        });
    }
    for entry in sys::path::entries_of(directory).map_err(SysError::on("list", path))? {
        let on = path.join(&entry.name);
        let is_directory = entry.kind == FileType::Directory;
        let flags = if is_directory {
            OFlags::RDONLY | OFlags::DIRECTORY
        } else {
            OFlags::PATH
        };
        let opened = openat(
            directory,
            &entry.name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(SysError::on("open", &on))?;
        if is_directory {
            settle_directory(&opened, &on, times, depth + 1)?;
        }
        settle_one(&opened, &on, times)?;
    }
    Ok(())
}

fn settle_one(opened: &OwnedFd, path: &Path, times: Times) -> Result<(), StoreError> {
    let all = xattrs(opened).map_err(SysError::on("read the extended attributes of", path))?;
    marks::refuse_pointer(&all, path)?;
    for (name, value) in all {
        let bytes = name.as_bytes();
        if !marks::is_overlays(bytes) || marks::is_opaque(&[(name.clone(), value)]) {
            continue;
        }
        sys::path::remove_xattr(opened, &name)
            .map_err(SysError::on("remove an extended attribute of", path))?;
    }
    let stat = fstat(opened).map_err(SysError::on("look at", path))?;
    let Some(time) = times.instead_of(stat.st_mtime) else {
        return Ok(());
    };
    let time = rustix::fs::Timespec {
        tv_sec: time,
        tv_nsec: 0,
    };
    let time = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    match set_times(opened, &time) {
        // A directory is open for reading, not by O_PATH, and so cannot be named by an empty path before 5.8.
        Err(Errno::NOENT) => rustix::fs::futimens(opened, &time),
        result => result,
    }
    .map_err(SysError::on("set the times of", path))?;
    Ok(())
}

/// A writer that hashes what passes.
pub(crate) struct Hashed<W> {
    inner: W,
    hash: Context,
}

impl<W: Write> Hashed<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: hasher(),
        }
    }

    pub(crate) fn digest(self) -> Digest {
        finished(self.hash)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let length = self.inner.write(data)?;
        self.hash.update(&data[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0 += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
