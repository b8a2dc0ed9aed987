//! Where versions and whole volumes are while they are made or taken away, which a kill may come upon at any step.
//!
//! ```text
//! <root>/containers/.removed/version-<id>/volume    the volume's name
//! <root>/containers/.removed/version-<id>/tree      the version, before it is in its place or after
//! <root>/containers/.removed/clone-<created>-<id>/  the same of a volume that is made with content: `volume`, `tree`
//! <root>/containers/.removed/restore-<id>/          the same of a restore: `record`, `tree`
//! ```
//!
//! A tree is moved within the transaction that writes or takes away its row. Whoever died is followed up by [`sweep`]:
//! if the row is there, the tree belongs in its place, otherwise it goes.

use super::super::removal;
use super::restore;
use crate::containers::places;
use crate::{EngineError, Locations};
use rusqlite::OptionalExtension;
use state::{Database, StateError};
use std::path::{Path, PathBuf};
use sys::lock::Lock;
use sys::{SysError, failpoint};

/// How the names of directories begin that hold a version.
const VERSION: &str = "version-";
/// How the names of directories begin that hold a new volume.
const CLONE: &str = "clone-";
/// How the names of directories begin that hold a restore.
const RESTORE: &str = "restore-";

/// A tree that is not in its place. Dropped, it is taken away, or put back if it was taken from there.
#[derive(Debug)]
pub(crate) struct Stage {
    id: String,
    holder: PathBuf,
    /// Its place, once it was moved there or if it comes from there.
    place: Option<PathBuf>,
    /// It comes from its place.
    is_removal: bool,
    done: bool,
    /// Held until it is dealt with: see `containers::finish`.
    _lock: Lock,
}

impl Stage {
    /// Makes an empty tree for a new version of a volume.
    pub(super) fn begin(locations: &Locations, volume: &str) -> Result<Self, EngineError> {
        let id = places::hex(&places::random::<16>()?);
        let stage = Self::new(locations, format!("{VERSION}{id}"), id, volume)?;
        make_tree(&stage.tree())?;
        Ok(stage)
    }

    /// Makes an empty tree for a volume that will have been made at `created`.
    pub(super) fn begin_volume(
        locations: &Locations,
        volume: &str,
        created: i64,
    ) -> Result<Self, EngineError> {
        let id = places::hex(&places::random::<8>()?);
        let stage = Self::new(locations, format!("{CLONE}{created}-{id}"), id, volume)?;
        crate::make_private_directory(&stage.tree())?;
        make_tree(&stage.data())?;
        Ok(stage)
    }

    /// Makes an empty tree for what will take a volume's place.
    pub(super) fn begin_restore(locations: &Locations, volume: &str) -> Result<Self, EngineError> {
        let id = places::hex(&places::random::<16>()?);
        let stage = Self::new(locations, format!("{RESTORE}{id}"), id, volume)?;
        make_tree(&stage.tree())?;
        Ok(stage)
    }

    /// Takes a version from its place, within the transaction that takes its row away.
    pub(super) fn take_away(locations: &Locations, volume: &str, id: &str) -> Result<Self, EngineError> {
        let mut stage = Self::new(locations, format!("{VERSION}{id}"), id.to_owned(), volume)?;
        let place = super::directory(locations, volume).join(id);
        stage.is_removal = true;
        match std::fs::rename(&place, stage.tree()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SysError::io("move away", &place, &error).into());
            }
            Ok(()) => stage.place = Some(place),
            Err(_missing) => {}
        }
        failpoint::reach("version.moved-aside")?;
        Ok(stage)
    }

    fn new(locations: &Locations, name: String, id: String, volume: &str) -> Result<Self, EngineError> {
        let lock = locations.open_trash()?;
        let holder = locations.trash().join(name);
        crate::make_private_directory(&holder)?;
        let stage = Self {
            id,
            holder,
            place: None,
            is_removal: false,
            done: false,
            _lock: lock,
        };
        let note = stage.holder.join("volume");
        std::fs::write(&note, volume).map_err(|error| SysError::io("write", &note, &error))?;
        failpoint::reach("version.noted")?;
        Ok(stage)
    }

    /// Returns the version's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the directory in which all lies.
    pub(super) fn holder(&self) -> &Path {
        &self.holder
    }

    /// Returns where the tree is before it is in its place.
    pub(super) fn tree(&self) -> PathBuf {
        self.holder.join("tree")
    }

    /// Returns where the content of a new volume is.
    pub(super) fn data(&self) -> PathBuf {
        self.tree().join("_data")
    }

    /// Moves a new version to its place, within the transaction that writes its row.
    pub(super) fn place(&self, locations: &Locations) -> Result<(), EngineError> {
        let volume = read_note(&self.holder)?;
        self.place_at(&super::directory(locations, &volume).join(&self.id))
    }

    /// Moves a new volume to its place, within the transaction that writes its row.
    pub(super) fn place_volume(&self, locations: &Locations) -> Result<(), EngineError> {
        let place = locations.volume_directory(&read_note(&self.holder)?);
        if let Some(above) = place.parent() {
            crate::make_private_directory(above)?;
        }
        self.place_at(&place)
    }

    fn place_at(&self, place: &Path) -> Result<(), EngineError> {
        Ok(sys::fs::rename_to_new(&self.tree(), place)?)
    }

    /// Ends it, now that its row is written or taken away.
    pub(super) fn finish(mut self) -> Result<(), EngineError> {
        self.done = true;
        failpoint::pass("version.finishing");
        Ok(sys::fs::remove_all(&self.holder)?)
    }
}

impl Stage {
    /// Leaves it to recovery.
    pub(super) fn leave(mut self) {
        self.done = true;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Some(place) = self.place.as_ref().filter(|_| self.is_removal) {
            // What does not work now is tried again by the next command.
            if sys::fs::rename_to_new(&self.tree(), place).is_err() {
                return;
            }
        }
        // The transaction has failed. If its tree was in its place already, only recovery may say so by the row.
        if self.is_removal || self.tree().exists() {
            sys::fs::remove_all(&self.holder).unwrap_or_default();
        }
    }
}

fn make_tree(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(path)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)))
        .map_err(|error| SysError::io("make the directory", path, &error).into())
}

fn read_note(holder: &Path) -> Result<String, EngineError> {
    let note = holder.join("volume");
    std::fs::read_to_string(&note).map_err(|error| SysError::io("read", &note, &error).into())
}

fn kind_of(holder: &Path) -> Option<(&'static str, String)> {
    let name = holder.file_name()?.to_str()?;
    [VERSION, CLONE, RESTORE]
        .into_iter()
        .find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?.to_owned())))
}

/// Says whether an entry of the trash is a volume's, or a version's.
pub(crate) fn is_ours(entry: &Path) -> bool {
    removal::is_removal(entry) || kind_of(entry).is_some()
}

/// Finishes or undoes what a dead process has begun. The trash is locked against living ones.
pub(crate) fn sweep(database: &Database, locations: &Locations, holder: &Path) -> Result<(), EngineError> {
    let Some((kind, rest)) = kind_of(holder) else {
        return removal::sweep(database, locations, holder);
    };
    match (kind, read_note(holder)) {
        // It had not even begun.
        (_, Err(_)) => {}
        (RESTORE, Ok(volume)) => restore::follow_up(database, locations, holder, &volume, &rest)?,
        (CLONE, Ok(volume)) => follow_up_volume(database, locations, holder, &volume, &rest)?,
        (_, Ok(volume)) => follow_up_version(database, locations, holder, &volume, &rest)?,
    }
    Ok(sys::fs::remove_all(holder)?)
}

fn follow_up_version(
    database: &Database,
    locations: &Locations,
    holder: &Path,
    volume: &str,
    id: &str,
) -> Result<(), EngineError> {
    let place = super::directory(locations, volume).join(id);
    if has_row(database, id)? {
        return put(&holder.join("tree"), &place);
    }
    Ok(sys::fs::remove_all(&place)?)
}

fn follow_up_volume(
    database: &Database,
    locations: &Locations,
    holder: &Path,
    volume: &str,
    rest: &str,
) -> Result<(), EngineError> {
    let made = rest.split('-').next().and_then(|text| text.parse::<i64>().ok());
    let place = locations.volume_directory(volume);
    // As the only writer, so that nobody makes a volume of that name meanwhile.
    database.write(|transaction| {
        let created: Option<i64> = transaction
            .query_row("SELECT created FROM volumes WHERE name = ?1", [volume], |row| {
                row.get(0)
            })
            .optional()
            .map_err(StateError::from)?;
        match created {
            Some(created) if Some(created) == made => put(&holder.join("tree"), &place),
            // Another volume of that name.
            Some(_) => Ok(()),
            None => Ok(sys::fs::remove_all(&place)?),
        }
    })
}

/// Says whether a version is recorded.
pub(super) fn has_row(database: &Database, id: &str) -> Result<bool, EngineError> {
    Ok(database.read(|connection| {
        Ok::<_, StateError>(
            connection
                .query_row("SELECT 1 FROM volume_versions WHERE id = ?1", [id], |_row| Ok(()))
                .optional()?
                .is_some(),
        )
    })?)
}

/// Moves a tree to its place if it is not there yet.
pub(super) fn put(tree: &Path, place: &Path) -> Result<(), EngineError> {
    if tree.exists() && !place.exists() {
        sys::fs::rename_to_new(tree, place)?;
    }
    Ok(())
}
