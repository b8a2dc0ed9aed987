//! The container's view of its cgroups at `/sys/fs/cgroup`, read-only unless asked otherwise.
//!
//! With version 2 alone that is one mount. With version 1 it is a tmpfs with a directory for each hierarchy, which
//! shows the container's own cgroup as its top: by a cgroup namespace where there is one, otherwise by binding just
//! that directory.

use super::mounts::attach_flagged;
use super::options::Flags;
use crate::StartError;
use crate::error::{during, failed};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::mount::{self, Attributes, MountAttrFlags, Propagation};

/// A hierarchy as the host has it mounted.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version_2: bool,
    /// The directory of the hierarchy that the mount shows as its top.
    root: PathBuf,
    point: PathBuf,
    /// Controllers and name, as they are in `/proc/PID/cgroup`; empty for version 2.
    controllers: String,
}

/// Where the hierarchies are and where this process is in them. To be looked at before a cgroup namespace makes all
/// paths start at the process's own cgroup.
#[derive(Debug)]
pub(crate) struct View {
    mounts: String,
    own: String,
}

impl View {
    /// Takes a look.
    pub(crate) fn take() -> Result<Self, StartError> {
        Ok(Self {
            mounts: read("/proc/self/mountinfo")?,
            own: read("/proc/self/cgroup")?,
        })
    }
}

/// Mounts the view at `target`.
pub(super) fn attach(view: &View, target: BorrowedFd<'_>, flags: Flags) -> Result<(), StartError> {
    let hierarchies = parse_mounts(&view.mounts);
    let own = view.own.as_str();
    let bits = u32::try_from(flags.set).unwrap_or_default();
    let attributes = MountAttrFlags::from_bits_retain(bits);
    if hierarchies.iter().all(|hierarchy| hierarchy.version_2) {
        return match mount::filesystem("cgroup2", Some("cgroup"), &[], attributes) {
            Ok(mount) => mount::attach(mount.as_fd(), target).map_err(Into::into),
            // In a user namespace that did not make its cgroup namespace.
            Err(_) => match hierarchies.first() {
                Some(hierarchy) => attach_flagged(own_directory(hierarchy, own)?.as_fd(), target, flags),
                None => Err(StartError::setup("the host has no cgroup hierarchy mounted")),
            },
        };
    }
    let writable = attributes - MountAttrFlags::MOUNT_ATTR_RDONLY;
    let top = mount::filesystem("tmpfs", Some("cgroup"), &[("mode", "755")], writable)?;
    // Directories can be made before it is attached, mounts only after.
    let mut places = Vec::with_capacity(hierarchies.len());
    for hierarchy in &hierarchies {
        let Some(name) = hierarchy.point.file_name() else {
            continue;
        };
        places.push((hierarchy, make_directory(top.as_fd(), name)?));
        for controller in hierarchy
            .controllers
            .split(',')
            .filter(|each| OsStr::new(each) != name)
        {
            if controller.is_empty() || controller.contains('=') {
                continue;
            }
            match rustix::fs::symlinkat(name, &top, controller) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(format!("make the link '{controller}'"))(errno)),
            }
        }
    }
    mount::attach(top.as_fd(), target)?;
    for (hierarchy, place) in places {
        attach_flagged(own_directory(hierarchy, own)?.as_fd(), place.as_fd(), flags)?;
    }
    let read_only = Attributes {
        set: flags.set,
        clear: 0,
        propagation: Some(Propagation::Private),
    };
    mount::set_attributes(top.as_fd(), read_only, false).map_err(during("cannot finish the cgroup directory"))
}

fn read(path: &str) -> Result<String, StartError> {
    let content = sys::fs::read(Path::new(path), 16 * 1024 * 1024)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, StartError> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        .map_err(SysError::on("make the directory", name))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(SysError::on("open", name))?)
}

/// Copies the part of a hierarchy that is below our own cgroup.
fn own_directory(hierarchy: &Hierarchy, own: &str) -> Result<OwnedFd, StartError> {
    let path = own_path(hierarchy, own).unwrap_or_else(|| hierarchy.point.clone());
    Ok(mount::open_tree(&path, false)?)
}

/// Where our cgroup is in a hierarchy's mount.
fn own_path(hierarchy: &Hierarchy, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = if hierarchy.version_2 {
            id == "0" && controllers.is_empty()
        } else {
            !controllers.is_empty() && controllers == hierarchy.controllers
        };
        found.then_some(path)
    })?;
    let below = Path::new(path).strip_prefix(&hierarchy.root).ok()?;
    Some(hierarchy.point.join(below))
}

fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut after = after.split(' ');
        let version_2 = match after.next() {
            Some("cgroup") => false,
            Some("cgroup2") => true,
            _ => continue,
        };
        let mut before = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (before.next(), before.next()) else {
            continue;
        };
        // `name=systemd` and the controllers are the last of the options: the others are flags.
        let controllers = after
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children"))
            .filter(|option| !option.starts_with("release_agent="))
            .collect::<Vec<_>>()
            .join(",");
        let hierarchy = Hierarchy {
            version_2,
            root: PathBuf::from(root),
            point: PathBuf::from(point),
            controllers: if version_2 { String::new() } else { controllers },
        };
        let known =
            |other: &Hierarchy| other.version_2 == version_2 && other.controllers == hierarchy.controllers;
        if !hierarchies.iter().any(known) {
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
        99 31 0:37 / /elsewhere/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hierarchies_and_our_place_in_them() {
        let hierarchies = parse_mounts(MOUNTS);
        let points: Vec<_> = hierarchies
            .iter()
            .map(|each| each.point.display().to_string())
            .collect();
        assert_eq!(
            points,
            ["cpu,cpuacct", "systemd", "unified"].map(|name| format!("/sys/fs/cgroup/{name}"))
        );
        let own = "5:cpu,cpuacct:/docker/x/y\n4:cpu:/other\n2:name=systemd:/a:b\n0::/u\n";
        let paths: Vec<_> = hierarchies
            .iter()
            .map(|each| own_path(each, own).unwrap())
            .collect();
        assert_eq!(
            paths,
            ["cpu,cpuacct/y", "systemd/a:b", "unified/u"].map(|name| Path::new("/sys/fs/cgroup").join(name))
        );
        assert_eq!(own_path(&hierarchies[0], "5:cpu,cpuacct:/elsewhere\n"), None);
    }
}
