//! `cp`: files in and out, by descriptors inside the container's root only (CVE-2018-15664, CVE-2019-14271).
//!
//! A running container's root is reached through its first process, with everything that is mounted there. A stopped
//! one's is mounted for us alone, under its lock; what lies in a volume or a bind is then looked for there.

use super::record::{Activity, ContainerId};
use super::rows::Record;
use super::{Containers, conflict, running, start};
use crate::EngineError;
use crate::volumes::mounting::Guest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::lock::Lock;
use sys::path::Tree;

pub use store::Clash;

/// Whose files become that are copied into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whose the archive says that they are, by number.
    Archived,
    /// The container's user's, if it has one that is not root; otherwise as the archive says.
    Container,
    /// A user's and a group's.
    Given(u32, u32),
}

/// What a path inside a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Where it points, if it is a link, absolute inside the container.
    pub link_target: String,
}

/// A container's root, opened, and a lock that keeps it from being started meanwhile.
struct View {
    root: Tree,
    _lock: Option<Lock>,
    /// Stopped: volumes with options, mounted for as long.
    _volumes: Vec<Guest>,
    /// Stopped: where other trees would be mounted, the deepest first.
    mounts: Vec<(PathBuf, PathBuf, bool)>,
    /// Stopped: whether its root is to be written.
    read_only: bool,
    /// Running: what can be written is as it is mounted.
    lives: bool,
}

/// A path in it, resolved as far as its last component.
struct Found {
    directory: OwnedFd,
    name: OsString,
    writable: bool,
}

impl Containers<'_> {
    /// Says what `path` is.
    pub fn stat_path(&self, id: &ContainerId, path: &str) -> Result<PathStat, EngineError> {
        let view = self.view(id, false)?;
        let found = view.find(id, path)?;
        let stat = view.describe(&found, id, path)?;
        is_as_named(path, &stat)?;
        Ok(stat)
    }

    /// Writes `path` as a tar whose top entry is the path's last component (Docker's `GET …/archive`).
    pub fn copy_out(
        &self,
        id: &ContainerId,
        path: &str,
        into: &mut dyn Write,
    ) -> Result<PathStat, EngineError> {
        let view = self.view(id, false)?;
        let found = view.find(id, path)?;
        let stat = view.describe(&found, id, path)?;
        is_as_named(path, &stat)?;
        store::write_tree(
            found.directory.as_fd(),
            &found.name,
            OsStr::new(stat.name.trim_start_matches('/')),
            into,
        )?;
        self.note(&self.record(id)?, "archive-path", &[])?;
        Ok(stat)
    }

    /// Unpacks a tar into the directory `path` (Docker's `PUT …/archive`).
    pub fn copy_in(
        &self,
        id: &ContainerId,
        path: &str,
        tar: &mut dyn Read,
        owner: Owner,
        clash: Clash,
    ) -> Result<(), EngineError> {
        let view = self.view(id, true)?;
        sys::failpoint::reach("copy.opened")?;
        let found = view.find(id, &format!("{path}/"))?;
        if !found.writable {
            return Err(conflict("container rootfs is marked read-only"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(&found.directory, &found.name, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => {
                return Err(super::invalid("extraction point is not a directory"));
            }
            Err(Errno::NOENT) => return Err(no_such_path(id, path)),
            opened => opened.map_err(SysError::on("open", path))?,
        };
        // In a container that runs, what is mounted there says.
        let mounted = rustix::fs::fstatvfs(&directory).map_err(SysError::on("look at", path))?;
        if view.lives && mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(conflict("container rootfs is marked read-only"));
        }
        let record = self.record(id)?;
        let owner = match owner {
            Owner::Archived => store::Owner::Archived,
            Owner::Given(user, group) => store::Owner::Given(user, group),
            Owner::Container if record.settings.user.is_empty() => store::Owner::Archived,
            Owner::Container => {
                let (user, group) = runtime::ids_of(&view.root, &record.settings.user)
                    .map_err(|error| super::invalid(error.to_string()))?;
                store::Owner::Given(user, group)
            }
        };
        store::unpack_into(directory, tar, owner, clash)?;
        self.note(&record, "extract-to-dir", &[])
    }

    /// Writes the whole root filesystem as a tar, without what is mounted in it (`export`): mount points are empty.
    pub fn export(&self, id: &ContainerId, into: &mut dyn Write) -> Result<(), EngineError> {
        let layers = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(start::layers_of(connection, id)?))?;
        let view = self.view(id, false)?;
        let mut under = Vec::with_capacity(layers.len() + 2);
        let upper = self.engine.locations().container_directory(id).join("upper");
        for directory in std::iter::once(upper).chain(self.engine.store.overlay(&layers, None, true).lower) {
            under.push(Tree::open(&directory)?);
        }
        store::write_root(view.root.as_fd(), &under, into)?;
        let record = self.record(id)?;
        self.note(&record, "export", &[])
    }

    fn view(self, id: &ContainerId, write: bool) -> Result<View, EngineError> {
        let record = self.record(id)?;
        loop {
            let (activity, running) = self.activity(&record)?;
            if let (Activity::Running | Activity::Paused, Some(running)) = (activity, running) {
                if let Some(root) = root_of(&running)? {
                    return Ok(View {
                        root,
                        _lock: None,
                        _volumes: Vec::new(),
                        mounts: Vec::new(),
                        read_only: false,
                        lives: true,
                    });
                }
                self.wait_for_release(id)?;
            }
            if let Some(lock) = self.engine.locations().claim(id)? {
                return self.view_of_stopped(&record, write, lock);
            }
            std::thread::yield_now();
        }
    }

    fn view_of_stopped(self, record: &Record, write: bool, lock: Lock) -> Result<View, EngineError> {
        let layers = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(start::layers_of(connection, &record.id)?))?;
        let directory = self.engine.locations().container_directory(&record.id);
        super::create::make_directories(&directory, &record.settings.request)?;
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        let union = self
            .engine
            .store
            .overlay(&layers, Some((upper.as_path(), work.as_path())), true);
        let root = if write {
            // As the runtime mounts it: see there.
            let options = [("redirect_dir", "off"), ("metacopy", "off")];
            sys::mount::overlay(&union.lower, Some((upper.as_path(), work.as_path())), &options)?
        } else {
            // Read as one more layer, the upper directory is left as it is.
            let mut lower = vec![upper];
            lower.extend(union.lower);
            sys::mount::overlay(&lower, None, &[])?
        };
        let mut mounts: Vec<_> = record
            .settings
            .mounts
            .iter()
            .filter(|mount| mount.kind != "tmpfs")
            .map(|mount| (PathBuf::from(&mount.target), mount.source.clone(), mount.writable))
            .collect();
        mounts.sort_by_key(|(target, ..)| std::cmp::Reverse(target.components().count()));
        Ok(View {
            root: Tree::new(root),
            _lock: Some(lock),
            _volumes: self.engine.volumes().visit(&record.settings.mounts)?,
            mounts,
            read_only: record.settings.request.read_only,
            lives: false,
        })
    }
}

/// Opens the root directory of a container's first process, if that is still the one it was.
fn root_of(running: &running::Running) -> Result<Option<Tree>, EngineError> {
    let Some(process) = running::open_process(running)? else {
        return Ok(None);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(&process, "root", flags, Mode::empty()) {
        Ok(root) => Ok(Some(Tree::new(root))),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(errno) => {
            let process = format!("/proc/{}", running.pid);
            Err(SysError::on("open the root of", process)(errno).into())
        }
    }
}

impl View {
    /// Resolves a path. Without a slash behind it, a link is itself.
    fn find(&self, id: &ContainerId, path: &str) -> Result<Found, EngineError> {
        let absolute = Path::new("/").join(path);
        let follow = path.ends_with('/') || path.ends_with("/.");
        let missing = |error: SysError| match error.errno {
            Errno::NOENT | Errno::NOTDIR => no_such_path(id, path),
            _ => error.into(),
        };
        let resolved = if follow || absolute.file_name().is_none() {
            self.root.resolve(&absolute).map_err(missing)?
        } else {
            let above = absolute.parent().unwrap_or(Path::new("/"));
            let name = absolute.file_name().unwrap_or_default();
            self.root.resolve(above).map_err(missing)?.join(name)
        };
        for (target, source, writable) in &self.mounts {
            if let Ok(rest) = resolved.strip_prefix(target) {
                return Self::find_in_mount(source, rest, *writable).map_err(missing);
            }
        }
        let (directory, name) = place(&self.root, &resolved).map_err(missing)?;
        Ok(Found {
            directory,
            name,
            writable: !self.read_only,
        })
    }

    fn find_in_mount(source: &Path, rest: &Path, writable: bool) -> Result<Found, SysError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = rustix::fs::open(source, flags, Mode::empty()).map_err(SysError::on("open", source))?;
        let (directory, name) = if rest.as_os_str().is_empty() {
            // A bind may be of a file, which has no inside.
            let above = source.parent().unwrap_or(Path::new("/"));
            match source.file_name() {
                Some(name) => (
                    rustix::fs::open(above, flags, Mode::empty()).map_err(SysError::on("open", above))?,
                    name.to_owned(),
                ),
                None => (opened, OsString::from(".")),
            }
        } else {
            let tree = Tree::new(opened);
            let resolved = tree.resolve(Path::new("/").join(rest).as_path())?;
            place(&tree, &resolved)?
        };
        Ok(Found {
            directory,
            name,
            writable,
        })
    }

    fn describe(&self, found: &Found, id: &ContainerId, path: &str) -> Result<PathStat, EngineError> {
        let stat = match statat(&found.directory, &found.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(no_such_path(id, path)),
            stat => stat.map_err(SysError::on("look at", path))?,
        };
        let mut link_target = String::new();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let absolute = Path::new("/").join(path);
            // A link into nowhere leads nowhere.
            link_target = self
                .root
                .resolve(&absolute)
                .map(|target| target.to_string_lossy().into_owned())
                .unwrap_or_default();
        }
        let name = match Path::new(path).file_name() {
            // The content alone: every member's name begins with a dot.
            _ if path.ends_with("/.") => ".".into(),
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".into(),
        };
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
        Ok(PathStat {
            name,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mode: stat.st_mode,
            mtime: stat
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds),
            link_target,
        })
    }
}

fn place(tree: &Tree, resolved: &Path) -> Result<(OwnedFd, OsString), SysError> {
    if resolved.file_name().is_none() {
        return Ok((tree.locate(Path::new("/"), true)?, OsString::from(".")));
    }
    tree.parent(resolved)
}

/// What is named with a slash behind it is a directory.
fn is_as_named(path: &str, stat: &PathStat) -> Result<(), EngineError> {
    let directory = FileType::from_raw_mode(stat.mode) == FileType::Directory;
    if directory || !(path.ends_with('/') || path.ends_with("/.")) {
        return Ok(());
    }
    Err(super::invalid(format!("{path}: not a directory")))
}

fn no_such_path(id: &ContainerId, path: &str) -> EngineError {
    EngineError::NotFound {
        kind: "container:path",
        name: format!("{id}:{path}"),
    }
}
