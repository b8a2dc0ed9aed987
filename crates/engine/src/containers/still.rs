//! Containers held still while what they have written is copied, so that the copy is of one moment.
//!
//! `<run root>/frozen/<id>` says, by its lock, who holds a container still. Whoever is killed meanwhile leaves it paused,
//! and whichever command comes next lets it go on.

use super::Containers;
use super::record::{Activity, ContainerId};
use super::rows::Record;
use crate::{EngineError, Locations};
use rustix::io::Errno;
use std::path::PathBuf;
use sys::SysError;
use sys::lock::Lock;

impl Containers<'_> {
    /// Says whether a container runs and is not paused.
    pub(crate) fn is_running(self, record: &Record) -> Result<bool, EngineError> {
        Ok(self.activity(record)?.0 == Activity::Running)
    }

    /// Does something while all of these containers are paused.
    pub(crate) fn all_held_still<T>(
        self,
        records: &[Record],
        act: &mut dyn FnMut() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match records.split_first() {
            None => act(),
            Some((first, rest)) => self.held_still(first, || self.all_held_still(rest, act)),
        }
    }

    /// Does something while the container is paused, and lets it go on if it was not paused before.
    pub(super) fn held_still<T>(
        self,
        record: &Record,
        act: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let id = &record.id;
        let locations = self.engine.locations();
        let path = frozen(locations).join(id.as_str());
        // One at a time: the second finds the container as it was before the first.
        let lock = loop {
            crate::make_private_directory(&frozen(locations))?;
            match Lock::exclusive(&path) {
                // The last one has taken the directory away between our two steps.
                Err(error) if error.errno == Errno::NOENT => {}
                lock => break lock?,
            }
        };
        let paused = match self.activity(record)?.0 {
            Activity::Running => self.pause(id).map(|()| true),
            _ => Ok(false),
        };
        let done = paused.and_then(|paused| {
            let done = act();
            let thawed = if paused { self.unpause(id) } else { Ok(()) };
            match thawed {
                // It was let go, stopped or removed meanwhile.
                Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => done,
                thawed => done.and_then(|done| thawed.map(|()| done)),
            }
        });
        // While it is held, so that nobody can have taken the file's successor.
        let removed = sys::fs::remove_all(&path);
        drop(lock);
        close(locations);
        let done = done?;
        removed?;
        Ok(done)
    }

    /// Lets containers go on that a dead command holds still. One look at a directory that is usually not there.
    pub(super) fn thaw_abandoned(self) -> Result<(), EngineError> {
        let locations = self.engine.locations();
        let directory = frozen(locations);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| SysError::io("read the directory", &directory, &error))?,
        };
        for entry in entries.flatten() {
            let Some(id) = ContainerId::parse(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            // Most are held by somebody who lives; asking does not disturb them.
            if Lock::is_held(&entry.path())? {
                continue;
            }
            let Some(lock) = Lock::try_exclusive(&entry.path())? else {
                continue;
            };
            match self.unpause(&id) {
                Ok(()) | Err(EngineError::Conflict { .. } | EngineError::NotFound { .. }) => {}
                // It must not keep every command from its work; the next one tries again.
                Err(_still_frozen) => continue,
            }
            sys::fs::remove_all(&entry.path())?;
            drop(lock);
        }
        close(locations);
        Ok(())
    }
}

/// Takes the directory of notes away if there are none left.
fn close(locations: &Locations) {
    // It fails while somebody else holds a container still.
    std::fs::remove_dir(frozen(locations)).unwrap_or_default();
}

/// Where it is noted who holds which container still.
fn frozen(locations: &Locations) -> PathBuf {
    locations.run_root.join("frozen")
}
