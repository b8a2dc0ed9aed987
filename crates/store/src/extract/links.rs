//! Hard links: to a file of the same layer, or to one of a lower layer, which is copied.

use super::{ExtractError, Extractor, Place, as_path, clean, kernel, refused, shown, split};
use crate::marks;
use crate::namespace::judge_owner;
use crate::tar::Entry;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, linkat, openat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use sys::SysError;

impl Extractor<'_> {
    pub(super) fn hard_link(
        &mut self,
        place: &Place,
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        let refuse = |why| refused(&entry.path, why);
        let target = clean(&entry.link).or(Err(refuse("its target leads out of the layer")))?;
        let (_, name) = split(&target);
        if name.is_empty() {
            return Err(refuse("it is a hard link to the root"));
        }
        let found = match self
            .directories
            .tree()
            .map_err(failed("open the root for"))?
            .parent(&as_path(&target))
        {
            Ok((directory, name)) => match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if marks::is_whiteout(&stat) => None,
                Ok(stat) => Some((directory, stat)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(failed("look at the target of")(errno)),
            },
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => None,
            Err(error) => return Err(error.into()),
        };
        let Some((directory, stat)) = found else {
            return self.link_to_lower(place, path, &target, entry);
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(refuse("it is a hard link to a directory"));
        }
        loop {
            match linkat(&directory, name, &*place.directory, &place.name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {
                    let there = place.stat().map_err(failed("look at"))?;
                    if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) {
                        return Ok(());
                    }
                    self.clear(place, &entry.path)?;
                }
                Err(errno) => return Err(failed("make the hard link")(errno)),
            }
        }
    }

    /// Makes the link a copy of a lower layer's file; further links to the same file become links to that copy.
    fn link_to_lower(
        &mut self,
        place: &Place,
        path: &[u8],
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), ExtractError> {
        if let Some(copy) = self.copied.get(target).cloned()
            && copy != path
        {
            let to_copy = Entry {
                link: copy,
                path: entry.path.clone(),
                xattrs: Vec::new(),
                sparse: None,
                ..*entry
            };
            return self.hard_link(place, path, &to_copy);
        }
        if self.lower.is_empty() {
            return Err(ExtractError::NeedsParents {
                member: shown(&entry.path),
                target: shown(target),
            });
        }
        let Some(file) = self.lower_file(target)? else {
            return Err(refused(&entry.path, "its target is in no layer"));
        };
        self.clear_if_there(place, entry)?;
        self.copy_file(place, file, entry)?;
        self.copied.insert(target.to_vec(), path.to_vec());
        Ok(())
    }

    fn clear_if_there(&mut self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        match place.stat() {
            Ok(_) => self.clear(place, &entry.path),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(kernel("look at", &entry.path)(errno)),
        }
    }

    /// Finds a regular file as the union of the lower layers shows it.
    fn lower_file(&self, target: &[u8]) -> Result<Option<OwnedFd>, ExtractError> {
        let path = as_path(target);
        for layer in self.lower {
            match layer.locate(&path, false) {
                Ok(found) => {
                    let stat = fstat(&found).map_err(kernel("look at", target))?;
                    return Ok(match FileType::from_raw_mode(stat.st_mode) {
                        FileType::RegularFile => Some(layer.open_regular(&path)?),
                        _ => None,
                    });
                }
                Err(error) if error.errno == Errno::NOENT => {
                    let (above, _) = split(target);
                    if marks::is_hidden_below(layer, &as_path(above))? {
                        return Ok(None);
                    }
                }
                // A whiteout or a file stands in the way.
                Err(error) if error.errno == Errno::NOTDIR => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn copy_file(&mut self, place: &Place, from: OwnedFd, entry: &Entry) -> Result<(), ExtractError> {
        let failed = |action| kernel(action, &entry.path);
        let stat = fstat(&from).map_err(failed("look at the target of"))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to =
            openat(&*place.directory, &place.name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("make"))?;
        let (mut from, mut to) = (File::from(from), File::from(to));
        let length = std::io::copy(&mut from, &mut to)
            .map_err(|error| SysError::io("copy the target of the hard link", shown(&entry.path), &error))?;
        self.size = self.size.saturating_add(length);
        self.written = self.written.saturating_add(length);
        let place_path = place.open_path().map_err(failed("open"))?;
        judge_owner(sys::path::set_owner(&place_path, (stat.st_uid, stat.st_gid)))
            .map_err(failed("set the owner of"))?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))
            .map_err(failed("set the mode of"))?;
        for (name, value) in
            sys::path::xattrs(&from).map_err(failed("read the attributes of the target of"))?
        {
            use std::os::unix::ffi::OsStrExt;
            if !marks::is_overlays(name.as_bytes()) {
                sys::path::set_xattr(&to, &name, &value).map_err(failed("set an extended attribute of"))?;
            }
        }
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        rustix::fs::futimens(&to, &super::times((stat.st_mtime, nanoseconds)))
            .map_err(failed("set the times of"))
    }
}
