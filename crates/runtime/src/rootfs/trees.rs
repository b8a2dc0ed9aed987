//! Mounts whose source is a part of a tree that a container may have had a hand in: a volume's directory, an image's
//! files, another container's shared memory.

use super::mounts::{Source, attach_at, flagged, set};
use super::open_real;
use super::options::Options;
use crate::error::failed;
use crate::{StartError, TreeSource};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount::{self, MountAttrFlags, Propagation};
use sys::path::Tree;
use sys::process::Namespaces;

/// What a filesystem in memory needs besides its files.
const PAGE: u64 = 64 << 10;
/// What statfs(2) says of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Opens a tree's source in the caller's mount namespace.
pub(super) fn open(source: &TreeSource, options: &Options) -> Result<Source, StartError> {
    match source {
        TreeSource::Directory { path, subpath } => {
            let part = locate(&Tree::open(path)?, subpath)?;
            let copy = mount::clone_tree(part.as_fd(), options.recursive)?;
            flagged(copy, subpath, options)
        }
        TreeSource::Union { overlay, subpath } => {
            let top = overlay.upper.as_deref().zip(overlay.work.as_deref());
            let settings: &[_] = if top.is_some() { &[mount::NEVER_SYNC] } else { &[] };
            let mount = mount::overlay(&overlay.lower, top, settings)?;
            let copy =
                rustix::io::fcntl_dupfd_cloexec(&mount, 3).map_err(failed("duplicate the image's root"))?;
            let part = locate(&Tree::new(copy), &Path::new("/").join(subpath))?;
            let stat = rustix::fs::fstat(&part).map_err(failed("look at the image"))?;
            Ok(Source::Union {
                mount,
                subpath: subpath.clone(),
                is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            })
        }
        TreeSource::File { content, mode, owner } => file(content, *mode, *owner),
        TreeSource::SharedMemory(process) => Ok(Source::SharedMemory {
            namespace: process
                .namespace(LinuxNamespaceType::Mount)
                .map_err(|error| error.during("cannot share '/dev/shm'"))?,
        }),
    }
}

/// Makes a file in a filesystem of its own in memory.
fn file(content: &[u8], mode: u32, owner: (u32, u32)) -> Result<Source, StartError> {
    const NAME: &str = "file";
    let size = (content.len() as u64 + PAGE).to_string();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let options = [("size", size.as_str()), ("mode", "700")];
    let mount = mount::filesystem("tmpfs", None, &options, attributes)?;
    let copy = rustix::io::fcntl_dupfd_cloexec(&mount, 3).map_err(failed("duplicate a mount"))?;
    let tree = Tree::new(copy);
    let path = Path::new(NAME);
    let mut made = File::from(tree.create_file(path, Mode::from_raw_mode(0o600))?);
    made.write_all(content)
        .map_err(|error| sys::SysError::io("write", path, &error))?;
    // The owner goes first: changing it clears the set-id bits.
    tree.set_owner(path, owner)?;
    tree.set_mode(path, Mode::from_raw_mode(mode & 0o7777))?;
    Ok(Source::Union {
        mount,
        subpath: path.to_owned(),
        is_directory: false,
    })
}

/// Opens a part of a tree; links lead nowhere but inside it, and whoever swaps them meanwhile changes nothing.
fn locate(tree: &Tree, subpath: &Path) -> Result<OwnedFd, StartError> {
    let refuse = |why: &str| StartError::setup(format!("cannot access path '{}': {why}", subpath.display()));
    let part = tree.locate(subpath, true).map_err(|error| match error.errno {
        Errno::NOENT => refuse("no such file or directory"),
        _ => error.into(),
    })?;
    let stat = rustix::fs::fstat(&part).map_err(failed(format!("look at '{}'", subpath.display())))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory | FileType::RegularFile => Ok(part),
        _ => Err(refuse("neither a directory nor a regular file")),
    }
}

/// Mounts a part of a detached union. Only what is attached can be copied from, so where it is a part the whole is
/// attached first, and taken away before anybody else sees this mount namespace.
pub(super) fn attach(
    union: BorrowedFd<'_>,
    subpath: &Path,
    target: BorrowedFd<'_>,
    options: &Options,
) -> Result<(), StartError> {
    if subpath.as_os_str().is_empty() || subpath == Path::new("/") {
        return attach_flagged(union, target, options);
    }
    let staging = super::open_host(Path::new("/"), OFlags::DIRECTORY)?;
    mount::attach(union, staging.as_fd())?;
    let root = rustix::io::fcntl_dupfd_cloexec(union, 3).map_err(failed("duplicate the image's root"))?;
    let part = locate(&Tree::new(root), subpath)
        .and_then(|part| mount::clone_tree(part.as_fd(), false).map_err(Into::into));
    mount::detach(union)?;
    let part = part?;
    attach_flagged(part.as_fd(), target, options)
}

fn attach_flagged(copy: BorrowedFd<'_>, target: BorrowedFd<'_>, options: &Options) -> Result<(), StartError> {
    set(copy, options.own, Some(Propagation::Private), false)?;
    let stat = rustix::fs::fstat(copy).map_err(failed("look at the image"))?;
    attach_at(
        copy,
        target,
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
    )
}

/// Copies the `/dev/shm` of the container that a mount namespace belongs to.
pub(super) fn shared_memory(namespace: BorrowedFd<'_>, options: &Options) -> Result<Source, StartError> {
    let path = Path::new("/dev/shm");
    let copy = visit(namespace, || {
        let directory = open_real(&Tree::open(Path::new("/"))?, path, OFlags::DIRECTORY).map_err(failed(
            "open '/dev/shm' of the container whose IPC namespace is joined",
        ))?;
        // Whoever may mount there may have put something else in its place, which is then not what is asked for.
        if super::filesystem_magic(directory.as_fd()) != Ok(TMPFS_MAGIC) {
            return Err(StartError::setup(
                "'/dev/shm' of the container whose IPC namespace is joined is no tmpfs",
            ));
        }
        mount::clone_tree(directory.as_fd(), false).map_err(Into::into)
    })?;
    flagged(copy, &PathBuf::from(path), options)
}

/// Does something in another mount namespace and comes back.
fn visit<T>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> Result<T, StartError>) -> Result<T, StartError> {
    let path = Path::new("/proc/self/ns/mnt");
    let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open '/proc/self/ns/mnt'"))?;
    sys::process::enter_namespace(namespace, Namespaces::MOUNT)
        .map_err(failed("look into another container's mount namespace"))?;
    let result = act();
    sys::process::enter_namespace(own.as_fd(), Namespaces::MOUNT)
        .map_err(failed("come back from another container's mount namespace"))?;
    result
}
