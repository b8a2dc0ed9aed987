//! The new mount API (fsopen, fsmount, `move_mount`, `open_tree`, `mount_setattr)`: mounts are descriptors first, and come
//! into sight only when they are moved somewhere. A detached mount vanishes with its descriptor.
//!
//! Nothing here takes a path that a container could have a say in: such targets are named by descriptor.

use crate::SysError;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use rustix::mount::MountAttrFlags;

/// The longest string that fsconfig(2) takes, without its terminating zero.
const STRING_LIMIT: usize = 255;

/// How a mount and its copies hear of each other's changes (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Changes come in, none go out.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and it cannot be bound elsewhere.
    Unbindable,
}

impl Propagation {
    const fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What [`set_attributes`] changes; the default changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes {
    /// Flags to set.
    pub set: u64,
    /// Flags to clear. A flag in both ends up set.
    pub clear: u64,
    /// The new propagation, if it is to change.
    pub propagation: Option<Propagation>,
}

/// The overlayfs option for what need not outlive a crash. Without it every unmount syncs the filesystem that the upper
/// directory is on, with everything that anybody has written there.
pub const NEVER_SYNC: (&str, &str) = ("volatile", "");

/// Mounts a union of directories, detached. `lower` has the topmost first. Without `upper` it is read-only.
/// Falls back from `lowerdir+` (kernel 6.7) to one string for all layers, trying, not looking at versions.
/// `options` are further overlayfs options such as `("userxattr", "")`.
pub fn overlay(
    lower: &[impl AsRef<Path>],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    let lower: Vec<&Path> = lower.iter().map(AsRef::as_ref).collect();
    if let Some((_, work)) = upper
        && options.contains(&NEVER_SYNC)
    {
        // Where it was mounted so before, it refuses to be mounted again until somebody says that the upper directory
        // is whole (Documentation/filesystems/overlayfs.rst, "Volatile mount"). We say so: this boot's page cache is.
        let mark = work.join("work/incompat/volatile");
        match std::fs::remove_dir_all(&mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SysError::io("remove", &mark, &error));
            }
            _ => {}
        }
    }
    match overlay_by_layer(&lower, upper, options) {
        // A kernel without `lowerdir+` takes it for an unknown option: at once, or (before Linux 6.5, where overlayfs
        // gets all options as one text) only when it is to mount.
        Err(error) if error.errno == Errno::INVAL => match overlay_by_list(&lower, upper, options) {
            Err(error) if error.errno == Errno::NAMETOOLONG => {
                overlay_by_option_string(&lower, upper, options)
            }
            answer => answer,
        },
        answer => answer,
    }
}

/// A path as fsconfig(2) takes it: itself where it is short and has nothing that overlayfs would unescape or split
/// at, otherwise a link in `/proc` to a descriptor that must live as long as the path is used.
struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl ShortPath {
    fn new(path: &Path) -> Result<Self, SysError> {
        let bytes = path.as_os_str().as_encoded_bytes();
        let plain = !bytes.iter().any(|byte| b"\\:,".contains(byte));
        if plain && bytes.len() <= STRING_LIMIT && path.is_absolute() {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        Self::by_descriptor(path)
    }

    fn by_descriptor(path: &Path) -> Result<Self, SysError> {
        let directory = open_directory(path)?;
        Ok(Self {
            path: descriptor_path(directory.as_fd()),
            _directory: Some(directory),
        })
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(SysError::on("open", path))
}

/// Returns the path of a descriptor in `/proc`, for calls that take paths only.
pub fn descriptor_path(descriptor: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn overlay_by_layer(
    lower: &[&Path],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    let context = Context::new("overlay")?;
    context.set("source", "overlay")?;
    for path in lower {
        let short = ShortPath::new(path)?;
        rustix::mount::fsconfig_set_string(&context.0, "lowerdir+", &short.path)
            .map_err(SysError::on("add overlay layer", path))?;
    }
    finish_overlay(context, lower, upper, options)
}

/// All lower directories in one option. Named by descriptor, some fifteen fit into a string of fsconfig(2); if these
/// do not, that is `ENAMETOOLONG`.
fn overlay_by_list(
    lower: &[&Path],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    let layers = lower
        .iter()
        .map(|path| ShortPath::by_descriptor(path))
        .collect::<Result<Vec<_>, _>>()?;
    let list = list_of(&layers);
    if list.len() > STRING_LIMIT {
        return Err(SysError::of("name all layers of an overlay")(Errno::NAMETOOLONG));
    }
    let context = Context::new("overlay")?;
    context.set("source", "overlay")?;
    context.set("lowerdir", list)?;
    finish_overlay(context, lower, upper, options)
}

/// Separates paths as `lowerdir` wants them.
fn list_of(layers: &[ShortPath]) -> String {
    let paths: Vec<String> = layers
        .iter()
        .map(|layer| layer.path.display().to_string())
        .collect();
    paths.join(":")
}

/// Adds what lies above the lower directories, and mounts.
fn finish_overlay(
    context: Context,
    lower: &[&Path],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    let top = match upper {
        Some((upper, work)) => Some((ShortPath::new(upper)?, ShortPath::new(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &top {
        context.set("upperdir", &upper.path)?;
        context.set("workdir", &work.path)?;
    }
    for (key, value) in options {
        context.option(key, value)?;
    }
    context.mount(MountAttrFlags::empty()).map_err(|error| {
        let subject = upper.map_or_else(|| lower.first().copied(), |(upper, _)| Some(upper));
        SysError {
            subject: subject.map(Path::to_owned),
            ..error
        }
    })
}

/// mount(2) takes a page of options, 4096 bytes, where fsconfig(2) takes 255 for one; so 120 layers fit if each is
/// named by a descriptor. It can only mount at a place in the tree: that happens in a mount namespace of one short
/// thread, from which a detached copy is taken, so that nothing is ever seen or left behind.
fn overlay_by_option_string(
    lower: &[&Path],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    let (mount, thread) = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                (
                    overlay_in_namespace(lower, upper, options),
                    rustix::thread::gettid(),
                )
            })
            .join()
            .map_err(|_panicked| SysError::of("mount overlay")(Errno::NOMEM))
    })?;
    // A thread can be joined a moment before the kernel has done with it, and until then this process has two: too many
    // to clone from.
    let trace = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    while Path::new(&trace).exists() {
        std::thread::yield_now();
    }
    mount
}

fn overlay_in_namespace(
    lower: &[&Path],
    upper: Option<(&Path, &Path)>,
    options: &[(&str, &str)],
) -> Result<OwnedFd, SysError> {
    // SAFETY: NEWNS implies FS, so only this thread, which ends with this function, gets another view of the tree; no
    // descriptor table is unshared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
        .map_err(SysError::of("make a mount namespace"))?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(SysError::of("make mounts private"))?;
    // The directories must be opened in this namespace: overlayfs takes none whose mount is another's.
    let layers = lower
        .iter()
        .map(|path| ShortPath::by_descriptor(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut data = format!("lowerdir={}", list_of(&layers));
    let top = match upper {
        Some((upper, work)) => Some((ShortPath::by_descriptor(upper)?, ShortPath::by_descriptor(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &top {
        data.push_str(",upperdir=");
        data.push_str(&upper.path.to_string_lossy());
        data.push_str(",workdir=");
        data.push_str(&work.path.to_string_lossy());
    }
    for (key, value) in options {
        data.push(',');
        data.push_str(key);
        if !value.is_empty() {
            data.push('=');
            data.push_str(value);
        }
    }
    let data = std::ffi::CString::new(data).map_err(|_zero| SysError::of("mount overlay")(Errno::INVAL))?;
    let target = Path::new("/proc");
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), data.as_c_str())
        .map_err(SysError::of("mount overlay"))?;
    open_tree_at(CWD, target, false)
}

/// A filesystem that is being configured (fsopen(2)).
#[derive(Debug)]
pub struct Context(OwnedFd);

impl Context {
    /// Opens a context for a filesystem type.
    pub fn new(filesystem: &str) -> Result<Self, SysError> {
        rustix::mount::fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)
            .map(Self)
            .map_err(SysError::on("open filesystem type", filesystem))
    }

    /// Sets an option that has a value.
    pub fn set(&self, key: &str, value: impl AsRef<Path>) -> Result<(), SysError> {
        rustix::mount::fsconfig_set_string(&self.0, key, value.as_ref())
            .map_err(|errno| self.complaint(key, errno))
    }

    /// Sets an option, without a value if `value` is empty.
    pub fn option(&self, key: &str, value: &str) -> Result<(), SysError> {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&self.0, key).map_err(|errno| self.complaint(key, errno))
        } else {
            self.set(key, value)
        }
    }

    /// Makes the filesystem and mounts it, detached.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd, SysError> {
        rustix::mount::fsconfig_create(&self.0).map_err(|errno| self.complaint("", errno))?;
        rustix::mount::fsmount(&self.0, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(SysError::of("mount filesystem"))
    }

    /// Adds what the kernel says about the failure, for it says more than the number.
    fn complaint(&self, key: &str, errno: Errno) -> SysError {
        let mut buffer = [0_u8; 512];
        let text = match rustix::io::read(&self.0, &mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).trim().to_owned(),
            Err(_) => String::new(),
        };
        let subject = match (key, text.as_str()) {
            ("", "") => None,
            (key, "") => Some(key.to_owned()),
            ("", text) => Some(text.to_owned()),
            (key, text) => Some(format!("{key}: {text}")),
        };
        SysError {
            action: "configure filesystem",
            subject: subject.map(PathBuf::from),
            errno,
        }
    }
}

/// Mounts a filesystem, detached. `options` without a value are flags of the filesystem.
pub fn filesystem(
    kind: &str,
    source: Option<&str>,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, SysError> {
    let context = Context::new(kind)?;
    if let Some(source) = source {
        context.set("source", source)?;
    }
    for (key, value) in options {
        context.option(key, value)?;
    }
    context.mount(attributes)
}

/// Moves a detached mount onto what `target` (`O_PATH` will do) names, a directory or a file.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), SysError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).map_err(SysError::of("attach mount"))
}

/// Takes the mount whose root `mount` names, with all below it, out of the tree; it lives on as long as somebody uses it.
pub fn detach(mount: BorrowedFd<'_>) -> Result<(), SysError> {
    rustix::mount::unmount(descriptor_path(mount), UnmountFlags::DETACH).map_err(SysError::of("detach mount"))
}

/// Makes a detached copy of the mount at a trusted path, with what is mounted below it if `recursive`.
pub fn open_tree(path: &Path, recursive: bool) -> Result<OwnedFd, SysError> {
    open_tree_at(CWD, path, recursive)
}

/// Makes a detached copy of what a descriptor names, with what is mounted below it if `recursive`.
pub fn clone_tree(descriptor: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, SysError> {
    open_tree_at(descriptor, Path::new(""), recursive)
}

fn open_tree_at(descriptor: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd, SysError> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(descriptor, path, flags).map_err(|errno| SysError {
        action: "copy mount",
        subject: (!path.as_os_str().is_empty()).then(|| path.to_owned()),
        errno,
    })
}

/// Changes flags and propagation of the mount that a descriptor names, and of all below it if `recursive`
/// (`mount_setattr(2)`).
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
) -> Result<(), SysError> {
    let mut argument = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    };
    // The access time modes are one field, to be cleared as a whole before another is set.
    let access_time = u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
    if (argument.attr_set | argument.attr_clr) & access_time != 0 {
        argument.attr_clr |= access_time;
    }
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty C string and the structure's true size is passed; the kernel reads both and keeps
    // neither.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const argument,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(SysError::of("change mount attributes")(
            crate::process::last_errno(),
        ))
    }
}

/// Makes every mount of this namespace a slave of the one it was copied from, so that nothing mounted here gets out,
/// and unmounting outside still gets in and devices do not stay busy.
pub fn enslave_all() -> Result<(), SysError> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM,
    )
    .map_err(SysError::of("make mounts slaves"))
}

/// Makes the mount that `root` names this process's `/`, and takes the old one with all below it out of sight.
///
/// The old root is stacked on the new one and detached from there (`pivot_root(2)`, NOTES), so no directory is needed
/// to put it in.
pub fn pivot(root: BorrowedFd<'_>) -> Result<(), SysError> {
    let old = open_directory(Path::new("/"))?;
    rustix::process::fchdir(root).map_err(SysError::of("enter root filesystem"))?;
    rustix::process::pivot_root(".", ".").map_err(SysError::of("pivot root filesystem"))?;
    rustix::process::fchdir(&old).map_err(SysError::of("enter old root filesystem"))?;
    // A slave would carry the unmounting to nobody, but private says so plainly.
    rustix::mount::mount_change(".", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(SysError::of("make the old root private"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(SysError::of("detach old root filesystem"))?;
    rustix::process::chdir("/").map_err(SysError::of("enter new root filesystem"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    struct Layers(PathBuf);

    impl Layers {
        fn new(name: &str, count: usize) -> (Self, Vec<PathBuf>) {
            let root = std::env::temp_dir().join(format!("mount-{name}-{}", std::process::id()));
            let layers: Vec<PathBuf> = (0..count)
                .map(|number| root.join(format!("layer{number}")))
                .collect();
            for (number, layer) in layers.iter().enumerate() {
                std::fs::create_dir_all(layer).unwrap();
                std::fs::write(layer.join(format!("file{number}")), number.to_string()).unwrap();
                std::fs::write(layer.join("same"), number.to_string()).unwrap();
            }
            std::fs::create_dir_all(root.join("upper")).unwrap();
            std::fs::create_dir_all(root.join("work")).unwrap();
            (Self(root), layers)
        }
    }

    impl Drop for Layers {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn read(mount: &OwnedFd, name: &str) -> String {
        let file = rustix::fs::openat(mount, name, OFlags::RDONLY, Mode::empty()).unwrap();
        std::io::read_to_string(std::fs::File::from(file)).unwrap()
    }

    type Make = fn(&[&Path], Option<(&Path, &Path)>, &[(&str, &str)]) -> Result<OwnedFd, SysError>;

    fn check(make: Make, name: &str, count: usize) {
        let (root, layers) = Layers::new(name, count);
        let lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        let (upper, work) = (root.0.join("upper"), root.0.join("work"));
        let mount = make(&lower, Some((&upper, &work)), &[]).unwrap();
        assert_eq!(read(&mount, "same"), "0", "the first layer is the topmost");
        let last = (count - 1).to_string();
        assert_eq!(read(&mount, &format!("file{last}")), last);
        let flags = OFlags::CREATE | OFlags::WRONLY;
        drop(rustix::fs::openat(&mount, "new", flags, Mode::RUSR).unwrap());
        assert!(upper.join("new").exists());
        drop(mount);
        let read_only = make(&lower[..2], None, &[]).unwrap();
        let refused = rustix::fs::openat(&read_only, "new", flags, Mode::RUSR).unwrap_err();
        assert_eq!(refused, Errno::ROFS);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(name), "nothing is seen of it: {mounts}");
    }

    #[test]
    fn privileged_overlay_of_120_layers_by_layer() {
        check(overlay_by_layer, "by-layer", 120);
    }

    #[test]
    fn privileged_overlay_of_10_layers_by_list() {
        check(overlay_by_list, "by-list", 10);
        let (_root, layers) = Layers::new("by-long-list", 30);
        let lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        let error = overlay_by_list(&lower, None, &[]).unwrap_err();
        assert_eq!(error.errno, Errno::NAMETOOLONG);
    }

    #[test]
    fn privileged_overlay_of_120_layers_by_option_string() {
        check(overlay_by_option_string, "by-string", 120);
    }

    #[test]
    fn privileged_overlay_that_never_syncs_can_be_mounted_again() {
        let (root, layers) = Layers::new("volatile", 1);
        let (upper, work) = (root.0.join("upper"), root.0.join("work"));
        let top = Some((upper.as_path(), work.as_path()));
        for content in ["first", "second"] {
            let mount = overlay(&layers, top, &[NEVER_SYNC]).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
            let file = rustix::fs::openat(&mount, "new", flags, Mode::RUSR).unwrap();
            rustix::io::write(&file, content.as_bytes()).unwrap();
            drop(file);
            assert_eq!(read(&mount, "new"), content);
        }
        assert_eq!(std::fs::read_to_string(upper.join("new")).unwrap(), "second");
    }

    #[test]
    fn privileged_overlay_takes_awkward_and_long_paths() {
        let (root, _layers) = Layers::new("awkward", 1);
        let long = root.0.join("x".repeat(200)).join("y".repeat(200));
        for awkward in [root.0.join("a:b,c\\d"), long] {
            std::fs::create_dir_all(&awkward).unwrap();
            std::fs::write(awkward.join("here"), "yes").unwrap();
            let mount = overlay(&[&awkward, &root.0.join("layer0")], None, &[]).unwrap();
            assert_eq!(read(&mount, "here"), "yes");
        }
    }

    #[test]
    fn privileged_read_only_copy_of_a_directory() {
        let (root, layers) = Layers::new("copy", 1);
        let copy = open_tree(&layers[0], true).unwrap();
        let attributes = Attributes {
            set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
            propagation: Some(Propagation::Private),
            ..Attributes::default()
        };
        set_attributes(copy.as_fd(), attributes, true).unwrap();
        let refused = rustix::fs::openat(&copy, "same", OFlags::WRONLY, Mode::empty()).unwrap_err();
        assert_eq!(refused, Errno::ROFS);
        drop(root);
    }

    #[test]
    fn privileged_wrong_option_is_named() {
        let error = filesystem("tmpfs", None, &[("nonsense", "1")], MountAttrFlags::empty()).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
