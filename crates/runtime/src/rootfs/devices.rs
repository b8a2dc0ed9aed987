//! `/dev`: the device nodes that every container has and those it was given, and the usual links.
//!
//! A fresh tmpfs is filled before it is attached, by its descriptor, so that nothing can lead elsewhere.

use super::{open_host, open_real};
use crate::StartError;
use crate::error::failed;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount;
use sys::path::Tree;

/// A device node.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// Absolute, inside the container.
    path: PathBuf,
    kind: FileType,
    number: u64,
    mode: Mode,
    owner: (u32, u32),
}

/// What the OCI runtime specification promises to every container.
const ALWAYS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Likewise; and `ptmx` of the container's own devpts.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// Joins the specification's devices with those that are always there; the specification's go first.
pub(super) fn parse(devices: &[LinuxDevice]) -> Result<Vec<Device>, StartError> {
    let mut parsed = Vec::with_capacity(devices.len() + ALWAYS.len());
    for device in devices {
        let path = device.path();
        if !path.is_absolute()
            || path
                .components()
                .any(|part| part == std::path::Component::ParentDir)
        {
            return Err(StartError::setup(format!(
                "the device path '{}' is not absolute and plain",
                path.display()
            )));
        }
        let number = |value: i64| {
            u32::try_from(value).map_err(|_negative| {
                StartError::setup(format!(
                    "the device '{}' has the impossible number {value}",
                    path.display()
                ))
            })
        };
        parsed.push(Device {
            path: path.clone(),
            kind: match device.typ() {
                LinuxDeviceType::B => FileType::BlockDevice,
                LinuxDeviceType::P => FileType::Fifo,
                LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => FileType::CharacterDevice,
            },
            number: match device.typ() {
                LinuxDeviceType::P => 0,
                _ => rustix::fs::makedev(number(device.major())?, number(device.minor())?),
            },
            mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        });
    }
    for (path, major, minor) in ALWAYS {
        if !parsed.iter().any(|device| device.path == Path::new(path)) {
            parsed.push(Device {
                path: PathBuf::from(path),
                kind: FileType::CharacterDevice,
                number: rustix::fs::makedev(major, minor),
                mode: Mode::from_raw_mode(0o666),
                owner: (0, 0),
            });
        }
    }
    Ok(parsed)
}

/// Fills a directory that becomes `/dev` with nodes and links. Returns the devices that the kernel did not let us
/// make, as it does not in a user namespace; [`bind_from_host`] is for those.
pub(super) fn populate(directory: BorrowedFd<'_>, devices: &[Device]) -> Result<Vec<Device>, StartError> {
    let mut refused = Vec::new();
    let below = devices.iter().filter_map(|device| {
        Some((
            device,
            device
                .path
                .strip_prefix("/dev")
                .ok()
                .filter(|path| !path.as_os_str().is_empty())?,
        ))
    });
    for (device, path) in below {
        let (above, name) = place(directory, path)?;
        match make(above.as_fd(), &name, device) {
            Ok(()) => {}
            Err(Errno::PERM) => refused.push(device.clone()),
            Err(errno) => {
                return Err(failed(format!("make the device '{}'", device.path.display()))(
                    errno,
                ));
            }
        }
    }
    for (target, name) in LINKS {
        match rustix::fs::symlinkat(target, directory, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(format!("make the link '/dev/{name}'"))(errno)),
        }
    }
    Ok(refused)
}

/// Fills the image's own `/dev` directory, where no mount is made there.
pub(super) fn populate_root(tree: &Tree, devices: &[Device]) -> Result<(), StartError> {
    let directory = match open_real(tree, Path::new("/dev"), OFlags::DIRECTORY) {
        Err(Errno::NOENT) => tree.create_dir_all(Path::new("/dev"), Mode::from_raw_mode(0o755), (0, 0))?,
        found => found.map_err(failed("open '/dev' of the root filesystem"))?,
    };
    let refused = populate(directory.as_fd(), devices)?;
    bind_from_host(directory.as_fd(), &refused)
}

/// Makes devices whose path is not below `/dev`.
pub(super) fn add_outside(tree: &Tree, devices: &[Device]) -> Result<(), StartError> {
    for device in devices.iter().filter(|device| !device.path.starts_with("/dev")) {
        let what = || format!("make the device '{}'", device.path.display());
        let relative = device.path.strip_prefix("/").unwrap_or(&device.path);
        let (above, name) = place(tree.as_fd(), relative)?;
        match make(above.as_fd(), &name, device) {
            Ok(()) => {}
            Err(Errno::PERM) => bind(above.as_fd(), &name, device)?,
            Err(errno) => return Err(failed(what())(errno)),
        }
    }
    Ok(())
}

/// Opens the directory for a node, making what is missing above it.
fn place(directory: BorrowedFd<'_>, path: &Path) -> Result<(OwnedFd, OsString), StartError> {
    let copy = rustix::io::fcntl_dupfd_cloexec(directory, 3).map_err(failed("duplicate a descriptor"))?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => {
            Tree::new(copy).create_dir_all(above, Mode::from_raw_mode(0o755), (0, 0))?
        }
        _ => copy,
    };
    Ok((above, name))
}

fn make(directory: BorrowedFd<'_>, name: &OsString, device: &Device) -> Result<(), Errno> {
    match rustix::fs::mknodat(directory, name, device.kind, device.mode, device.number) {
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(stat.st_mode) == device.kind && stat.st_rdev == device.number;
            return if same { Ok(()) } else { Err(Errno::EXIST) };
        }
        answer => answer?,
    }
    if device.owner == (0, 0) {
        return Ok(());
    }
    rustix::fs::chownat(
        directory,
        name,
        Some(rustix::fs::Uid::from_raw(device.owner.0)),
        Some(rustix::fs::Gid::from_raw(device.owner.1)),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Binds the host's nodes for devices below `/dev`, whose directory is attached by now.
pub(super) fn bind_from_host(directory: BorrowedFd<'_>, devices: &[Device]) -> Result<(), StartError> {
    for device in devices {
        let path = device.path.strip_prefix("/dev").unwrap_or(&device.path);
        let (above, name) = place(directory, path)?;
        bind(above.as_fd(), &name, device)?;
    }
    Ok(())
}

fn bind(directory: BorrowedFd<'_>, name: &OsString, device: &Device) -> Result<(), StartError> {
    let what = || format!("show the host's device '{}'", device.path.display());
    let host = host_device(&device.path, device.kind, device.number)?;
    let target = touch(directory, name).map_err(failed(what()))?;
    let copy = mount::clone_tree(host.as_fd(), false)?;
    mount::attach(copy.as_fd(), target.as_fd()).map_err(Into::into)
}

/// Opens a device of the host and makes sure that it is the one that is meant.
pub(super) fn host_device(path: &Path, kind: FileType, number: u64) -> Result<OwnedFd, StartError> {
    let device = open_host(path, OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&device).map_err(failed(format!("look at '{}'", path.display())))?;
    if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_rdev != number {
        return Err(StartError::setup(format!(
            "the host's '{}' is not the device that is meant",
            path.display()
        )));
    }
    Ok(device)
}

/// Makes an empty file to mount upon, unless something is there, and opens it (`O_PATH`).
fn touch(directory: BorrowedFd<'_>, name: &OsString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Shows a terminal as `/dev/console`. The terminal is named by its descriptor, which came from its own master, and
/// the place by one that followed no link (CVE-2025-52565).
pub(super) fn attach_console(tree: &Tree, slave: BorrowedFd<'_>) -> Result<(), StartError> {
    let directory = open_real(tree, Path::new("/dev"), OFlags::DIRECTORY).map_err(failed("open '/dev'"))?;
    let target =
        touch(directory.as_fd(), &OsString::from("console")).map_err(failed("open '/dev/console'"))?;
    let stat = rustix::fs::fstat(&target).map_err(failed("look at '/dev/console'"))?;
    if !matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::RegularFile | FileType::CharacterDevice
    ) {
        return Err(StartError::setup("there is something else in its place"));
    }
    let copy = mount::clone_tree(slave, false)?;
    mount::attach(copy.as_fd(), target.as_fd()).map_err(Into::into)
}
