//! The new mount API (fsopen, fsmount, move_mount, open_tree, mount_setattr): mounts are descriptors first, and come
//! into sight only when they are moved somewhere. A detached mount vanishes with its descriptor.

use crate::SysError;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Mounts a union of directories, detached. `lower` has the topmost first. Without `upper` it is read-only.
/// Falls back from `lowerdir+` (kernel 6.7) to one option string, trying, not looking at versions.
/// `options` are further overlayfs options such as `("userxattr", "")`.
pub fn overlay(
    lower: &[impl AsRef<Path>],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    todo!("{:?} {upper:?} {options:?}", lower.len())
}
