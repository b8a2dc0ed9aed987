//! Parts of procfs and sysfs that a container must not read, or not write.

use super::devices::host_device;
use crate::StartError;
use crate::error::{during, failed};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount::{self, Attributes, MountAttrFlags};
use sys::path::Tree;

/// Opens what is to be covered; `None` where this kernel or image has no such thing.
fn find(tree: &Tree, path: &Path) -> Result<Option<OwnedFd>, StartError> {
    match tree.locate(path, true) {
        Ok(found) => Ok(Some(found)),
        // Nothing else may be ignored: a mask that silently is not there is worse than no container (CVE-2025-31133).
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Covers paths with a read-only copy of themselves.
pub(super) fn make_read_only(tree: &Tree, paths: &[PathBuf]) -> Result<(), StartError> {
    let read_only = Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
        ..Attributes::default()
    };
    for path in paths {
        let what = || format!("cannot make '{}' read-only", path.display());
        let Some(target) = find(tree, path)? else { continue };
        let copy = mount::clone_tree(target.as_fd(), true).map_err(during(what()))?;
        mount::set_attributes(copy.as_fd(), read_only, true).map_err(during(what()))?;
        mount::attach(copy.as_fd(), target.as_fd()).map_err(during(what()))?;
    }
    Ok(())
}

/// Covers directories with one empty read-only tmpfs and everything else with the host's `/dev/null`.
///
/// Not with the container's own, which belongs to the container and may have become anything by now
/// (CVE-2025-31133); and the host's is looked at by descriptor before it is used. It is the very node that the host
/// uses, so the mount is read-only: root in the container could change its mode or owner, or put attributes on it.
/// Reading from a device and writing to it is still allowed.
pub(super) fn mask(tree: &Tree, paths: &[PathBuf]) -> Result<(), StartError> {
    // Once attached, the first mount of each can be copied, with its flags; a filesystem for each would take the
    // kernel much longer.
    let (mut null, mut empty): (Option<OwnedFd>, Option<OwnedFd>) = (None, None);
    for path in paths {
        let what = || format!("cannot mask '{}'", path.display());
        let Some(target) = find(tree, path)? else { continue };
        let stat = rustix::fs::fstat(&target).map_err(failed(format!("look at '{}'", path.display())))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let first = if is_directory { &mut empty } else { &mut null };
        if let Some(first) = first {
            let cover = mount::clone_tree(first.as_fd(), false).map_err(during(what()))?;
            mount::attach(cover.as_fd(), target.as_fd()).map_err(during(what()))?;
            continue;
        }
        let cover = if is_directory {
            empty_directory().map_err(during(what()))?
        } else {
            null_device().map_err(|error| error.during(what()))?
        };
        mount::attach(cover.as_fd(), target.as_fd()).map_err(during(what()))?;
        *first = Some(cover);
    }
    Ok(())
}

fn null_device() -> Result<OwnedFd, StartError> {
    let device = host_device(
        Path::new("/dev/null"),
        FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    )?;
    let copy = mount::clone_tree(device.as_fd(), false)?;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attributes = Attributes {
        set: u64::from(read_only.bits()),
        ..Attributes::default()
    };
    mount::set_attributes(copy.as_fd(), attributes, false)?;
    Ok(copy)
}

fn empty_directory() -> Result<OwnedFd, sys::SysError> {
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount::filesystem(
        "tmpfs",
        Some("tmpfs"),
        &[("size", "0"), ("nr_inodes", "1"), ("mode", "755")],
        flags,
    )
}
