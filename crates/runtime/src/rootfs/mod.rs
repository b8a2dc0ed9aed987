//! The container's tree of mounts.
//!
//! The parent opens what lies outside ([`Rootfs::prepare`]); the child, in a mount namespace of its own, puts it
//! together ([`Assembly`]) and makes it its `/`. Inside the tree everything is named by descriptors from
//! openat2(2), because an image may hold any links and another container that shares a volume may swap them while we
//! look (CVE-2021-30465, CVE-2024-45310).

mod cgroup;
mod detached;
mod devices;
mod masks;
mod mounts;
mod options;
mod trees;

use crate::error::{during, failed};
use crate::{Link, Plan, Rootfs, StartError, links};
use oci_spec::runtime::Linux;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::mount::{self, Attributes, MountAttrFlags, Propagation};
use sys::path::Tree;
use sys::pty;

pub(crate) use cgroup::View as CgroupView;
pub use detached::detached_mount;
use devices::Device;
use mounts::Mount;

/// Everything that the child mounts, opened or parsed.
#[derive(Debug)]
pub(crate) struct Prepared {
    root: OwnedFd,
    mounts: Vec<Mount>,
    devices: Vec<Device>,
    masked: Vec<PathBuf>,
    read_only: Vec<PathBuf>,
    root_read_only: bool,
    root_propagation: Propagation,
}

/// Opens what the container's tree is made of.
pub(crate) fn prepare(plan: &Plan, linux: &Linux) -> Result<Prepared, StartError> {
    let spec = &plan.spec;
    let root = match &plan.rootfs {
        Rootfs::Directory(path) => {
            let root = mount::open_tree(path, true)?;
            let private = Attributes {
                propagation: Some(Propagation::Private),
                ..Attributes::default()
            };
            mount::set_attributes(root.as_fd(), private, true)?;
            root
        }
        Rootfs::Overlay(overlay) => {
            let top = match (&overlay.upper, &overlay.work) {
                (Some(upper), Some(work)) => Some((upper.as_path(), work.as_path())),
                (None, None) => None,
                _ => {
                    return Err(StartError::setup(
                        "an overlay has both an upper and a work directory, or none",
                    ));
                }
            };
            // What is written becomes a layer with `commit`, and is compared with the image by `diff`: neither could
            // follow a pointer that only this mount understands. Some kernels are built to write them by default.
            let mut options = match top {
                Some(_) => vec![("redirect_dir", "off"), ("metacopy", "off")],
                None => Vec::new(),
            };
            if overlay.temporary {
                options.push(mount::NEVER_SYNC);
            }
            mount::overlay(&overlay.lower, top, &options)?
        }
    };
    let root_propagation = match linux.rootfs_propagation().as_deref() {
        None | Some("" | "private" | "rprivate") => Propagation::Private,
        Some("slave" | "rslave") => Propagation::Slave,
        Some("shared" | "rshared") => Propagation::Shared,
        Some("unbindable" | "runbindable") => Propagation::Unbindable,
        Some(other) => {
            return Err(StartError::setup(format!(
                "unknown propagation of the root filesystem '{other}'"
            )));
        }
    };
    let paths = |paths: &Option<Vec<String>>| paths.iter().flatten().map(PathBuf::from).collect::<Vec<_>>();
    Ok(Prepared {
        root,
        mounts: spec
            .mounts()
            .iter()
            .flatten()
            .map(|mount| Mount::prepare(mount, &plan.trees))
            .collect::<Result<_, _>>()?,
        devices: devices::parse(linux.devices().as_deref().unwrap_or_default())?,
        masked: paths(linux.masked_paths()),
        read_only: paths(linux.readonly_paths()),
        root_read_only: spec.root().as_ref().and_then(oci_spec::runtime::Root::readonly) == Some(true),
        root_propagation,
    })
}

/// The tree while it is put together, in the child.
#[derive(Debug)]
pub(crate) struct Assembly {
    tree: Tree,
    prepared: Prepared,
}

impl Prepared {
    /// Looks at the cgroups, if they are to be shown; the process must be in its own already, and not yet in a
    /// cgroup namespace.
    pub(crate) fn look_at_cgroups(&self) -> Result<Option<CgroupView>, StartError> {
        if self.mounts.iter().any(Mount::shows_cgroups) {
            CgroupView::take().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Fetches what other containers share of their trees. That is done by going into their mount namespaces for a
    /// moment, which only a process can that shares its root with nobody; and before anything is mounted here, because
    /// who comes back finds itself at the top of what is mounted on `/`.
    pub(crate) fn visit_peers(&mut self) -> Result<(), StartError> {
        self.mounts.iter_mut().try_for_each(Mount::visit_peer)
    }

    /// Mounts everything, with the host's tree still in sight: some kinds of filesystem may be mounted in a user
    /// namespace only where a full view of them is there already.
    pub(crate) fn assemble(
        mut self,
        cgroups: Option<&CgroupView>,
        links: &[Link],
    ) -> Result<Assembly, StartError> {
        // Modes given to mknod(2) and mkdir(2) are meant as they are.
        sys::process::set_umask(0);
        mount::enslave_all()?;
        let host = open_host(Path::new("/"), OFlags::DIRECTORY)?;
        mount::attach(self.root.as_fd(), host.as_fd()).map_err(during("cannot mount the root filesystem"))?;
        let root = rustix::io::fcntl_dupfd_cloexec(&self.root, 3).map_err(failed("duplicate the root"))?;
        let tree = Tree::new(root);
        let mut has_device_filesystem = false;
        for mount in std::mem::take(&mut self.mounts) {
            has_device_filesystem |= mount.is_at("/dev");
            let what = format!("cannot mount {mount}");
            mount
                .attach(&tree, &self.devices, cgroups)
                .map_err(|error| error.during(what))?;
        }
        let assembly = Assembly { tree, prepared: self };
        if !has_device_filesystem {
            devices::populate_root(&assembly.tree, &assembly.prepared.devices)?;
        }
        devices::add_outside(&assembly.tree, &assembly.prepared.devices)?;
        links::make(&assembly.tree, links)?;
        Ok(assembly)
    }
}

impl Assembly {
    /// Opens a terminal in the container's own devpts and shows it as `/dev/console`.
    pub(crate) fn open_terminal(&self) -> Result<pty::Pair, StartError> {
        let pair = open_terminal(&self.tree)?;
        devices::attach_console(&self.tree, pair.slave.as_fd())
            .map_err(|error| error.during("cannot mount the terminal on '/dev/console'"))?;
        Ok(pair)
    }

    /// Hides what is to be hidden and goes into the tree; the host's is out of reach afterwards.
    pub(crate) fn enter(self) -> Result<(), StartError> {
        masks::make_read_only(&self.tree, &self.prepared.read_only)?;
        masks::mask(&self.tree, &self.prepared.masked)?;
        let root = self.tree.as_fd();
        mount::pivot(root)?;
        let attributes = Attributes {
            set: if self.prepared.root_read_only {
                u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits())
            } else {
                0
            },
            clear: 0,
            propagation: Some(self.prepared.root_propagation),
        };
        mount::set_attributes(root, attributes, false)
            .map_err(during("cannot finish the root filesystem"))?;
        Ok(())
    }
}

/// Opens a terminal in the devpts of a container's tree.
pub(crate) fn open_terminal(tree: &Tree) -> Result<pty::Pair, StartError> {
    let devpts = open_real(tree, Path::new("/dev/pts"), OFlags::DIRECTORY)
        .map_err(failed("open '/dev/pts' for the terminal"))?;
    Ok(pty::open_in(devpts.as_fd())?)
}

/// Opens (`O_PATH`) a path inside the tree of which no component is a link.
fn open_real(tree: &Tree, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    sys::path::open_resolving(
        tree.as_fd(),
        path,
        flags | OFlags::PATH | OFlags::NOFOLLOW,
        Mode::empty(),
        resolve,
    )
}

/// Opens (`O_PATH`) a path of the host, in this mount namespace's view of it.
fn open_host(path: &Path, flags: OFlags) -> Result<OwnedFd, StartError> {
    rustix::fs::open(path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(SysError::on("open", path))
        .map_err(Into::into)
}

/// Says what kind of filesystem a descriptor is on.
fn filesystem_magic(descriptor: BorrowedFd<'_>) -> Result<u64, Errno> {
    let filesystem = rustix::fs::fstatfs(descriptor)?;
    // The field is signed on some architectures and holds 32 bits.
    Ok(u64::try_from(filesystem.f_type).unwrap_or_default())
}

/// What statfs(2) says of procfs and sysfs.
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
