//! Volumes with options: something is mounted on their `_data`, for as long as somebody uses it.
//!
//! Nobody stays to look after it, so who uses it is written down:
//!
//! ```text
//! <run root>/volumes/<name>/lock          held exclusively by whoever changes anything here
//! <run root>/volumes/<name>/<id>          a container that is started or runs
//! <run root>/volumes/<name>/guest-<…>     a command at work (`cp`, copy-up, `volume snapshot`), which holds its lock
//! <run root>/<id>/volumes                 which volumes a container has written itself down for
//! ```
//!
//! The first to come mounts, the last to go unmounts. The mount is made detached and then moved onto the directory, in
//! the host's own mount namespace as Docker has it: only so are two containers on one `tmpfs` volume in the same memory,
//! and only so does a volume's `Mountpoint` show on the host what is in it. A container that is killed together with its
//! monitor is struck off by [`sweep`], which every command does; after a reboot neither mounts nor users are there.

use super::options::{self, Recipe};
use crate::containers::record::ContainerId;
use crate::containers::{invalid, places};
use crate::{Engine, EngineError, Locations};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use sys::lock::Lock;
use sys::path::Tree;
use sys::{SysError, failpoint};

/// How the names of commands at work begin.
const GUEST: &str = "guest-";
/// The name of the list in a container's run directory.
const LIST: &str = "volumes";

/// A command's stay in a volume; its end may unmount it.
#[derive(Debug)]
pub(crate) struct Guest {
    locations: Locations,
    volume: String,
    user: String,
    /// Says that the command is still at work.
    lock: Option<Lock>,
}

impl Guest {
    /// Mounts what the volume's options say; `None` if it has none and there is nothing to do.
    pub(crate) fn enter(
        locations: &Locations,
        volume: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, EngineError> {
        let Some(recipe) = options::recipe(options) else {
            return Ok(None);
        };
        let mut guest = Self {
            locations: locations.clone(),
            volume: volume.to_owned(),
            user: format!("{GUEST}{}", places::hex(&places::random::<8>()?)),
            lock: None,
        };
        let door = Door::open(locations, volume)?;
        let added = Lock::exclusive(&door.directory.join(&guest.user)).map_err(EngineError::from);
        match added.and_then(|lock| door.mount(&recipe).map(|()| lock)) {
            Ok(lock) => {
                guest.lock = Some(lock);
                Ok(Some(guest))
            }
            Err(error) => {
                door.leave(&guest.user)?;
                Err(error)
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // What cannot be unmounted now is tried again by the next command.
            Door::open(&self.locations, &self.volume)
                .and_then(|door| door.leave(&self.user))
                .unwrap_or_default();
            drop(lock);
        }
    }
}

/// Mounts the volumes of a container that is about to run. What has been done when it fails is undone with the
/// container's run directory.
pub(crate) fn hold(engine: &Engine, id: &ContainerId, volumes: &[&str]) -> Result<(), EngineError> {
    let locations = &engine.locations;
    let list = locations.run_directory(id).join(LIST);
    std::fs::write(&list, volumes.join("\n")).map_err(|error| SysError::io("write", &list, &error))?;
    failpoint::reach("volume.listed")?;
    for volume in volumes {
        let options = engine.volumes().inspect(volume)?.options;
        let Some(recipe) = options::recipe(&options) else {
            continue;
        };
        let door = Door::open(locations, volume)?;
        let user = door.directory.join(id.as_str());
        std::fs::write(&user, b"").map_err(|error| SysError::io("write", &user, &error))?;
        failpoint::reach("volume.user")?;
        door.mount(&recipe)?;
        failpoint::reach("volume.mounted")?;
    }
    Ok(())
}

/// Strikes a container off that runs no more. One look for a file that most do not have.
pub(crate) fn release(locations: &Locations, id: &ContainerId) {
    let list = locations.run_directory(id).join(LIST);
    let Ok(volumes) = std::fs::read_to_string(&list) else {
        return;
    };
    let mut done = true;
    for volume in volumes.lines().filter(|line| !line.is_empty()) {
        done &= Door::open(locations, volume)
            .and_then(|door| door.leave(id.as_str()))
            .is_ok();
    }
    failpoint::pass("volume.released");
    // Otherwise recovery finds the container in the volume's list, dead.
    if done {
        std::fs::remove_file(&list).unwrap_or_default();
    }
}

/// Strikes dead users off. One look at a directory that is usually not there.
pub(crate) fn sweep(locations: &Locations) -> Result<(), EngineError> {
    let directory = locations.run_root.join("volumes");
    let volumes = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        volumes => volumes.map_err(|error| SysError::io("read the directory", &directory, &error))?,
    };
    for volume in volumes
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        // One that cannot be unmounted must not keep every command from its work.
        sweep_one(locations, &volume).unwrap_or_default();
    }
    Ok(())
}

fn sweep_one(locations: &Locations, volume: &str) -> Result<(), EngineError> {
    let directory = locations.run_root.join("volumes").join(volume);
    let users = users(&directory)?;
    let is_alive = |user: &String| {
        Ok::<_, EngineError>(match ContainerId::parse(user) {
            Some(id) => locations.is_claimed(&id)?,
            None => Lock::is_held(&directory.join(user))?,
        })
    };
    let mut dead = Vec::new();
    for user in &users {
        if !is_alive(user)? {
            dead.push(user);
        }
    }
    if dead.is_empty() && !users.is_empty() {
        return Ok(());
    }
    // Whoever is just coming or going holds the lock.
    let Some(lock) = Lock::try_exclusive(&directory.join("lock"))? else {
        return Ok(());
    };
    let door = Door {
        data: super::data(locations, volume),
        directory: directory.clone(),
        _lock: lock,
    };
    for user in dead {
        // It may have come back while we waited.
        if !is_alive(user)? {
            remove_file(&directory.join(user))?;
        }
    }
    door.close()
}

/// A volume's list of users, locked.
struct Door {
    directory: PathBuf,
    data: PathBuf,
    _lock: Lock,
}

impl Door {
    fn open(locations: &Locations, volume: &str) -> Result<Self, EngineError> {
        let directory = locations.run_root.join("volumes").join(volume);
        loop {
            crate::make_private_directory(&directory)?;
            match Lock::exclusive(&directory.join("lock")) {
                // The last one has gone between our two steps, and has taken the directory away.
                Err(error) if error.errno == Errno::NOENT => {}
                lock => {
                    return Ok(Self {
                        data: super::data(locations, volume),
                        directory,
                        _lock: lock?,
                    });
                }
            }
        }
    }

    /// Mounts, unless somebody has.
    fn mount(&self, recipe: &Recipe) -> Result<(), EngineError> {
        let data = &self.data;
        if is_mounted(data)? {
            return Ok(());
        }
        let failed = |recipe: &Recipe, why: &str| {
            invalid(format!(
                "error while mounting volume '{}': failed to mount local volume: mount {}: {why}",
                data.display(),
                recipe.describe()
            ))
        };
        let resolved = recipe
            .clone()
            .resolve(options::look_up)
            .map_err(|why| failed(recipe, &why))?;
        let mount = runtime::detached_mount(&resolved.kind, &resolved.device, &resolved.options)
            .map_err(|error| failed(recipe, &error.message))?;
        let place = Tree::open(data)?;
        sys::mount::attach(mount.as_fd(), place.as_fd()).map_err(|error| failed(recipe, &error.to_string()))
    }

    /// Strikes a user off.
    fn leave(self, user: &str) -> Result<(), EngineError> {
        remove_file(&self.directory.join(user))?;
        failpoint::pass("volume.left");
        self.close()
    }

    /// Unmounts if nobody is left. A process of the host's that is still in there keeps what it sees, but nobody else.
    fn close(self) -> Result<(), EngineError> {
        if !users(&self.directory)?.is_empty() {
            return Ok(());
        }
        if is_mounted(&self.data)? {
            sys::mount::detach(Tree::open(&self.data)?.as_fd())?;
        }
        failpoint::pass("volume.unmounted");
        remove_file(&self.directory.join("lock"))?;
        match std::fs::remove_dir(&self.directory) {
            // Somebody has come in since.
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(SysError::io("remove the directory", &self.directory, &error).into());
            }
            _ => {}
        }
        // With the last volume goes the directory of them.
        if let Some(all) = self.directory.parent() {
            std::fs::remove_dir(all).unwrap_or_default();
        }
        Ok(())
    }
}

fn users(directory: &Path) -> Result<Vec<String>, EngineError> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| SysError::io("read the directory", directory, &error))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != "lock")
        .collect())
}

fn remove_file(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SysError::io("remove", path, &error).into())
        }
        _ => Ok(()),
    }
}

/// Says whether something is mounted on a directory; one that is not there has nothing.
pub(crate) fn is_mounted(directory: &Path) -> Result<bool, EngineError> {
    // A file server that does not answer is not asked.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(CWD, directory, flags, StatxFlags::empty()) {
        Err(Errno::NOENT) => Ok(false),
        found => {
            let found = found.map_err(SysError::on("look at", directory))?;
            Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
    }
}
