//! A mount that belongs to no container: what a volume's options ask for.

use super::mounts::{Source, flagged, make};
use super::options::Options;
use crate::StartError;
use std::os::fd::OwnedFd;
use std::path::Path;
use sys::mount::{self, MountAttrFlags};

/// Mounts `device`, a filesystem of the type `kind` or with `bind` among the options a directory, without attaching it
/// anywhere. The options are those of mount(8).
pub fn detached_mount(kind: &str, device: &str, options: &[String]) -> Result<OwnedFd, StartError> {
    let mut options = Options::parse(options);
    if options.bind {
        let path = Path::new(device);
        if let Some((key, _)) = options.data.first() {
            return Err(StartError::setup(format!("a bind has no option '{key}'")));
        }
        let copy = mount::open_tree(path, options.recursive)?;
        return match flagged(copy, path, &options)? {
            Source::Tree { copy, .. } => Ok(copy),
            _ => Err(StartError::setup("the bind came to something else")),
        };
    }
    // mount(2) has one flag for both, and a filesystem on a device that cannot be written needs the other one.
    let read_only = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    if options.own.set & read_only != 0 {
        options.data.push(("ro".to_owned(), String::new()));
    }
    make(kind, Some(device), &options)
}
