//! `ADD` of a local archive: its members, made by descriptor in the root filesystem.
//!
//! An archive that begins like a tar, once inflated, is one; anything else is copied as it is. Owners and modes are
//! the archive's, unless `--chown` and `--chmod` say otherwise.

use crate::error::{Failure, StepError};
use crate::place::Placement;
use crate::source::{Found, Kind};
use rustix::fs::{FileType, Mode, makedev};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use store::{Archive, ArchiveMember, MemberType};
use sys::SysError;

/// Unpacks the source into the destination if it is an archive, and says whether it was.
pub(crate) fn unpack(placement: &Placement<'_>, found: &Found) -> Result<bool, Failure> {
    if found.items.first().is_none_or(|item| item.kind != Kind::File) {
        return Ok(false);
    }
    let name = found.name.to_string_lossy().into_owned();
    let file = File::from(crate::digests::open(placement.from, &found.at)?);
    let recognised = Archive::recognise(file).map_err(|source| StepError::ArchiveRead {
        archive: name.clone(),
        source,
    })?;
    let Some(mut archive) = recognised else {
        return Ok(false);
    };
    let base = placement.directory(placement.destination)?;
    let wrong = |source| StepError::Archive {
        archive: name.clone(),
        source,
    };
    while let Some(member) = archive.next_member().map_err(wrong)? {
        if (placement.cancelled)() {
            return Err(Failure::Cancelled);
        }
        let inside = |path: &[u8]| {
            below(&base, path).ok_or_else(|| StepError::ArchivePath {
                archive: name.clone(),
                member: String::from_utf8_lossy(path).into_owned(),
            })
        };
        let target = inside(&member.path)?;
        if target == base && member.kind != MemberType::Directory {
            continue;
        }
        if let Some(parent) = target.parent() {
            placement.directory(parent)?;
        }
        make(placement, &mut archive, &member, &target, &wrong, &inside)?;
    }
    Ok(true)
}

fn make(
    placement: &Placement<'_>,
    archive: &mut Archive,
    member: &ArchiveMember,
    target: &Path,
    wrong: &dyn Fn(store::TarError) -> StepError,
    inside: &dyn Fn(&[u8]) -> Result<PathBuf, StepError>,
) -> Result<(), Failure> {
    let to = placement.to;
    let is_directory = member.kind == MemberType::Directory;
    let bits = placement
        .mode
        .map_or(member.mode, |change| change.apply(member.mode, is_directory));
    let mode = Mode::from_raw_mode(bits);
    let owner = placement.owner.unwrap_or(member.owner);
    if !is_directory {
        placement.clear(target)?;
    }
    let special = |kind| {
        let (major, minor) = member.device;
        to.make_node(target, kind, mode, makedev(major, minor))
    };
    match member.kind {
        MemberType::Directory => {
            placement.directory(target)?;
        }
        MemberType::File => {
            let mut file = File::from(to.create_file(target, Mode::from_raw_mode(0o600))?);
            archive.write_data(&mut file).map_err(wrong)?;
        }
        MemberType::HardLink => {
            to.hard_link(&inside(&member.link)?, target)?;
            return Ok(());
        }
        MemberType::Symlink => {
            to.symlink(OsStr::from_bytes(&member.link), target)?;
            to.set_owner(target, owner)?;
            return Ok(());
        }
        MemberType::Fifo => special(FileType::Fifo)?,
        MemberType::Character => special(FileType::CharacterDevice)?,
        MemberType::Block => special(FileType::BlockDevice)?,
    }
    let made = to.locate(target, is_directory)?;
    Placement::attributes(&made, target, owner, Some(mode))?;
    for (name, value) in &member.xattrs {
        if name == b"security.capability" || name.starts_with(b"user.") {
            sys::path::set_xattr(&made, OsStr::from_bytes(name), value)
                .map_err(SysError::on("set an extended attribute of", target))?;
        }
    }
    Ok(())
}

/// Returns where a member lies; `None` if its path leads out of the archive.
fn below(base: &Path, path: &[u8]) -> Option<PathBuf> {
    let mut result = base.to_owned();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            name => result.push(OsStr::from_bytes(name)),
        }
    }
    Some(result)
}
