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
/// (CVE-2025-31133); and the host's is looked at by descriptor before it is used.
pub(super) fn mask(tree: &Tree, paths: &[PathBuf]) -> Result<(), StartError> {
    let mut null: Option<OwnedFd> = None;
    // Once attached, the first mount of it can be copied; a filesystem for each would take the kernel much longer.
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let what = || format!("cannot mask '{}'", path.display());
        let Some(target) = find(tree, path)? else { continue };
        let stat = rustix::fs::fstat(&target).map_err(failed(format!("look at '{}'", path.display())))?;
        let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            if let Some(empty) = &empty {
                mount::clone_tree(empty.as_fd(), false).map_err(during(what()))?
            } else {
                let mount = empty_directory().map_err(during(what()))?;
                mount::attach(mount.as_fd(), target.as_fd()).map_err(during(what()))?;
                empty = Some(mount);
                continue;
            }
        } else {
            let device = match null {
                Some(ref device) => device,
                None => null.insert(host_device(
                    Path::new("/dev/null"),
                    FileType::CharacterDevice,
                    rustix::fs::makedev(1, 3),
                )?),
            };
            mount::clone_tree(device.as_fd(), false).map_err(during(what()))?
        };
        mount::attach(cover.as_fd(), target.as_fd()).map_err(during(what()))?;
    }
    Ok(())
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
