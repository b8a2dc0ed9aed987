//! Copies of trees: content, owners, modes, times, links, holes, extended attributes.
//!
//! Both sides are walked by descriptor, a component at a time and never through a link or onto another mount, because
//! what is copied belongs to containers. Where the filesystem can, a copy shares its blocks with the original
//! (ioctl_ficlone(2)); where it cannot, a file that is the same in an earlier copy becomes a further name of that.
//!
//! A [`Copier`] can be run again on the same target, and then does over only what has changed. A file is taken to be
//! unchanged if it is the same inode with the same size and ctime as when it was copied, if that ctime was not of the
//! last moment then (the clock of timestamps ticks slowly), and if its pages had been written out before, because a
//! program that writes through a mapping changes the ctime only with the first write to a page that is clean.

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens,
    ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::path::{Tree, enter, entries_of, reopen, xattrs};

/// Directories may lie this deep; each level holds three descriptors while it is copied.
const DEEPEST: usize = 200;
/// No extended attribute is larger (xattr(7)).
const LARGEST_ATTRIBUTE: usize = 64 << 10;
/// One call copies at most so much, so that a signal is not kept waiting.
const CHUNK: usize = 16 << 20;
/// How much is read at once.
const BUFFER: usize = 128 << 10;
/// A change may be later than its ctime says by the tick of the clock that timestamps are made by; this is far more.
const TICK: i64 = 1;
/// What statfs(2) says of filesystems whose ctimes tell every change, those through mappings included: bcachefs, btrfs,
/// ext4 and its elders, F2FS, XFS.
const CAREFUL: [u64; 5] = [0xca45_1a4e, 0x9123_683e, 0xef53, 0xf2f5_2010, 0x5846_5342];

/// What a pass over a tree came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Regular files.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Of these, bytes that were written anew.
    pub(crate) written: u64,
    /// Bytes of files that are names of an earlier copy's.
    pub(crate) shared: u64,
    /// Sockets, which are left out: without its server a socket is nothing.
    pub(crate) sockets: u64,
}

/// What is known of a file that was copied.
#[derive(Debug, Clone, Copy)]
struct Seen {
    ctime: (i64, i64),
    size: i64,
    copy: u64,
    /// Whether the ctime tells of every later change.
    settled: bool,
}

impl Seen {
    fn is_still(&self, stat: &Stat) -> bool {
        self.settled && self.size == stat.st_size && self.ctime == ctime(stat)
    }
}

/// A copy of a tree, perhaps made in several passes.
pub(crate) struct Copier<'c> {
    target: &'c Path,
    previous: Option<&'c Path>,
    cancelled: &'c (dyn Fn() -> bool + Sync),
    /// Where in the target a file with several names was first written, by device and inode.
    first_names: HashMap<(u64, u64), PathBuf>,
    seen: HashMap<(u64, u64), Seen>,
    /// Which file of the earlier copy stands for which file of the source.
    borrowed: HashMap<u64, (u64, u64)>,
    passes: u32,
    /// Another pass will follow: what the next one needs to know is found out.
    prepares: bool,
    /// Whether blocks can be shared, as far as it is known.
    reflinks: bool,
    buffer: Vec<u8>,
    other: Vec<u8>,
    report: Report,
}

/// Copies the directory `source` onto the empty directory at `target`.
pub(crate) fn copy_tree(source: BorrowedFd<'_>, target: &Path) -> Result<Report, SysError> {
    Copier::new(target, None, &|| false).pass(source)
}

/// Says whether a filesystem's ctimes tell every change of a file.
pub(crate) fn tells_changes(directory: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| {
        // Its type is signed on some machines.
        u64::try_from(found.f_type).is_ok_and(|magic| CAREFUL.contains(&(magic & 0xffff_ffff)))
    })
}

impl<'c> Copier<'c> {
    /// Will copy to the directory at `target`, a trusted path. Files that are the same in the earlier copy `previous`,
    /// which nobody writes to, are linked.
    pub(crate) fn new(
        target: &'c Path,
        previous: Option<&'c Path>,
        cancelled: &'c (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self {
            target,
            previous,
            cancelled,
            first_names: HashMap::new(),
            seen: HashMap::new(),
            borrowed: HashMap::new(),
            passes: 0,
            prepares: false,
            reflinks: true,
            buffer: Vec::new(),
            other: Vec::new(),
            report: Report::default(),
        }
    }

    /// Copies everything, while it may be changing, in order that the next pass has little to do.
    pub(crate) fn first_pass(&mut self, source: BorrowedFd<'_>) -> Result<Report, SysError> {
        // All at once, so that there is little left to wait for with each file.
        rustix::fs::syncfs(source).map_err(SysError::of("sync the filesystem that is to be copied"))?;
        self.prepares = true;
        let report = self.pass(source);
        self.prepares = false;
        report
    }

    /// Makes the target what the source is.
    pub(crate) fn pass(&mut self, source: BorrowedFd<'_>) -> Result<Report, SysError> {
        self.first_names.clear();
        self.report = Report::default();
        let source = enter(source, OsStr::new("."))
            .map_err(SysError::of("open the tree that is to be copied"))?
            .ok_or_else(|| SysError::of("open the tree that is to be copied")(Errno::XDEV))?;
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            openat(CWD, path, flags, Mode::empty()).map_err(SysError::on("open", path))
        };
        let target = open(self.target)?;
        let previous = self.previous.map(open).transpose()?;
        let place = Place {
            source: source.as_fd(),
            target: target.as_fd(),
            top: target.as_fd(),
            previous: previous.as_ref().map(AsFd::as_fd),
        };
        self.directory(place, &mut PathBuf::new(), 0)?;
        self.passes += 1;
        Ok(self.report)
    }
}

/// The same directory in the source, the target and the earlier copy.
#[derive(Clone, Copy)]
struct Place<'p> {
    source: BorrowedFd<'p>,
    target: BorrowedFd<'p>,
    /// The target's top.
    top: BorrowedFd<'p>,
    previous: Option<BorrowedFd<'p>>,
}

impl Copier<'_> {
    fn directory(&mut self, place: Place<'_>, path: &mut PathBuf, depth: usize) -> Result<(), SysError> {
        if depth > DEEPEST {
            return Err(SysError::on("copy so deep a directory as", &*path)(
                Errno::NAMETOOLONG,
            ));
        }
        let stat = fstat(place.source).map_err(SysError::on("look at", &*path))?;
        let entries = entries_of(place.source).map_err(SysError::on("read", &*path))?;
        if self.passes > 0 {
            let names: BTreeSet<&OsString> = entries.iter().map(|entry| &entry.name).collect();
            for there in entries_of(place.target).map_err(SysError::on("read the copy of", &*path))? {
                if !names.contains(&there.name) {
                    remove(place.target, &there.name)?;
                }
            }
        }
        for entry in entries {
            path.push(&entry.name);
            self.entry(place, &entry.name, path, depth)?;
            path.pop();
        }
        // Last, because writing into it has changed its times.
        self.attributes(place.source, place.target, &stat)
            .map_err(SysError::on("set the owner, mode and attributes of", &*path))
    }

    fn entry(
        &mut self,
        place: Place<'_>,
        name: &OsStr,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), SysError> {
        if (self.cancelled)() {
            return Err(SysError::on("copy", &*path)(Errno::CANCELED));
        }
        if self.passes > 0 && self.is_copied(place, name) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // By its descriptor it stays the same from here on, whatever takes its name.
        let found = match openat(place.source, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return self.is_gone(place, name),
            found => found.map_err(SysError::on("open", &*path))?,
        };
        let stat = fstat(&found).map_err(SysError::on("look at", &*path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut there = None;
        if self.passes > 0 {
            there = statat(place.target, name, AtFlags::SYMLINK_NOFOLLOW).ok();
            let keeps = |there: &Stat| {
                FileType::from_raw_mode(there.st_mode) == kind
                    && matches!(kind, FileType::Directory | FileType::RegularFile)
            };
            if there.is_some_and(|there| !keeps(&there)) {
                remove(place.target, name)?;
                there = None;
            }
        }
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.first_names.get(&identity(&stat)) {
                if there.is_some() {
                    remove(place.target, name)?;
                }
                return linkat(place.top, first, place.target, name, AtFlags::empty())
                    .map_err(SysError::on("link", &*path));
            }
            self.first_names.insert(identity(&stat), path.clone());
        }
        match kind {
            FileType::Directory => {
                if there.is_none() {
                    mkdirat(place.target, name, Mode::RWXU).map_err(SysError::on("make", &*path))?;
                }
                let into = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let made =
                    openat(place.target, name, into, Mode::empty()).map_err(SysError::on("open", &*path))?;
                let inner = match enter(place.source, name) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return self.is_gone(place, name),
                    inner => inner.map_err(SysError::on("open", &*path))?,
                };
                let Some(inner) = inner else {
                    // Another mount begins here: what is in it is not this tree's.
                    return furnish(&made, &stat).map_err(SysError::on("set the owner of", &*path));
                };
                let previous = place
                    .previous
                    .and_then(|previous| openat(previous, name, into, Mode::empty()).ok());
                let place = Place {
                    source: inner.as_fd(),
                    target: made.as_fd(),
                    top: place.top,
                    previous: previous.as_ref().map(AsFd::as_fd),
                };
                self.directory(place, path, depth + 1)
            }
            FileType::RegularFile => self.file(place, name, path, &found, there),
            FileType::Symlink => {
                let link =
                    readlinkat(&found, "", Vec::new()).map_err(SysError::on("read the link", &*path))?;
                symlinkat(link, place.target, name).map_err(SysError::on("make the link", &*path))?;
                furnish_link(place.target, name, &stat).map_err(SysError::on("set the owner of", &*path))
            }
            FileType::Socket | FileType::Unknown => {
                self.report.sockets += 1;
                Ok(())
            }
            kind => {
                mknodat(place.target, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)
                    .map_err(SysError::on("make the node", &*path))?;
                furnish_link(place.target, name, &stat).map_err(SysError::on("set the owner of", &*path))?;
                // It was made this moment in a directory that nobody else sees, so it is no link.
                rustix::fs::chmodat(
                    place.target,
                    name,
                    Mode::from_raw_mode(stat.st_mode),
                    AtFlags::empty(),
                )
                .map_err(SysError::on("set the mode of", &*path))
            }
        }
    }

    /// Says whether a file is as it was when it was copied. Of most that is all there is to do while containers stand
    /// still, so it takes two calls, and no descriptor.
    fn is_copied(&mut self, place: Place<'_>, name: &OsStr) -> bool {
        let look = |directory| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let Ok(stat) = look(place.source) else {
            return false;
        };
        let Some(seen) = self.seen.get(&identity(&stat)).filter(|_| stat.st_nlink == 1) else {
            return false;
        };
        let is_same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && seen.is_still(&stat)
            && look(place.target).is_ok_and(|copy| copy.st_ino == seen.copy);
        if is_same {
            self.report.files += 1;
            self.report.bytes += stat.st_size.unsigned_abs();
        }
        is_same
    }

    /// What goes while a tree is walked that is in use is not in the copy either.
    fn is_gone(&self, place: Place<'_>, name: &OsStr) -> Result<(), SysError> {
        if self.passes > 0 {
            remove(place.target, name)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        place: Place<'_>,
        name: &OsStr,
        path: &Path,
        found: &OwnedFd,
        there: Option<Stat>,
    ) -> Result<(), SysError> {
        let file = reopen(found, OFlags::RDONLY, path)?;
        if self.prepares {
            sys::fs::write_out(file.as_fd())?;
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let stat = fstat(&file).map_err(SysError::on("look at", path))?;
        let size = stat.st_size.unsigned_abs();
        self.report.files += 1;
        self.report.bytes += size;
        if let Some(there) = there {
            let seen = self.seen.get(&identity(&stat));
            if seen.is_some_and(|seen| seen.copy == there.st_ino && seen.is_still(&stat)) {
                return Ok(());
            }
            unlinkat(place.target, name, AtFlags::empty())
                .map_err(SysError::on("replace the copy of", path))?;
        }
        let copy = self.copy(place, name, path, &file, &stat)?;
        self.seen.insert(
            identity(&stat),
            Seen {
                ctime: ctime(&stat),
                size: stat.st_size,
                copy,
                settled: self.prepares && stat.st_ctime.saturating_add(TICK) < now,
            },
        );
        Ok(())
    }

    /// Copies a file, the cheapest way that there is; returns the copy's inode.
    fn copy(
        &mut self,
        place: Place<'_>,
        name: &OsStr,
        path: &Path,
        file: &OwnedFd,
        stat: &Stat,
    ) -> Result<u64, SysError> {
        let size = stat.st_size.unsigned_abs();
        let make = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            openat(place.target, name, flags, Mode::RUSR | Mode::WUSR).map_err(SysError::on("make", path))
        };
        let mut made = None;
        if self.reflinks && size > 0 {
            let clone = make()?;
            match ioctl_ficlone(&clone, file) {
                Ok(()) => made = Some(clone),
                Err(errno) => {
                    self.reflinks = !matches!(errno, Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY);
                    unlinkat(place.target, name, AtFlags::empty())
                        .map_err(SysError::on("remove the copy of", path))?;
                }
            }
        }
        let made = if let Some(made) = made {
            made
        } else {
            if let Some(shared) = self.link_previous(place, name, file, stat)? {
                self.report.shared += size;
                return Ok(shared);
            }
            let made = make()?;
            self.content(file, &made, size)
                .map_err(SysError::on("copy", path))?;
            self.report.written += size;
            made
        };
        self.attributes(file.as_fd(), made.as_fd(), stat)
            .map_err(SysError::on("set the owner, mode and attributes of", path))?;
        Ok(fstat(&made).map_err(SysError::on("look at", path))?.st_ino)
    }

    /// Links the earlier copy's file of this name if it is the same in all that a link shares; returns its inode.
    fn link_previous(
        &mut self,
        place: Place<'_>,
        name: &OsStr,
        file: &OwnedFd,
        stat: &Stat,
    ) -> Result<Option<u64>, SysError> {
        let Some(previous) = place.previous else {
            return Ok(None);
        };
        let Some(there) = open_same(previous, name, stat) else {
            return Ok(None);
        };
        let Ok(known) = fstat(&there) else {
            return Ok(None);
        };
        // Two files that were one then must not become one again.
        if self
            .borrowed
            .get(&known.st_ino)
            .is_some_and(|stands_for| *stands_for != identity(stat))
        {
            return Ok(None);
        }
        let is_same =
            xattrs(file).ok() == xattrs(&there).ok() && self.same_content(file, &there).unwrap_or(false);
        if !is_same {
            return Ok(None);
        }
        match linkat(previous, name, place.target, name, AtFlags::empty()) {
            Ok(()) => {
                self.borrowed.insert(known.st_ino, identity(stat));
                Ok(Some(known.st_ino))
            }
            // It has as many names as the filesystem allows; a copy begins anew.
            Err(Errno::MLINK) => Ok(None),
            Err(errno) => Err(SysError::on("link", name)(errno)),
        }
    }

    fn same_content(&mut self, one: &OwnedFd, two: &OwnedFd) -> rustix::io::Result<bool> {
        self.buffer.resize(BUFFER, 0);
        self.other.resize(BUFFER, 0);
        let mut offset = 0;
        loop {
            if (self.cancelled)() {
                return Err(Errno::CANCELED);
            }
            let count = read_whole(one, &mut self.buffer, offset)?;
            let other = read_whole(two, &mut self.other, offset)?;
            if self.buffer[..count] != self.other[..other] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
            offset += count as u64;
        }
    }

    /// Copies what is in a file, holes as holes.
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
        let mut offset = 0;
        while offset < size {
            let data = match rustix::fs::seek(from, SeekFrom::Data(offset)) {
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                Err(_has_no_holes) => offset,
                Ok(data) => data,
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(data))
                .unwrap_or(size)
                .min(size);
            if end <= data {
                break;
            }
            self.extent(from, to, data, end)?;
            offset = end;
        }
        ftruncate(to, size)
    }

    fn extent(&mut self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<()> {
        let (mut read, mut written) = (start, start);
        let mut by_kernel = true;
        while read < end {
            if (self.cancelled)() {
                return Err(Errno::CANCELED);
            }
            let left = usize::try_from(end - read).unwrap_or(usize::MAX);
            if by_kernel {
                match copy_file_range(from, Some(&mut read), to, Some(&mut written), left.min(CHUNK)) {
                    // Cut short while it was copied.
                    Ok(0) => return Ok(()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => by_kernel = false,
                    Err(errno) => return Err(errno),
                }
                continue;
            }
            self.buffer.resize(BUFFER, 0);
            let count = read_whole(from, &mut self.buffer[..left.min(BUFFER)], read)?;
            if count == 0 {
                return Ok(());
            }
            let mut rest = &self.buffer[..count];
            while !rest.is_empty() {
                let count = rustix::io::retry_on_intr(|| rustix::io::pwrite(to, rest, written))?;
                rest = &rest[count..];
                written += count as u64;
            }
            read = written;
        }
        Ok(())
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
        self.buffer.resize(LARGEST_ATTRIBUTE.max(BUFFER), 0);
        for name in attribute_names(from, &mut self.buffer)? {
            let length = match fgetxattr(from, &name, &mut self.buffer[..]) {
                Err(Errno::NODATA) => continue,
                length => length?,
            };
            match fsetxattr(to, &name, &self.buffer[..length], XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => {}
                result => result?,
            }
        }
        if self.passes > 0 {
            let kept = attribute_names(from, &mut self.buffer)?;
            for name in attribute_names(to, &mut self.buffer)? {
                if !kept.contains(&name) {
                    match rustix::fs::fremovexattr(to, &name) {
                        Err(Errno::NODATA) => {}
                        result => result?,
                    }
                }
            }
        }
        fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
        futimens(to, &times(stat))
    }
}

fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), SysError> {
    let directory = rustix::io::fcntl_dupfd_cloexec(directory, 3)
        .map_err(SysError::of("duplicate the descriptor of a directory"))?;
    Tree::new(directory).remove_all(Path::new(name))
}

/// Opens the file of this name if it is the same but perhaps for its content and attributes.
fn open_same(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Option<OwnedFd> {
    let there = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_same = there.st_mode == stat.st_mode
        && (there.st_uid, there.st_gid) == (stat.st_uid, stat.st_gid)
        && there.st_size == stat.st_size
        && (there.st_mtime, there.st_mtime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    is_same
        .then(|| openat(directory, name, flags, Mode::empty()).ok())
        .flatten()
}

/// Reads until the buffer is full or the file is at its end.
pub(super) fn read_whole(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> rustix::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer[filled..], at))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn attribute_names(file: BorrowedFd<'_>, buffer: &mut [u8]) -> rustix::io::Result<Vec<CString>> {
    let length = match flistxattr(file, &mut *buffer) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    Ok(buffer[..length]
        .split_inclusive(|&byte| byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
        .collect())
}

fn furnish(directory: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
    let (uid, gid) = owner(stat);
    fchown(directory, Some(uid), Some(gid))?;
    fchmod(directory, Mode::from_raw_mode(stat.st_mode))?;
    futimens(directory, &times(stat))
}

fn furnish_link(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> rustix::io::Result<()> {
    let (uid, gid) = owner(stat);
    chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn ctime(stat: &Stat) -> (i64, i64) {
    (
        stat.st_ctime,
        i64::try_from(stat.st_ctime_nsec).unwrap_or_default(),
    )
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
mod tests;
