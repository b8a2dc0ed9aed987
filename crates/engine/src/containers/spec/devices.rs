//! Device nodes and the rules of the devices cgroup.

use crate::containers::invalid;
use crate::containers::request::{CreateContainer, DeviceRequest};
use crate::{EngineError, cdi};
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

/// Returns the devices of a container; `named` are those that were asked for by name.
pub(super) fn devices(request: &CreateContainer, named: &[cdi::DeviceNode]) -> Result<Devices, EngineError> {
    if request.privileged {
        let mut nodes = Vec::new();
        walk(Path::new("/dev"), Path::new("/dev"), &mut |node| nodes.push(node))?;
        // It may use all there are; these are there under further names.
        let mut devices = Devices {
            nodes: Vec::new(),
            rules: vec![rule(true, LinuxDeviceType::A, None, None, "rwm")],
        };
        for device in &request.devices {
            add(device, &mut devices.nodes, &mut Vec::new())?;
        }
        for device in named {
            add_named(device, &mut devices)?;
        }
        nodes.retain(|node| !devices.nodes.iter().any(|other| other.path() == node.path()));
        devices.nodes.extend(nodes);
        return Ok(devices);
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
    let mut devices = Devices { nodes, rules };
    for device in named {
        add_named(device, &mut devices)?;
    }
    for text in &request.device_rules {
        devices.rules.push(
            written_rule(text).ok_or_else(|| invalid(format!("invalid device cgroup format '{text}'")))?,
        );
    }
    Ok(devices)
}

/// Reads a rule as `--device-cgroup-rule` has it, `c 1:* rw`.
fn written_rule(text: &str) -> Option<LinuxDeviceCgroup> {
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        _ => text.parse::<u32>().ok().map(|number| Some(i64::from(number))),
    };
    let (major, minor) = numbers.split_once(':')?;
    let known = (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
    known.then_some(())?;
    Some(rule(true, kind, number(major)?, number(minor)?, access))
}

/// Adds a device that a specification describes; what that leaves open is as the host's node has it.
fn add_named(device: &cdi::DeviceNode, devices: &mut Devices) -> Result<(), EngineError> {
    let source = device.host_path.as_ref().unwrap_or(&device.path);
    let described = match (device.kind.as_str(), device.major, device.minor) {
        ("p", ..) => Some((LinuxDeviceType::P, 0, 0)),
        ("b", Some(major), Some(minor)) => Some((LinuxDeviceType::B, major, minor)),
        ("c" | "u", Some(major), Some(minor)) => Some((LinuxDeviceType::C, major, minor)),
        _ => None,
    };
    let mut found = match (described, rustix::fs::stat(source)) {
        (None, Err(errno)) => {
            return Err(sys::SysError::on("look at the device", source)(errno).into());
        }
        (None, Ok(stat)) => node(&stat, &device.path)
            .ok_or_else(|| invalid(format!("'{}' is not a device node", source.display())))?,
        (Some((kind, major, minor)), stat) => {
            let mut node = LinuxDevice::default();
            node.set_path(device.path.clone())
                .set_typ(kind)
                .set_major(major)
                .set_minor(minor);
            if let Ok(stat) = stat {
                node.set_file_mode(Some(stat.st_mode & 0o7777))
                    .set_uid(Some(stat.st_uid))
                    .set_gid(Some(stat.st_gid));
            }
            node
        }
    };
    if let Some(mode) = device.file_mode {
        found.set_file_mode(Some(mode & 0o7777));
    }
    if device.uid.is_some() {
        found.set_uid(device.uid);
    }
    if device.gid.is_some() {
        found.set_gid(device.gid);
    }
    let access = if device.permissions.is_empty() {
        "rwm"
    } else {
        &device.permissions
    };
    if found.typ() != LinuxDeviceType::P {
        devices.rules.push(rule(
            true,
            found.typ(),
            Some(found.major()),
            Some(found.minor()),
            access,
        ));
    }
    devices.nodes.push(found);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_they_are_written() {
        for (text, major, minor, access) in [
            ("c 1:3 rwm", Some(1), Some(3), "rwm"),
            ("b 8:* r", Some(8), None, "r"),
            ("a *:* rwm", None, None, "rwm"),
        ] {
            let rule = written_rule(text).unwrap();
            assert!(rule.allow());
            assert_eq!(
                (rule.major(), rule.minor(), rule.access().as_deref()),
                (major, minor, Some(access)),
                "{text}"
            );
        }
        for text in ["", "c", "x 1:3 r", "c 1 r", "c 1:3 z", "c -1:3 r"] {
            assert_eq!(written_rule(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_specification_leaves_open_is_as_on_the_host() {
        let mut devices = Devices {
            nodes: Vec::new(),
            rules: Vec::new(),
        };
        let described = cdi::DeviceNode {
            path: "/dev/thing".into(),
            host_path: Some("/dev/null".into()),
            permissions: "rw".into(),
            gid: Some(44),
            ..cdi::DeviceNode::default()
        };
        add_named(&described, &mut devices).unwrap();
        let node = &devices.nodes[0];
        assert_eq!((node.major(), node.minor(), node.gid()), (1, 3, Some(44)));
        assert_eq!(devices.rules[0].access().as_deref(), Some("rw"));
        // One that is described in full need not be there yet.
        let described = cdi::DeviceNode {
            path: "/dev/not-there".into(),
            kind: "c".into(),
            major: Some(195),
            minor: Some(0),
            ..cdi::DeviceNode::default()
        };
        add_named(&described, &mut devices).unwrap();
        assert_eq!(devices.nodes[1].major(), 195);
    }
}
