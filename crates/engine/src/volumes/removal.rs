//! A volume's way out, which a kill may come upon at any step.
//!
//! Within the transaction that takes the row away, the directory is moved to
//! `containers/.removed/volume-<created>-<random>/<name>`, so that whoever makes a volume of that name next finds its
//! place free. Committed, it is deleted; otherwise it goes back. Whoever died in between is followed up by [`sweep`],
//! which tells by the row which of the two it is: the time of its making says whether the row is this volume's.

use crate::containers::places;
use crate::{EngineError, Locations};
use rusqlite::OptionalExtension;
use state::{Database, StateError};
use std::path::{Path, PathBuf};
use sys::lock::Lock;
use sys::{SysError, failpoint};

/// How the names of directories begin that hold one volume on its way out.
const PREFIX: &str = "volume-";

/// A volume whose row is taken away by a transaction that is not committed yet. Dropped, its directory goes back.
#[derive(Debug)]
pub(crate) struct Removal {
    name: String,
    from: PathBuf,
    /// Where the directory is now; `None` if there was none, or it is dealt with.
    aside: Option<PathBuf>,
    /// Held until then: see `containers::finish`.
    _lock: Lock,
}

impl Removal {
    /// Moves the directory of a volume aside whose row says that it was made at `created`.
    pub(super) fn begin(locations: &Locations, name: &str, created: i64) -> Result<Self, EngineError> {
        let lock = locations.open_trash()?;
        let from = locations.volume_directory(name);
        let holder = locations.trash().join(format!(
            "{PREFIX}{created}-{}",
            places::hex(&places::random::<8>()?)
        ));
        crate::make_private_directory(&holder)?;
        failpoint::pass("volume.trash");
        let aside = match std::fs::rename(&from, holder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SysError::io("move away", &from, &error).into());
            }
            _ => holder,
        };
        let removal = Self {
            name: name.to_owned(),
            from,
            aside: Some(aside),
            _lock: lock,
        };
        failpoint::reach("volume.moved-aside")?;
        Ok(removal)
    }

    /// Returns the volume's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the volume's content is now.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        Some(self.aside.as_ref()?.join(&self.name).join("_data"))
    }

    /// Deletes it, now that its row is gone. What cannot be deleted is tried again by every command.
    pub(crate) fn finish(mut self) -> Result<(), EngineError> {
        failpoint::pass("volume.forgotten");
        match self.aside.take() {
            None => Ok(()),
            // Not into what somebody may have mounted there.
            Some(aside) => sys::fs::remove_all(&aside)
                .map_err(|error| SysError::on("remove the volume", &self.from)(error.errno).into()),
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if let Some(aside) = self.aside.take() {
            put_back(&aside, &self.name, &self.from);
        }
    }
}

/// Undoes a move. What does not work now is tried again by the next command.
fn put_back(aside: &Path, name: &str, to: &Path) {
    if rustix::fs::renameat_with(
        rustix::fs::CWD,
        aside.join(name),
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::NOREPLACE,
    )
    .is_ok()
    {
        std::fs::remove_dir(aside).unwrap_or_default();
    }
}

/// Says whether an entry of the trash holds a volume.
pub(crate) fn is_removal(entry: &Path) -> bool {
    entry
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Finishes or undoes a dead process's removal. The trash is locked against living ones.
pub(crate) fn sweep(database: &Database, locations: &Locations, aside: &Path) -> Result<(), EngineError> {
    let failed = |error: std::io::Error| SysError::io("look at", aside, &error);
    let names = std::fs::read_dir(aside).map_err(failed)?;
    for name in names
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let created: Option<i64> = database.read(|connection| {
            Ok::<_, StateError>(
                connection
                    .prepare_cached("SELECT created FROM volumes WHERE name = ?1")?
                    .query_row([&name], |row| row.get(0))
                    .optional()?,
            )
        })?;
        // Another row is that of another volume of the same name.
        if created.is_some() && created == made(aside) {
            put_back(aside, &name, &locations.volume_directory(&name));
        }
    }
    Ok(sys::fs::remove_all(aside)?)
}

/// Returns when a volume was made that is on its way out.
fn made(aside: &Path) -> Option<i64> {
    let name = aside.file_name()?.to_str()?;
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::VolumeSettings;
    use super::*;

    fn engine(root: &Path) -> (Database, Locations) {
        let locations = Locations {
            root: root.join("root"),
            run_root: root.join("run"),
            config: None,
        };
        std::fs::create_dir_all(locations.root.join("containers")).unwrap();
        (Database::open(&locations.root).unwrap(), locations)
    }

    fn make(database: &Database, locations: &Locations, name: &str) {
        database
            .write(|transaction| super::super::insert(transaction, name, false, &VolumeSettings::default()))
            .unwrap();
        super::super::make(locations, name).unwrap();
        std::fs::write(super::super::data(locations, name).join("file"), name).unwrap();
    }

    fn trash(locations: &Locations) -> Vec<PathBuf> {
        std::fs::read_dir(locations.trash())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_removal(path))
            .collect()
    }

    #[test]
    fn a_transaction_that_fails_leaves_the_volume_where_it_was() {
        let root = tempfile::tempdir().unwrap();
        let (database, locations) = engine(root.path());
        make(&database, &locations, "it");
        let failed: Result<(), EngineError> = database.write(|transaction| {
            let gone = super::super::delete_unused(transaction, &locations, ["it"])?;
            assert_eq!(gone.len(), 1);
            assert!(!locations.volume_directory("it").exists());
            Err(EngineError::Invalid {
                message: "no".into(),
                hint: None,
            })
        });
        assert!(failed.is_err());
        let content = std::fs::read_to_string(super::super::data(&locations, "it").join("file")).unwrap();
        assert_eq!(content, "it");
        assert_eq!(trash(&locations), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_a_dead_process_has_moved_goes_back_or_away_by_its_row() {
        let root = tempfile::tempdir().unwrap();
        let (database, locations) = engine(root.path());
        for (name, row, another, back) in [
            ("uncommitted", true, false, true),
            ("committed", false, false, false),
            ("new", true, true, false),
        ] {
            make(&database, &locations, name);
            let created = database
                .read(|connection| {
                    let mut query = connection.prepare("SELECT created FROM volumes WHERE name = ?1")?;
                    Ok::<i64, StateError>(query.query_row([name], |row| row.get(0))?)
                })
                .unwrap();
            let removal = Removal::begin(&locations, name, created).unwrap();
            // As a killed process does.
            std::mem::forget(removal);
            let sql = match (row, another) {
                (false, _) => "DELETE FROM volumes WHERE name = ?1",
                (true, true) => "UPDATE volumes SET created = created + 1 WHERE name = ?1",
                (true, false) => "SELECT 1 FROM volumes WHERE name = ?1",
            };
            database
                .write(|t| {
                    t.prepare(sql)?.query([name])?.next()?;
                    Ok::<_, StateError>(())
                })
                .unwrap();
            for aside in trash(&locations) {
                sweep(&database, &locations, &aside).unwrap();
            }
            assert_eq!(
                super::super::data(&locations, name).join("file").exists(),
                back,
                "{name}"
            );
            assert_eq!(trash(&locations), Vec::<PathBuf>::new(), "{name}");
        }
    }
}
