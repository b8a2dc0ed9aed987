//! Files in and out of a tree that somebody else may be changing at the same time: what `cp` and `export` are made of.
//!
//! No path is ever walked twice: every member is reached from its directory's descriptor, and nothing is followed
//! (CVE-2018-15664, CVE-2026-41568).

use crate::archive::with_sendable;
use crate::marks;
use crate::tar::{Entry, Kind, LONGEST_PATH, Member, MemberKind, Reader, TarError, Writer};
use crate::{ExtractError, StoreError, inflate};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatxFlags, Timespec, Timestamps, fstat, ftruncate, linkat, major,
    minor, mkdirat, mknodat, openat, readlinkat, statat, statx, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{Tree, entries_of, set_mode, set_owner, set_times, set_xattr, xattrs};

/// How deep directories may be nested; each level holds a descriptor.
const DEEPEST: usize = 400;

/// Writes `name` in `directory` as a tar whose top member is called `member` (empty: the content of a directory alone).
/// Nothing is followed. What is mounted below comes with it.
pub fn write_tree(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    member: &OsStr,
    into: &mut dyn Write,
) -> Result<(), StoreError> {
    let mut walk = Walk {
        writer: Writer::new(into),
        linked: HashMap::new(),
        alone: None,
    };
    walk.entry(directory, name, member.as_bytes(), 0)?;
    walk.writer.finish()?;
    Ok(())
}

/// Writes what is in a root directory as a tar, without what is mounted below it: a mount point is an empty directory,
/// or an empty file, as `under` (the trees that the root is a union of, the topmost first) has it.
pub fn write_root(root: BorrowedFd<'_>, under: &[Tree], into: &mut dyn Write) -> Result<(), StoreError> {
    let top = OsStr::new(".");
    let mut walk = Walk {
        writer: Writer::new(into),
        linked: HashMap::new(),
        alone: Some((mount_of(root, top)?, under)),
    };
    walk.entry(root, top, b"", 0)?;
    walk.writer.finish()?;
    Ok(())
}

/// Writes a directory and what is in it as a tar whose members' names begin with `./`, without what is mounted below it.
pub fn write_alone(directory: BorrowedFd<'_>, into: &mut dyn Write) -> Result<(), StoreError> {
    let top = OsStr::new(".");
    let mut walk = Walk {
        writer: Writer::new(into),
        linked: HashMap::new(),
        alone: Some((mount_of(directory, top)?, &[])),
    };
    walk.entry(directory, top, b".", 0)?;
    walk.writer.finish()?;
    Ok(())
}

struct Walk<'a> {
    writer: Writer<&'a mut dyn Write>,
    /// Files with several names, by device and inode, and the first name.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// The mount that is not to be left, and what lies under other mounts.
    alone: Option<(u64, &'a [Tree])>,
}

impl Walk<'_> {
    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        member: &[u8],
        depth: usize,
    ) -> Result<(), StoreError> {
        let shown = Path::new(OsStr::from_bytes(member)).to_owned();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match openat(directory, name, flags, Mode::empty()) {
            // It went while we looked at its neighbours.
            Err(Errno::NOENT) if depth > 0 => return Ok(()),
            found => found.map_err(SysError::on("open", &shown))?,
        };
        let stat = fstat(&found).map_err(SysError::on("look at", &shown))?;
        if let Some((mount, under)) = self.alone
            && mount_of(found.as_fd(), OsStr::new(""))? != mount
        {
            return self.mount_point(under, &stat, member, &shown);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)).cloned() {
                return self.append(
                    member,
                    &stat,
                    MemberKind::HardLink(&first),
                    &found,
                    &mut std::io::empty(),
                );
            }
            self.linked.insert((stat.st_dev, stat.st_ino), member.to_vec());
        }
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match kind {
            FileType::Directory => return self.directory(&found, &stat, member, depth),
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                // The same inode, not whatever has its name by now.
                let file = reopen(&found).map_err(SysError::on("open", &shown))?;
                // A file that grows meanwhile is copied as long as it was.
                let mut data = File::from(file).take(size);
                return self.append(member, &stat, MemberKind::File(size), &found, &mut data);
            }
            FileType::Symlink => {
                let link =
                    readlinkat(&found, "", Vec::new()).map_err(SysError::on("read the link", &shown))?;
                return self.append(
                    member,
                    &stat,
                    MemberKind::Symlink(link.to_bytes()),
                    &found,
                    &mut std::io::empty(),
                );
            }
            FileType::BlockDevice => MemberKind::Block(device.0, device.1),
            FileType::CharacterDevice => MemberKind::Character(device.0, device.1),
            FileType::Fifo => MemberKind::Fifo,
            // A socket without its server is nothing.
            _ => return Ok(()),
        };
        self.append(member, &stat, kind, &found, &mut std::io::empty())
    }

    /// Writes a mount point as it is under its mount, empty.
    fn mount_point(
        &mut self,
        under: &[Tree],
        mounted: &Stat,
        member: &[u8],
        path: &Path,
    ) -> Result<(), StoreError> {
        let is_directory = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // A whiteout, or something of another kind, lies further down than where it is mounted on.
        let hidden = under
            .iter()
            .filter_map(|tree| tree.stat(path, false).ok())
            .find(|stat| is_directory(stat) == is_directory(mounted) && !marks::is_whiteout(stat));
        let stat = hidden.as_ref().unwrap_or(mounted);
        let kind = if is_directory(mounted) {
            MemberKind::Directory
        } else {
            MemberKind::File(0)
        };
        let member = Member {
            path: member,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            xattrs: &[],
        };
        Ok(self.writer.append(&member, &mut std::io::empty())?)
    }

    fn directory(
        &mut self,
        found: &OwnedFd,
        stat: &Stat,
        member: &[u8],
        depth: usize,
    ) -> Result<(), StoreError> {
        let shown = Path::new(OsStr::from_bytes(member)).to_owned();
        if depth > DEEPEST || member.len() >= LONGEST_PATH {
            return Err(SysError::on("copy so deep a directory as", &shown)(Errno::NAMETOOLONG).into());
        }
        if !member.is_empty() {
            self.append(member, stat, MemberKind::Directory, found, &mut std::io::empty())?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(found, ".", flags, Mode::empty()).map_err(SysError::on("open", &shown))?;
        let mut entries = entries_of(&opened).map_err(SysError::on("list", &shown))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let mut path = member.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name.as_bytes());
            self.entry(opened.as_fd(), &entry.name, &path, depth + 1)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        member: &[u8],
        stat: &Stat,
        kind: MemberKind<'_>,
        found: &OwnedFd,
        data: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let of_its_own = !matches!(kind, MemberKind::HardLink(_) | MemberKind::Symlink(_));
        let attributes = if of_its_own { attributes(found) } else { Vec::new() };
        let member = Member {
            path: member,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            xattrs: &attributes,
        };
        Ok(self.writer.append(&member, data)?)
    }
}

/// A filesystem that has no attributes, like /proc, has none to copy.
fn attributes(found: &OwnedFd) -> Vec<(Vec<u8>, Vec<u8>)> {
    let read = xattrs(found).unwrap_or_default();
    read.into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value))
        .filter(|(name, _)| !marks::is_overlays(name))
        .collect()
}

/// Opens for reading what an `O_PATH` descriptor of a regular file names.
fn reopen(found: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let path = sys::mount::descriptor_path(found.as_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn mount_of(directory: BorrowedFd<'_>, name: &OsStr) -> Result<u64, SysError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let found = statx(directory, name, flags, StatxFlags::MNT_ID).map_err(SysError::on("look at", name))?;
    Ok(found.stx_mnt_id)
}

/// What is done with a directory that stands where a member is none, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// Nothing; the archive is refused.
    Refuse,
    /// It is taken away with all that is in it.
    Replace,
}

/// Whose what is unpacked becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whose the archive says that it is.
    Archived,
    /// A user's and a group's, whatever the archive says.
    Given(u32, u32),
}

/// Unpacks a tar, plain or compressed, into a directory. What is there is replaced; of directories `clash` says whether they
/// are.
pub fn unpack_into(
    directory: OwnedFd,
    tar: &mut dyn Read,
    owner: Owner,
    clash: Clash,
) -> Result<(), StoreError> {
    unpack(directory, tar, owner, false, None, clash)
}

/// Unpacks a tar, plain or compressed, into a directory that becomes what the archive says of its top.
pub fn unpack_tree(directory: OwnedFd, tar: &mut dyn Read) -> Result<(), StoreError> {
    unpack(directory, tar, Owner::Archived, true, None, Clash::Refuse)
}

/// Like [`unpack_tree`], for an archive that nobody here has made: device nodes are refused, and more than `most` bytes.
pub fn unpack_strange(directory: OwnedFd, tar: &mut dyn Read, most: u64) -> Result<(), StoreError> {
    unpack(directory, tar, Owner::Archived, true, Some(most), Clash::Refuse)
}

fn unpack(
    directory: OwnedFd,
    tar: &mut dyn Read,
    owner: Owner,
    with_top: bool,
    most: Option<u64>,
    clash: Clash,
) -> Result<(), StoreError> {
    with_sendable(tar, move |tar| {
        let failed = |source| StoreError::Inflate {
            what: "the archive".into(),
            source,
        };
        let inflated = inflate::with_start(tar)
            .and_then(inflate::inflate)
            .map_err(failed)?
            .take(most.unwrap_or(u64::MAX));
        // What is cut off here ends in the middle of a member, which the reader refuses.
        let mut reader = Reader::new(BufReader::with_capacity(256 << 10, inflated));
        let mut unpack = Unpack {
            tree: Tree::new(directory),
            owner,
            with_top,
            devices: most.is_none(),
            clash,
            directories: Vec::new(),
        };
        while let Some(entry) = reader.next()? {
            unpack.member(&mut reader, &entry)?;
        }
        unpack.finish()
    })
}

struct Unpack {
    tree: Tree,
    owner: Owner,
    /// What is said of the top goes for the directory itself.
    with_top: bool,
    /// Whether device nodes are made.
    devices: bool,
    clash: Clash,
    /// Directories whose times are set when all is in them.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Unpack {
    fn member<R: BufRead>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), StoreError> {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        let refuse = |why| StoreError::Extract {
            layer: "archive".into(),
            source: ExtractError::Refused { member: shown(), why },
        };
        let cleaned = crate::extract::clean(&entry.path).map_err(refuse)?;
        if cleaned.is_empty() {
            if self.with_top && entry.kind == Kind::Directory {
                let top = self.tree.locate(Path::new("."), false)?;
                return self.furnish(entry, &top, OsStr::new("."), Path::new("."));
            }
            return Ok(());
        }
        if !self.devices && matches!(entry.kind, Kind::Block | Kind::Character) {
            return Err(refuse("device nodes have no place in it"));
        }
        let path = Path::new(OsStr::from_bytes(&cleaned));
        let (above, name) = self.place(path)?;
        let on = |action| SysError::on(action, path);
        let there = match statat(&above, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(on("look at")(errno).into()),
        };
        match (entry.kind, there) {
            (Kind::Directory, None) => {
                mkdirat(&above, &name, Mode::RWXU).map_err(on("make the directory"))?;
            }
            (Kind::Directory, Some(FileType::Directory)) => {}
            (Kind::Directory, Some(_)) => {
                if self.clash == Clash::Refuse {
                    return Err(refuse("it is a directory, and there is something else"));
                }
                unlinkat(&above, &name, AtFlags::empty()).map_err(on("replace"))?;
                mkdirat(&above, &name, Mode::RWXU).map_err(on("make the directory"))?;
            }
            (_, Some(FileType::Directory)) => {
                if self.clash == Clash::Refuse {
                    return Err(refuse("there is a directory, and it is something else"));
                }
                self.tree.remove_all(path)?;
                self.make(reader, entry, &above, &name, path)?;
            }
            (_, there) => {
                if there.is_some() {
                    unlinkat(&above, &name, AtFlags::empty()).map_err(on("replace"))?;
                }
                self.make(reader, entry, &above, &name, path)?;
            }
        }
        if entry.kind == Kind::HardLink {
            return Ok(());
        }
        self.furnish(entry, &above, &name, path)
    }

    /// Opens the directory above a member, making it if it is missing.
    fn place(&self, path: &Path) -> Result<(OwnedFd, OsString), SysError> {
        match self.tree.parent(path) {
            Err(error) if error.errno == Errno::NOENT => {
                if let Some(above) = path.parent() {
                    self.tree
                        .create_dir_all(above, Mode::from_raw_mode(0o755), (0, 0))?;
                }
                self.tree.parent(path)
            }
            place => place,
        }
    }

    fn make<R: BufRead>(
        &self,
        reader: &mut Reader<R>,
        entry: &Entry,
        above: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), StoreError> {
        let on = |action| SysError::on(action, path);
        let node = |kind| {
            let device = rustix::fs::makedev(entry.device.0, entry.device.1);
            mknodat(above, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
        match entry.kind {
            Kind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(above, name, flags, Mode::RUSR | Mode::WUSR).map_err(on("make"))?;
                write_data(reader, entry, &file, path)?;
            }
            Kind::Symlink => {
                symlinkat(OsStr::from_bytes(&entry.link), above, name).map_err(on("make the link"))?;
            }
            Kind::HardLink => {
                let (from, first) = self.tree.parent(Path::new(OsStr::from_bytes(&entry.link)))?;
                linkat(&from, &first, above, name, AtFlags::empty()).map_err(on("make the link"))?;
            }
            Kind::Block => node(FileType::BlockDevice).map_err(on("make the node"))?,
            Kind::Character => node(FileType::CharacterDevice).map_err(on("make the node"))?,
            Kind::Fifo => node(FileType::Fifo).map_err(on("make the node"))?,
            Kind::Directory => {}
        }
        Ok(())
    }

    /// Sets owner, attributes, mode and times, in this order: a change of the owner takes set-id bits away.
    fn furnish(
        &mut self,
        entry: &Entry,
        above: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), StoreError> {
        let on = |action| SysError::on(action, path);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(above, name, flags, Mode::empty()).map_err(on("open"))?;
        let owner = match self.owner {
            Owner::Archived => (entry.uid, entry.gid),
            Owner::Given(user, group) => (user, group),
        };
        set_owner(&made, owner).map_err(on("set the owner of"))?;
        let time = Timespec {
            tv_sec: entry.mtime.0,
            tv_nsec: entry.mtime.1.into(),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        if entry.kind != Kind::Symlink {
            for (attribute, value) in &entry.xattrs {
                if marks::is_overlays(attribute) {
                    continue;
                }
                match set_xattr(&made, OsStr::from_bytes(attribute), value) {
                    Err(Errno::OPNOTSUPP) => {}
                    result => result.map_err(on("set an extended attribute of"))?,
                }
            }
            set_mode(&made, Mode::from_raw_mode(entry.mode & 0o7777)).map_err(on("set the mode of"))?;
        }
        set_times(&made, &times).map_err(on("set the times of"))?;
        if entry.kind == Kind::Directory {
            self.directories.push((path.to_owned(), times));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), StoreError> {
        for (path, times) in self.directories {
            match self.tree.set_times(&path, &times) {
                // A container that runs may have taken it away.
                Err(error) if error.errno == Errno::NOENT => {}
                set => set?,
            }
        }
        Ok(())
    }
}

fn write_data<R: BufRead>(
    reader: &mut Reader<R>,
    entry: &Entry,
    file: &OwnedFd,
    path: &Path,
) -> Result<(), StoreError> {
    let on = |action| SysError::on(action, path);
    let whole = [(0, entry.size)];
    let sparse: Option<Vec<(u64, u64)>> = entry.sparse.as_ref().map(|extents| {
        extents
            .iter()
            .map(|extent| (extent.offset, extent.length))
            .collect()
    });
    for &(start, length) in sparse.as_deref().unwrap_or(&whole) {
        let (mut offset, mut left) = (start, length);
        while left > 0 {
            let piece = reader.data()?;
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(TarError::Truncated("a member's data").into());
            }
            let written = rustix::io::pwrite(file, &piece[..count], offset).map_err(on("write"))?;
            reader.consume(written);
            offset += written as u64;
            left -= written as u64;
        }
    }
    if sparse.is_some() {
        ftruncate(file, entry.size).map_err(on("set the size of"))?;
    }
    Ok(())
}
