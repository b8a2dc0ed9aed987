//! Unpacking one layer's tar into an empty directory.
//!
//! The archive is an attacker's. Every member is made by descriptor in a directory that was reached without leaving
//! the root; what is in the way is replaced, never written through; nothing that is not a regular file made just now
//! is ever opened. Metadata of directories is set at the end, so that no set-group-id bit, default ACL or missing
//! permission gets between, and so that their times last.
//!
//! Whiteouts (OCI image spec, "Whiteouts") become overlayfs's: `.wh.x` a character device 0:0 called `x`, and
//! `.wh..wh..opq` the attribute `trusted.overlay.opaque`. They concern lower layers only, so neither their place
//! among the members nor members of the same name change what they mean.

mod directories;
mod links;

use crate::marks;
use crate::namespace::{judge_device, judge_owner};
use crate::tar::{Entry, Kind, Reader, TarError};
use directories::Directories;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, ftruncate, futimens, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use sys::SysError;
use sys::path::Tree;

/// How much a layer may unpack to. The defaults let every honest image through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most members of one layer.
    pub members: u64,
    /// Most bytes of one layer's files.
    pub bytes: u64,
    /// How many times larger than its blob a layer may be, once it has more than [`Limits::free_of_ratio`] bytes.
    pub ratio: u64,
    /// Bytes that may be reached at any ratio.
    pub free_of_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 4_000_000,
            bytes: 1 << 40,
            ratio: 200,
            free_of_ratio: 1 << 30,
        }
    }
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// A system call failed on a member.
    #[error("cannot {action} '{member}'")]
    Kernel {
        /// What was attempted.
        action: &'static str,
        /// The member.
        member: String,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// It is larger than any honest layer.
    #[error("'{member}' makes it larger than allowed ({what}); this looks like a decompression bomb")]
    Limit {
        /// Where the limit was passed.
        member: String,
        /// Which limit.
        what: String,
    },
    /// A hard link's target is not in this layer, and no lower layers were given.
    #[error("'{member}' is a hard link to '{target}', which is not in this layer")]
    NeedsParents {
        /// The link.
        member: String,
        /// What it links to.
        target: String,
    },
    /// A member says something that is not allowed.
    #[error("'{member}' is not allowed: {why}")]
    Refused {
        /// The member.
        member: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The tar itself is bad.
    #[error(transparent)]
    Tar(#[from] TarError),
}

/// What unpacking told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extracted {
    /// Bytes of the regular files.
    pub(crate) size: u64,
}

/// A layer being unpacked.
#[derive(Debug)]
pub(crate) struct Extractor<'a> {
    directories: Directories,
    /// The layers below, topmost first, for hard links that lead to them.
    lower: &'a [Tree],
    limits: Limits,
    /// Bytes of the blob that have been read.
    compressed: &'a AtomicU64,
    /// Whether new files get exactly the modes that are asked for.
    umask_is_clear: bool,
    /// Whose the files are that this process makes.
    own: (u32, u32),
    late: Vec<Late>,
    /// Where files of lower layers were copied to, by their path there.
    copied: HashMap<Vec<u8>, Vec<u8>>,
    members: u64,
    /// Bytes of data written.
    written: u64,
    size: u64,
}

/// Metadata of a directory, to be set at the end.
#[derive(Debug)]
struct Late {
    path: Vec<u8>,
    mtime: (i64, u32),
    /// Owner, mode and attributes, unless they are as they should be already.
    rest: Option<Box<LateRest>>,
}

#[derive(Debug)]
struct LateRest {
    owner: (u32, u32),
    mode: u32,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A place for a member: an open directory and a name in it.
struct Place {
    directory: std::rc::Rc<OwnedFd>,
    name: CString,
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(
        root: OwnedFd,
        lower: &'a [Tree],
        limits: Limits,
        compressed: &'a AtomicU64,
        umask_is_clear: bool,
    ) -> Self {
        Self {
            directories: Directories::new(root),
            lower,
            limits,
            compressed,
            umask_is_clear,
            own: (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
            late: Vec::new(),
            copied: HashMap::new(),
            members: 0,
            written: 0,
            size: 0,
        }
    }

    /// Unpacks all members.
    pub(crate) fn run<R: BufRead>(mut self, reader: &mut Reader<R>) -> Result<Extracted, ExtractError> {
        while let Some(entry) = reader.next()? {
            self.members += 1;
            if self.members > self.limits.members {
                return Err(self.limit(&entry.path, format!("{} members", self.limits.members)));
            }
            self.member(reader, &entry)?;
        }
        self.finish_directories()?;
        Ok(Extracted { size: self.size })
    }

    fn member<R: BufRead>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), ExtractError> {
        let refused = |why| refused(&entry.path, why);
        let path = clean(&entry.path).map_err(refused)?;
        if path.is_empty() {
            if entry.kind != Kind::Directory {
                return Err(refused("the layer's root must be a directory"));
            }
            self.late(path, entry, true);
            return Ok(());
        }
        let (above, name) = split(&path);
        // What aufs itself kept in its branches, at their top.
        if path.starts_with(marks::WHITEOUT_META) && name != marks::OPAQUE_NAME {
            return Ok(());
        }
        if above
            .split(|byte| *byte == b'/')
            .any(|part| part.starts_with(marks::WHITEOUT))
        {
            return Err(refused("it lies below a whiteout"));
        }
        if let Some(hidden) = name.strip_prefix(marks::WHITEOUT) {
            return self.whiteout(entry, above, name, hidden);
        }
        let place = self.place(above, name, &entry.path)?;
        match entry.kind {
            Kind::Directory => self.directory(&place, path, entry),
            Kind::File => self.file(&place, reader, entry),
            Kind::HardLink => self.hard_link(&place, &path, entry),
            Kind::Symlink => self.symlink(&place, entry),
            Kind::Block | Kind::Character | Kind::Fifo => self.node(&place, entry),
        }
    }

    fn place(&mut self, above: &[u8], name: &[u8], member: &[u8]) -> Result<Place, ExtractError> {
        let directory = self
            .directories
            .open(above)
            .map_err(kernel("make the directories above", member))?;
        let name = CString::new(name).or(Err(refused(member, "its name has a NUL in it")))?;
        Ok(Place { directory, name })
    }

    fn whiteout(
        &mut self,
        entry: &Entry,
        above: &[u8],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), ExtractError> {
        let failed = kernel("make the whiteout", &entry.path);
        if name == marks::OPAQUE_NAME {
            let directory = self
                .directories
                .open(above)
                .map_err(kernel("make", &entry.path))?;
            return marks::set_opaque(&*directory).map_err(failed);
        }
        if name.starts_with(marks::WHITEOUT_META) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(&entry.path, "it is a whiteout of nothing"));
        }
        let place = self.place(above, hidden, &entry.path)?;
        match mknodat(
            &*place.directory,
            &place.name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        ) {
            Err(Errno::EXIST) => {
                // The layer's own: it stays, and only hides what is below it.
                let stat = place.stat().map_err(kernel("look at", &entry.path))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    let directory = place.open_path().map_err(kernel("open", &entry.path))?;
                    marks::set_opaque(directory).map_err(failed)?;
                }
                Ok(())
            }
            result => result.map_err(failed),
        }
    }

    fn directory(&mut self, place: &Place, path: Vec<u8>, entry: &Entry) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        let mode = Mode::from_raw_mode(entry.mode & 0o1777);
        let mut explicit = !self.umask_is_clear;
        loop {
            match mkdirat(&*place.directory, &place.name, mode) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    let stat = place.stat().map_err(failed("look at"))?;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        explicit = true;
                        break;
                    }
                    self.clear(place, &entry.path)?;
                    if marks::is_whiteout(&stat) {
                        mkdirat(&*place.directory, &place.name, mode)
                            .map_err(failed("make the directory"))?;
                        let made = place.open_path().map_err(failed("open"))?;
                        marks::set_opaque(made).map_err(failed("make opaque"))?;
                        break;
                    }
                }
                Err(errno) => return Err(failed("make the directory")(errno)),
            }
        }
        self.late(path, entry, explicit);
        Ok(())
    }

    fn late(&mut self, path: Vec<u8>, entry: &Entry, explicit: bool) {
        let owner = (entry.uid, entry.gid);
        let explicit = explicit || owner != self.own || entry.mode & 0o6000 != 0 || !entry.xattrs.is_empty();
        self.late.push(Late {
            path,
            mtime: entry.mtime,
            rest: explicit.then(|| {
                Box::new(LateRest {
                    owner,
                    mode: entry.mode,
                    xattrs: entry
                        .xattrs
                        .iter()
                        .filter(|(name, _)| !marks::is_overlays(name))
                        .cloned()
                        .collect(),
                })
            }),
        });
    }

    fn finish_directories(&mut self) -> Result<(), ExtractError> {
        for late in std::mem::take(&mut self.late) {
            // A later member may have put something else in its place, or above it.
            let Some(directory) = self
                .directories
                .find(&late.path)
                .map_err(kernel("open", &late.path))?
            else {
                continue;
            };
            if let Some(rest) = &late.rest {
                judge_owner(sys::path::set_owner(&directory, rest.owner))
                    .map_err(kernel("set the owner of", &late.path))?;
                sys::path::set_mode(&directory, Mode::from_raw_mode(rest.mode))
                    .map_err(kernel("set the mode of", &late.path))?;
                for (name, value) in &rest.xattrs {
                    let set = sys::path::set_xattr(&directory, OsStr::from_bytes(name), value);
                    judge_xattr(name, set).map_err(kernel("set an extended attribute of", &late.path))?;
                }
            }
            sys::path::set_times(&directory, &times(late.mtime))
                .map_err(kernel("set the times of", &late.path))?;
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        place: &Place,
        reader: &mut Reader<R>,
        entry: &Entry,
    ) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode);
        let file = loop {
            match openat(&*place.directory, &place.name, flags, mode) {
                Err(Errno::EXIST) => self.clear(place, &entry.path)?,
                result => break result.map_err(failed("make"))?,
            }
        };
        self.size = self.size.saturating_add(entry.size);
        match &entry.sparse {
            None => self.copy(reader, &file, entry, None)?,
            Some(extents) => {
                ftruncate(&file, entry.size).map_err(failed("set the size of"))?;
                for extent in extents {
                    self.copy(reader, &file, entry, Some((extent.offset, extent.length)))?;
                }
            }
        }
        let foreign = (entry.uid, entry.gid) != self.own;
        if foreign {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            judge_owner(fchown(&file, Some(uid), Some(gid))).map_err(failed("set the owner of"))?;
        }
        // Giving a file away clears its set-id bits, and so does writing to it without privilege.
        if !self.umask_is_clear || entry.mode & 0o6000 != 0 {
            fchmod(&file, mode).map_err(failed("set the mode of"))?;
        }
        for (name, value) in &entry.xattrs {
            if !marks::is_overlays(name) {
                let set = fsetxattr(&file, OsStr::from_bytes(name), value, XattrFlags::empty());
                judge_xattr(name, set).map_err(failed("set an extended attribute of"))?;
            }
        }
        futimens(&file, &times(entry.mtime)).map_err(failed("set the times of"))
    }

    /// Copies the member's data to the file: all of it to the start, or the next so many bytes to an offset.
    fn copy<R: BufRead>(
        &mut self,
        reader: &mut Reader<R>,
        file: &OwnedFd,
        entry: &Entry,
        extent: Option<(u64, u64)>,
    ) -> Result<(), ExtractError> {
        let (mut offset, mut left) = extent.unwrap_or((0, u64::MAX));
        while left > 0 {
            let piece = reader.data()?;
            if piece.is_empty() {
                return if extent.is_some() {
                    Err(TarError::Truncated("a sparse file").into())
                } else {
                    Ok(())
                };
            }
            let piece = &piece[..usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()))];
            let length = match extent {
                None => rustix::io::write(file, piece),
                Some(_) => rustix::io::pwrite(file, piece, offset),
            };
            let length = match length {
                Ok(0) => return Err(kernel("write", &entry.path)(Errno::IO)),
                Err(Errno::INTR) => continue,
                result => result.map_err(kernel("write", &entry.path))?,
            };
            reader.consume(length);
            offset += length as u64;
            left -= length as u64;
            self.written += length as u64;
            if self.written > self.limits.free_of_ratio {
                self.check_bytes(&entry.path)?;
            }
        }
        Ok(())
    }

    fn check_bytes(&self, member: &[u8]) -> Result<(), ExtractError> {
        if self.written > self.limits.bytes {
            return Err(self.limit(member, format!("{} bytes", self.limits.bytes)));
        }
        let compressed = self.compressed.load(Ordering::Relaxed);
        if self.written / self.limits.ratio.max(1) > compressed {
            return Err(self.limit(member, format!("{} times its blob", self.limits.ratio)));
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads better beside its callers")]
    fn limit(&self, member: &[u8], what: String) -> ExtractError {
        ExtractError::Limit {
            member: shown(member),
            what,
        }
    }

    fn symlink(&mut self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        if entry.link.is_empty() || entry.link.contains(&0) {
            return Err(refused(&entry.path, "it is a link to nothing"));
        }
        let target = OsStr::from_bytes(&entry.link);
        loop {
            match symlinkat(target, &*place.directory, &place.name) {
                Err(Errno::EXIST) => self.clear(place, &entry.path)?,
                result => break result.map_err(failed("make the link"))?,
            }
        }
        self.dress(place, entry)
    }

    fn node(&mut self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        let (kind, device) = match entry.kind {
            Kind::Block => (FileType::BlockDevice, makedev(entry.device.0, entry.device.1)),
            Kind::Character if entry.device == (0, 0) => {
                return Err(refused(
                    &entry.path,
                    "a character device 0:0 is overlayfs's whiteout",
                ));
            }
            Kind::Character => (FileType::CharacterDevice, makedev(entry.device.0, entry.device.1)),
            _ => (FileType::Fifo, 0),
        };
        let mode = Mode::from_raw_mode(entry.mode);
        loop {
            match mknodat(&*place.directory, &place.name, kind, mode, device) {
                Err(Errno::EXIST) => self.clear(place, &entry.path)?,
                result if judge_device(result).map_err(failed("make the special file"))? => break,
                _ => return Ok(()),
            }
        }
        self.dress(place, entry)?;
        if !self.umask_is_clear || entry.mode & 0o6000 != 0 {
            let made = place.open_path().map_err(failed("open"))?;
            sys::path::set_mode(made, mode).map_err(failed("set the mode of"))?;
            self.times(place, entry)?;
        }
        Ok(())
    }

    /// Sets owner, attributes and times of something that must not be opened.
    fn dress(&self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        if (entry.uid, entry.gid) != self.own {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            judge_owner(chownat(
                &*place.directory,
                &place.name,
                Some(uid),
                Some(gid),
                flags,
            ))
            .map_err(kernel("set the owner of", &entry.path))?;
        }
        if entry.xattrs.iter().any(|(name, _)| !marks::is_overlays(name)) {
            let made = place.open_path().map_err(kernel("open", &entry.path))?;
            for (name, value) in entry.xattrs.iter().filter(|(name, _)| !marks::is_overlays(name)) {
                let set = sys::path::set_xattr(&made, OsStr::from_bytes(name), value);
                judge_xattr(name, set).map_err(kernel("set an extended attribute of", &entry.path))?;
            }
        }
        self.times(place, entry)
    }

    #[expect(clippy::unused_self, reason = "reads better beside its callers")]
    fn times(&self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        utimensat(
            &*place.directory,
            &place.name,
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(kernel("set the times of", &entry.path))
    }

    /// Removes what is in a member's way.
    fn clear(&mut self, place: &Place, member: &[u8]) -> Result<(), ExtractError> {
        // What is remembered as a directory may be what goes, or lie behind it.
        self.directories.forget();
        match unlinkat(&*place.directory, &place.name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                let above = place
                    .directory
                    .try_clone()
                    .map_err(|error| SysError::io("open the directory above", shown(member), &error))?;
                let name = OsStr::from_bytes(place.name.as_bytes());
                Ok(Tree::new(above).remove_all(Path::new(name))?)
            }
            Err(errno) => Err(kernel("replace", member)(errno)),
        }
    }
}

impl Place {
    fn stat(&self) -> rustix::io::Result<Stat> {
        statat(&*self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn open_path(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.directory.as_fd(), &self.name, flags, Mode::empty())
    }
}

/// Attributes that this filesystem cannot hold, or this user may not set, are left out where nothing depends on
/// them; a lost file capability would break the program, and is an error.
fn judge_xattr(name: &[u8], result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOTSUP) if !name.starts_with(b"security.capability") => Ok(()),
        Err(Errno::PERM) if !name.starts_with(b"security.capability") && !name.starts_with(b"user.") => {
            Ok(())
        }
        result => result,
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Reduces a member's path to its components, joined by single slashes; empty for the root.
fn clean(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut cleaned: Vec<u8> = Vec::with_capacity(path.len());
    if path.contains(&0) {
        return Err("its path has a NUL in it");
    }
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if cleaned.is_empty() {
                    return Err("its path leads out of the layer");
                }
                let end = cleaned.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                cleaned.truncate(end);
            }
            name => {
                if name.len() > 255 {
                    return Err("a name in its path is longer than 255 bytes");
                }
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(name);
            }
        }
    }
    Ok(cleaned)
}

/// Splits a cleaned path into the directory's and the last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn shown(member: &[u8]) -> String {
    String::from_utf8_lossy(member).into_owned()
}

fn refused(member: &[u8], why: &'static str) -> ExtractError {
    ExtractError::Refused {
        member: shown(member),
        why,
    }
}

fn kernel(action: &'static str, member: &[u8]) -> impl FnOnce(Errno) -> ExtractError {
    move |errno| ExtractError::Kernel {
        action,
        member: shown(member),
        errno,
    }
}

fn as_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths() {
        for (path, cleaned) in [
            ("a/b", Some("a/b")),
            ("/a//./b/", Some("a/b")),
            ("./", Some("")),
            ("a/../b", Some("b")),
            ("a/b/../../c", Some("c")),
            ("..", None),
            ("a/../../b", None),
            ("/../a", None),
            ("a\0b", None),
        ] {
            assert_eq!(
                clean(path.as_bytes()).ok().as_deref(),
                cleaned.map(str::as_bytes),
                "{path}"
            );
        }
        assert!(clean(&[b'a'; 256]).is_err());
    }
}
