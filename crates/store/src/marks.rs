//! How a layer says that something below it is gone: in tars by AUFS's names, on disk by overlayfs's devices and
//! attributes (kernel documentation, filesystems/overlayfs, "whiteouts and opaque directories").

use crate::StoreError;
use crate::namespace::{Namespace, namespace};
use rustix::fs::{FileType, Stat, major, minor};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::SysError;
use sys::path::Tree;

/// What a whiteout's name in a tar begins with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// What AUFS's own files' names begin with.
pub(crate) const WHITEOUT_META: &[u8] = b".wh..wh.";
/// The file whose directory hides what is below it.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

const TRUSTED: &[u8] = b"trusted.overlay.";
const USER: &[u8] = b"user.overlay.";

/// Says whether an extended attribute is overlayfs's.
pub(crate) fn is_overlays(name: &[u8]) -> bool {
    name.starts_with(TRUSTED) || name.starts_with(USER)
}

/// Returns the attribute that makes a directory opaque for the mounts that this process can make: overlayfs in a
/// user namespace is mounted with `userxattr`, for `trusted.*` is out of reach there.
pub(crate) fn opaque_attribute() -> &'static OsStr {
    OsStr::new(match namespace() {
        Namespace::First => "trusted.overlay.opaque",
        Namespace::Ranges | Namespace::Single => "user.overlay.opaque",
    })
}

/// Makes a directory hide what is below it.
pub(crate) fn set_opaque(directory: impl AsFd) -> rustix::io::Result<()> {
    sys::path::set_xattr(directory, opaque_attribute(), b"y")
}

/// Says whether a directory with these attributes hides what is below it.
pub(crate) fn is_opaque(xattrs: &[(std::ffi::OsString, Vec<u8>)]) -> bool {
    xattrs.iter().any(|(name, value)| {
        value == b"y"
            && [TRUSTED, USER]
                .iter()
                .any(|prefix| name.as_bytes() == [prefix, &b"opaque"[..]].concat())
    })
}

/// Refuses a file or directory whose attributes say that overlayfs keeps only a pointer to its content there.
pub(crate) fn refuse_pointer(
    xattrs: &[(std::ffi::OsString, Vec<u8>)],
    path: &Path,
) -> Result<(), StoreError> {
    let is_pointer =
        |name: &[u8]| is_overlays(name) && (name.ends_with(b".redirect") || name.ends_with(b".metacopy"));
    if xattrs.iter().any(|(name, _)| is_pointer(name.as_bytes())) {
        return Err(StoreError::Snapshot {
            path: path.to_owned(),
            why: "overlayfs keeps only a pointer to its content there: the mount must have redirect_dir=off and \
                  metacopy=off",
        });
    }
    Ok(())
}

/// Says whether this is overlayfs's mark that something below is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0)
}

/// Says whether a layer hides what lower ones have at `path` or below it: the directory or one above it is opaque or
/// not a directory.
pub(crate) fn is_hidden_below(layer: &Tree, path: &Path) -> Result<bool, SysError> {
    for above in path.ancestors().filter(|above| !above.as_os_str().is_empty()) {
        match layer.locate(above, false) {
            Ok(found) => {
                let stat = rustix::fs::fstat(&found).map_err(SysError::on("look at", above))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Ok(true);
                }
                let xattrs =
                    sys::path::xattrs(found).map_err(SysError::on("read the attributes of", above))?;
                if is_opaque(&xattrs) {
                    return Ok(true);
                }
            }
            Err(error) if error.errno == Errno::NOENT => {}
            Err(error) if error.errno == Errno::NOTDIR => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
