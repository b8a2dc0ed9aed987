//! The mounts of a specification, each attached to a place inside the tree that was opened, not named.

use super::options::{Flags, Options};
use super::{PROC_MAGIC, SYSFS_MAGIC, cgroup, devices, filesystem_magic, open_real, trees};
use crate::error::{during, failed, reason};
use crate::{StartError, TREE, TreeSource};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use sys::SysError;
use sys::mount::{self, Attributes, MountAttrFlags, Propagation};
use sys::path::Tree;

/// Files of procfs that may be mounted upon, so that a tool can show a container its own share of the machine.
const MOUNTABLE_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/uptime",
];

/// A mount of the specification, its source opened.
#[derive(Debug)]
pub(super) struct Mount {
    destination: PathBuf,
    source: Source,
    options: Options,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A detached copy of a part of the host's tree.
    Tree {
        copy: OwnedFd,
        is_directory: bool,
        path: PathBuf,
    },
    /// A filesystem of this kind, with what shows up as its device.
    Filesystem { kind: String, device: Option<String> },
    /// The container's view of the cgroup hierarchies, whichever there are.
    Cgroup,
    /// A part of a union of layers, which is detached.
    Union {
        mount: OwnedFd,
        subpath: PathBuf,
        is_directory: bool,
    },
    /// The `/dev/shm` of another container, whose mount namespace this is.
    SharedMemory { namespace: OwnedFd },
}

impl fmt::Display for Mount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Tree { path, .. } => write!(formatter, "'{}'", path.display()),
            Source::Filesystem { kind, .. } => formatter.write_str(kind),
            Source::Cgroup => formatter.write_str("cgroup"),
            Source::Union { .. } => formatter.write_str("image"),
            Source::SharedMemory { .. } => formatter.write_str("the shared memory of a container"),
        }?;
        write!(formatter, " on '{}'", self.destination.display())
    }
}

impl Mount {
    /// Checks a mount and opens its source in the caller's mount namespace.
    pub(super) fn prepare(
        mount: &oci_spec::runtime::Mount,
        trees: &[TreeSource],
    ) -> Result<Self, StartError> {
        let destination = clean(mount.destination());
        if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
            return Err(StartError::setup(format!(
                "cannot mount on '{}': mounts with id mappings of their own are not supported",
                destination.display()
            )));
        }
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or_default();
        let source = if kind != TREE && (options.bind || matches!(kind, "bind" | "rbind")) {
            open_source(mount.source().as_deref(), &options)?
        } else {
            match kind {
                "" | "none" => {
                    return Err(StartError::setup(format!(
                        "cannot mount on '{}': the mount has no type",
                        destination.display()
                    )));
                }
                "cgroup" | "cgroup2" => Source::Cgroup,
                TREE => {
                    let number = mount
                        .source()
                        .as_ref()
                        .and_then(|source| source.to_str()?.parse().ok());
                    let tree = number.and_then(|number: usize| trees.get(number));
                    let tree = tree.ok_or_else(|| StartError::setup("a mount's tree is not in the plan"))?;
                    trees::open(tree, &options)?
                }
                kind => Source::Filesystem {
                    kind: kind.to_owned(),
                    device: mount
                        .source()
                        .as_ref()
                        .map(|source| source.to_string_lossy().into_owned()),
                },
            }
        };
        Ok(Self {
            destination,
            source,
            options,
        })
    }

    /// Says whether it shows the container's cgroups.
    pub(super) fn shows_cgroups(&self) -> bool {
        matches!(self.source, Source::Cgroup)
    }

    /// Gets what another container shares: see [`super::Prepared::visit_peers`].
    pub(super) fn visit_peer(&mut self) -> Result<(), StartError> {
        if let Source::SharedMemory { namespace } = &self.source {
            self.source = trees::shared_memory(namespace.as_fd(), &self.options)?;
        }
        Ok(())
    }

    /// Says whether it comes to lie exactly here.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.destination == Path::new(path)
    }

    /// Mounts it.
    pub(super) fn attach(
        self,
        tree: &Tree,
        devices: &[devices::Device],
        cgroups: Option<&cgroup::View>,
    ) -> Result<(), StartError> {
        let Self {
            destination,
            source,
            options,
        } = self;
        let target = find_target(tree, &destination, &source)?;
        match source {
            Source::Cgroup => match cgroups {
                Some(view) => cgroup::attach(view, target.as_fd(), options.own),
                None => Err(StartError::setup("nobody has looked at the cgroups")),
            },
            Source::Tree {
                copy, is_directory, ..
            } => attach_at(copy.as_fd(), target.as_fd(), is_directory),
            Source::Union { mount, subpath, .. } => {
                trees::attach(mount.as_fd(), &subpath, target.as_fd(), &options)
            }
            Source::SharedMemory { .. } => Err(StartError::setup("nobody has fetched the shared memory")),
            Source::Filesystem { kind, device } => {
                let mount = make(&kind, device.as_deref(), &options)?;
                let refused = if kind == "tmpfs" && destination == Path::new("/dev") {
                    devices::populate(mount.as_fd(), devices)?
                } else {
                    Vec::new()
                };
                attach_at(mount.as_fd(), target.as_fd(), true)?;
                devices::bind_from_host(mount.as_fd(), &refused)?;
                if let Some((propagation, recursive)) = options.propagation {
                    set(mount.as_fd(), Flags::default(), Some(propagation), recursive)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes an absolute path without `.`, `..` and doubled slashes, as if no link were in it; links are looked at later.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Copies the source of a bind mount and gives the copy its flags. It is attached to nothing yet, so its flags and
/// propagation are in force before anybody sees it.
fn open_source(path: Option<&Path>, options: &Options) -> Result<Source, StartError> {
    let path = path.ok_or_else(|| StartError::setup("a bind mount has no source"))?;
    if let Some((key, _)) = options.data.first() {
        return Err(StartError::setup(format!(
            "cannot bind '{}': a bind mount has no option '{key}'",
            path.display()
        )));
    }
    let copy = mount::open_tree(path, options.recursive).map_err(|error| match error.errno {
        Errno::NOENT => StartError::setup(format!("bind source path does not exist: {}", path.display())),
        _ => error.into(),
    })?;
    flagged(copy, path, options)
}

/// Gives a detached copy of a tree its flags; `path` is for people.
pub(super) fn flagged(copy: OwnedFd, path: &Path, options: &Options) -> Result<Source, StartError> {
    let stat = rustix::fs::fstat(&copy).map_err(SysError::on("look at", path))?;
    let what = || format!("cannot bind '{}'", path.display());
    let (propagation, recursive) = options.propagation.unwrap_or((Propagation::Private, true));
    set(copy.as_fd(), options.all, Some(propagation), true)
        .and_then(|()| {
            if recursive {
                Ok(())
            } else {
                set(copy.as_fd(), Flags::default(), Some(propagation), false)
            }
        })
        .map_err(|error| error.during(what()))?;
    if !options.own.is_empty() {
        set(copy.as_fd(), options.own, None, false).map_err(|error| error.during(what()))?;
    }
    Ok(Source::Tree {
        copy,
        is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        path: path.to_owned(),
    })
}

pub(super) fn set(
    mount: BorrowedFd<'_>,
    flags: Flags,
    propagation: Option<Propagation>,
    recursive: bool,
) -> Result<(), StartError> {
    let attributes = Attributes {
        set: flags.set,
        clear: flags.clear,
        propagation,
    };
    mount::set_attributes(mount, attributes, recursive).map_err(Into::into)
}

/// Makes a filesystem, detached.
pub(super) fn make(kind: &str, device: Option<&str>, options: &Options) -> Result<OwnedFd, StartError> {
    let data: Vec<(&str, &str)> = options
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    // `ro` and its like are flags of the mount here; MOUNT_ATTR bits are the same numbers for both calls.
    let bits = (options.own.set | options.all.set) & !options.own.clear;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(bits).unwrap_or_default());
    match mount::filesystem(kind, device, &data, attributes) {
        // Without a network namespace of its own a user namespace gets no sysfs, but may see the host's.
        Err(error) if kind == "sysfs" && error.errno == Errno::PERM => {
            let copy = mount::open_tree(Path::new("/sys"), true)?;
            set(copy.as_fd(), options.own, Some(Propagation::Private), true)?;
            Ok(copy)
        }
        answer => answer.map_err(Into::into),
    }
}

pub(super) fn attach_at(
    mount: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    is_directory: bool,
) -> Result<(), StartError> {
    let stat = rustix::fs::fstat(target).map_err(failed("look at the place"))?;
    match (
        is_directory,
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
    ) {
        (true, false) => Err(StartError::setup(
            "the source is a directory, and there is a file where it is to be mounted",
        )),
        (false, true) => Err(StartError::setup(
            "the source is a file, and there is a directory where it is to be mounted",
        )),
        _ => mount::attach(mount, target).map_err(Into::into),
    }
}

/// Opens the place for a mount, and makes it first where it is missing.
///
/// `/proc`, `/sys` and `/dev` must be real directories: a link there would put procfs elsewhere, and leave what is
/// written to `/proc` later in files of the image's (CVE-2019-16884, CVE-2019-19921), or devices in a directory of
/// somebody else's (CVE-2026-41579).
fn find_target(tree: &Tree, destination: &Path, source: &Source) -> Result<OwnedFd, StartError> {
    if destination == Path::new("/") {
        return Err(StartError::setup("the root itself is no place for a mount"));
    }
    let fixed = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|fixed| destination == Path::new(fixed));
    let is_directory = !matches!(
        source,
        Source::Tree {
            is_directory: false,
            ..
        } | Source::Union {
            is_directory: false,
            ..
        }
    );
    let target = if fixed {
        real_directory(tree, destination)?
    } else {
        match tree.locate(destination, true) {
            Ok(target) => target,
            Err(error) if error.errno == Errno::NOENT => make_target(tree, destination, is_directory)?,
            Err(error) => return Err(error.into()),
        }
    };
    check_target(target.as_fd(), destination, source)?;
    Ok(target)
}

fn real_directory(tree: &Tree, path: &Path) -> Result<OwnedFd, StartError> {
    let name = path.file_name().unwrap_or_default();
    match rustix::fs::mkdirat(tree, name, Mode::from_raw_mode(0o755)) {
        // On a read-only root it must be there already.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
        Err(errno) => return Err(failed(format!("make the directory '{}'", path.display()))(errno)),
    }
    open_real(tree, path, OFlags::DIRECTORY).map_err(|errno| {
        let kind = tree
            .stat(path, false)
            .map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::Directory) | Err(_) => failed(format!("open '{}'", path.display()))(errno),
            Ok(kind) => StartError::setup(format!(
                "'{}' of the root filesystem must be a directory, and is {}",
                path.display(),
                if kind == FileType::Symlink {
                    "a symbolic link"
                } else {
                    "something else"
                },
            )),
        }
    })
}

fn make_target(tree: &Tree, destination: &Path, is_directory: bool) -> Result<OwnedFd, StartError> {
    let mode = Mode::from_raw_mode(0o755);
    // Links on the way, and a last one that leads nowhere yet, are followed inside the tree.
    let path = tree.resolve(destination)?;
    if is_directory {
        return Ok(tree.create_dir_all(&path, mode, (0, 0))?);
    }
    if let Some(above) = path.parent() {
        tree.create_dir_all(above, mode, (0, 0))?;
    }
    match tree.create_file(&path, mode) {
        Ok(_file) => {}
        Err(error) if error.errno == Errno::EXIST => {}
        Err(error) => return Err(error.into()),
    }
    Ok(tree.locate(&path, false)?)
}

/// Refuses mounts onto procfs and sysfs that would hide them or fake their files, which later steps and the
/// container's security rely on (CVE-2019-16884, CVE-2023-27561). Looks at what was opened, wherever links led.
fn check_target(target: BorrowedFd<'_>, destination: &Path, source: &Source) -> Result<(), StartError> {
    let refuse = |why: &str| Err(StartError::setup(format!("'{}' {why}", destination.display())));
    let same_kind = |magic: u64, name: &str| match source {
        Source::Filesystem { kind, .. } => kind == name,
        Source::Tree { copy, .. } => filesystem_magic(copy.as_fd()) == Ok(magic),
        Source::Cgroup | Source::Union { .. } | Source::SharedMemory { .. } => false,
    };
    if destination == Path::new("/proc") && !same_kind(PROC_MAGIC, "proc") {
        return refuse("may hold nothing but procfs");
    }
    if destination == Path::new("/sys") && !same_kind(SYSFS_MAGIC, "sysfs") {
        return refuse("may hold nothing but sysfs");
    }
    let magic = filesystem_magic(target)
        .map_err(|errno| StartError::setup(format!("cannot look at the filesystem: {}", reason(errno))))?;
    match magic {
        PROC_MAGIC if destination == Path::new("/proc") => Ok(()),
        PROC_MAGIC
            if MOUNTABLE_IN_PROC
                .iter()
                .any(|path| destination == Path::new(path)) =>
        {
            Ok(())
        }
        PROC_MAGIC => refuse("is inside procfs, where nothing may be mounted"),
        // Tools bind parts of sysfs under their own names; what is refused is getting there by a link.
        SYSFS_MAGIC if destination.starts_with("/sys") => Ok(()),
        SYSFS_MAGIC => refuse("leads into sysfs, where nothing may be mounted"),
        _ => Ok(()),
    }
}

/// Shows another mount's content read-only as well: used for what is mounted below the cgroup directory.
pub(super) fn attach_flagged(
    copy: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    flags: Flags,
) -> Result<(), StartError> {
    set(copy, flags, Some(Propagation::Private), true)?;
    mount::attach(copy, target).map_err(during("cannot mount a cgroup hierarchy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned() {
        for (given, cleaned) in [
            ("/a/b", "/a/b"),
            ("//a/./b/", "/a/b"),
            ("a", "/a"),
            ("/../../a", "/a"),
            ("/a/../proc", "/proc"),
            ("/proc/", "/proc"),
            ("/", "/"),
        ] {
            assert_eq!(clean(Path::new(given)), Path::new(cleaned), "{given}");
        }
    }
}
