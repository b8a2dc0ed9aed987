//! A volume becomes again what it was.
//!
//! The version is copied aside, and then the copy and the volume's directory change places in one step
//! (renameat2(2), `RENAME_EXCHANGE`). What was there becomes a version of its own, unless it is not wanted. Whether the
//! change has happened is told, to who comes after a kill, by the inode of the directory that was there.

use super::super::tree_copy::Copier;
use super::super::{Volume, Volumes, mounting, options};
use super::staging::{self, Stage};
use super::{NewVersion, Origin, Source, Version, VersionSettings, directory, open_directory};
use crate::{EngineError, Locations, events};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use state::Database;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use sys::{SysError, failpoint};

/// What is to be known of a restore after a kill.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Record {
    /// When the volume was made.
    made: i64,
    /// The inode of the directory that is to be replaced.
    inode: u64,
    /// Whether that is kept as a version.
    keep: bool,
    size: u64,
}

impl Volumes<'_> {
    /// Makes a volume what one of its versions holds. No container may run with it. What it held is kept as a version,
    /// which is returned, unless it is to be discarded.
    pub fn restore(
        &self,
        volume: &str,
        tag: &str,
        discard: bool,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Version>, EngineError> {
        let locations = &self.engine.locations;
        let found = self.inspect(volume)?;
        self.refuse_if_used(volume)?;
        if options::recipe(&found.options).is_some() || mounting::is_mounted(&found.mountpoint)? {
            return Err(EngineError::Conflict {
                message: format!("cannot restore {volume}: its content is elsewhere, where its options say"),
                hint: Some(format!(
                    "make a volume of the version: 'volume clone {volume}:{tag} NAME'"
                )),
            });
        }
        let (tree, opened) = self.open_source(&Source {
            volume: volume.to_owned(),
            tag: Some(tag.to_owned()),
        })?;
        let stage = Stage::begin_restore(locations, volume)?;
        let source = open_directory(&tree)?;
        Copier::new(&stage.tree(), None, cancelled).pass(source.as_fd())?;
        sys::fs::sync_filesystem(&stage.tree())?;
        failpoint::reach("restore.copied")?;
        let record = Record {
            made: found.created,
            inode: inode(&found.mountpoint)?,
            keep: !discard,
            size: if discard { 0 } else { bytes_of(&found.mountpoint)? },
        };
        let note = stage.holder().join("record");
        let text =
            serde_json::to_vec(&record).map_err(|error| SysError::io("write", &note, &error.into()))?;
        sys::fs::write_atomically(&note, &text, 0o600)?;
        failpoint::reach("restore.noted")?;
        self.refuse_if_used(volume)?;
        exchange(&stage.tree(), &found.mountpoint)?;
        failpoint::pass("restore.exchanged");
        // One that was started at this very moment has the old directory.
        let kept = self
            .refuse_if_used(volume)
            .and_then(|()| self.record_restore(&found, tag, &record, &stage));
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                // Otherwise what was there must stay until the next command has made a version of it.
                if stage.tree().exists() && exchange(&stage.tree(), &found.mountpoint).is_err() {
                    stage.leave();
                }
                return Err(error);
            }
        };
        failpoint::pass("restore.recorded");
        stage.finish()?;
        drop(opened);
        Ok(kept)
    }

    fn record_restore(
        self,
        volume: &Volume,
        tag: &str,
        record: &Record,
        stage: &Stage,
    ) -> Result<Option<Version>, EngineError> {
        let locations = &self.engine.locations;
        self.engine.database.write(|transaction| {
            let kept = if record.keep {
                Some(keep(transaction, locations, &volume.name, record, stage)?)
            } else {
                None
            };
            let attributes = [("driver", "local"), ("tag", tag)];
            events::record(transaction, "volume", "restore", &volume.name, &attributes)?;
            Ok(kept)
        })
    }

    fn refuse_if_used(self, volume: &str) -> Result<(), EngineError> {
        match self.users_alive(volume)?.first() {
            None => Ok(()),
            Some(user) => Err(EngineError::Conflict {
                message: format!(
                    "cannot restore {volume}: the container {} runs with it",
                    user.name
                ),
                hint: Some(format!("stop it first: 'stop {}'", user.name)),
            }),
        }
    }
}

/// Makes what a restore has replaced a version.
fn keep(
    transaction: &rusqlite::Connection,
    locations: &Locations,
    volume: &str,
    record: &Record,
    stage: &Stage,
) -> Result<Version, EngineError> {
    let kept = insert(transaction, volume, record, stage.id())?;
    staging::put(&stage.tree(), &directory(locations, volume).join(stage.id()))?;
    failpoint::pass("restore.kept");
    Ok(kept)
}

fn insert(
    connection: &rusqlite::Connection,
    volume: &str,
    record: &Record,
    id: &str,
) -> Result<Version, EngineError> {
    let settings = VersionSettings {
        origin: Origin::Replaced,
        ..VersionSettings::default()
    };
    let row = NewVersion {
        volume,
        tag: None,
        id,
        size: record.size,
        settings: &settings,
        created: events::now(),
    };
    super::insert(connection, record.made, &row)
}

/// Finishes a dead process's restore if the trees have changed places, otherwise there is nothing to undo.
pub(super) fn follow_up(
    database: &Database,
    locations: &Locations,
    holder: &Path,
    volume: &str,
    id: &str,
) -> Result<(), EngineError> {
    let Ok(text) = std::fs::read(holder.join("record")) else {
        return Ok(());
    };
    let Ok(record) = serde_json::from_slice::<Record>(&text) else {
        return Ok(());
    };
    let data = super::super::data(locations, volume);
    if !record.keep || inode(&data).is_ok_and(|there| there == record.inode) {
        return Ok(());
    }
    let place = directory(locations, volume).join(id);
    let tree = holder.join("tree");
    if !(tree.exists() || place.exists()) {
        return Ok(());
    }
    let is_known = staging::has_row(database, id)?;
    database.write(|transaction| {
        if !is_known {
            match insert(transaction, volume, &record, id) {
                Ok(_version) => {}
                // The volume has been removed since.
                Err(EngineError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        staging::put(&tree, &place)
    })
}

fn exchange(one: &Path, other: &Path) -> Result<(), EngineError> {
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
        .map_err(SysError::on("put another directory in the place of", other))?)
}

fn inode(path: &Path) -> Result<u64, EngineError> {
    let found = std::fs::symlink_metadata(path).map_err(|error| SysError::io("look at", path, &error))?;
    Ok(found.ino())
}

/// Returns the bytes of a tree's regular files.
fn bytes_of(path: &Path) -> Result<u64, EngineError> {
    let tree = open_directory(path)?;
    let bytes = super::compare::bytes(tree.as_fd())?;
    Ok(bytes)
}
