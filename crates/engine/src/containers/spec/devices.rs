//! Device nodes and the rules of the devices cgroup.

use crate::EngineError;
use crate::containers::invalid;
use crate::containers::request::{CreateContainer, DeviceRequest};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
use rustix::fs::{FileType, Stat};
use std::path::{Path, PathBuf};

/// Directories below /dev that every container has of its own, or that hold no devices.
const SKIPPED: [&str; 7] = [".lxc", ".lxd-mounts", ".udev", "fd", "mqueue", "pts", "shm"];

/// Docker's allow rules: type, major, minor. The null, zero, full, random and urandom devices, tty and console,
/// pseudo-terminals and their multiplexer.
const ALLOWED: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// What a container gets of devices.
#[derive(Debug)]
pub(super) struct Devices {
    /// Beyond those that every container has.
    pub(super) nodes: Vec<LinuxDevice>,
    /// In order; the last that matches decides.
    pub(super) rules: Vec<LinuxDeviceCgroup>,
}

pub(super) fn devices(request: &CreateContainer) -> Result<Devices, EngineError> {
    if request.privileged {
        let mut nodes = Vec::new();
        walk(Path::new("/dev"), Path::new("/dev"), &mut |node| nodes.push(node))?;
        return Ok(Devices {
            nodes,
            rules: vec![rule(true, LinuxDeviceType::A, None, None, "rwm")],
        });
    }
    let mut rules = vec![rule(false, LinuxDeviceType::A, None, None, "rwm")];
    // Making a node is harmless where opening it is not allowed; package managers do it.
    rules.push(rule(true, LinuxDeviceType::C, None, None, "m"));
    rules.push(rule(true, LinuxDeviceType::B, None, None, "m"));
    for (major, minor) in ALLOWED {
        rules.push(rule(true, LinuxDeviceType::C, Some(major), minor, "rwm"));
    }
    rules.push(rule(true, LinuxDeviceType::C, Some(5), Some(1), "rwm"));
    let mut nodes = Vec::new();
    for device in &request.devices {
        add(device, &mut nodes, &mut rules)?;
    }
    Ok(Devices { nodes, rules })
}

fn add(
    request: &DeviceRequest,
    nodes: &mut Vec<LinuxDevice>,
    rules: &mut Vec<LinuxDeviceCgroup>,
) -> Result<(), EngineError> {
    let source = &request.source;
    let failed = |reason: &str| {
        invalid(format!(
            "error gathering device information while adding custom device \"{}\": {reason}",
            source.display()
        ))
    };
    let permissions = if request.permissions.is_empty() {
        "rwm"
    } else {
        &request.permissions
    };
    let stat = match rustix::fs::stat(source) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Err(failed("no such file or directory")),
        Err(errno) => return Err(sys::SysError::on("look at the device", source)(errno).into()),
    };
    let first = nodes.len();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        walk(source, &request.target, &mut |node| nodes.push(node))?;
    } else {
        nodes.push(node(&stat, &request.target).ok_or_else(|| failed("not a device node"))?);
    }
    if nodes.len() == first {
        return Err(failed("no devices in it"));
    }
    for node in &nodes[first..] {
        rules.push(rule(
            true,
            node.typ(),
            Some(node.major()),
            Some(node.minor()),
            permissions,
        ));
    }
    Ok(())
}

/// Calls `each` with every device below the host's directory `source`, as it shall lie below `target`.
fn walk(source: &Path, target: &Path, each: &mut dyn FnMut(LinuxDevice)) -> Result<(), EngineError> {
    let mut pending: Vec<(PathBuf, PathBuf)> = vec![(source.to_owned(), target.to_owned())];
    while let Some((directory, target)) = pending.pop() {
        let failed = |error: std::io::Error| sys::SysError::io("read the directory", &directory, &error);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // A device that goes away while we look is no device.
            let Ok(stat) = rustix::fs::lstat(entry.path()) else {
                continue;
            };
            let target = target.join(&name);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    pending.push((entry.path(), target));
                }
            } else if target != Path::new("/dev/console")
                && let Some(node) = node(&stat, &target)
            {
                each(node);
            }
        }
    }
    Ok(())
}

fn node(stat: &Stat, target: &Path) -> Option<LinuxDevice> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => LinuxDeviceType::B,
        FileType::CharacterDevice => LinuxDeviceType::C,
        _ => return None,
    };
    let mut node = LinuxDevice::default();
    node.set_path(target.to_owned())
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(stat.st_rdev)))
        .set_minor(i64::from(rustix::fs::minor(stat.st_rdev)))
        .set_file_mode(Some(stat.st_mode & 0o7777))
        .set_uid(Some(stat.st_uid))
        .set_gid(Some(stat.st_gid));
    Some(node)
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    rule
}
