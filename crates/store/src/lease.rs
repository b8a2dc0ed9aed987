//! Leases: what a live process needs kept although nothing refers to it yet.
//!
//! A holder keeps `leases/<holder>` locked; the rows of the `leases` table that bear its name, `tmp/<holder>` and
//! `snapshots/<holder>-*` are its. When the lock is free the holder is dead, and whoever notices clears up.

use crate::root::{Temporary, random_name};
use crate::{LayerId, Store, StoreError};
use oci::Digest;
use rusqlite::Connection;
use state::{Database, StateError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sys::lock::Lock;
use sys::{SysError, failpoint};

/// Keeps what it was taken for from garbage collection, until it is dropped or its process dies.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    root: PathBuf,
    database: Arc<Database>,
    counter: AtomicU64,
    /// Dropped last.
    _lock: Lock,
}

impl Store {
    /// Takes a lease. Whatever this process puts into the store while it lives is kept until it is dropped.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let holder = random_name()?;
        let lock = Lock::exclusive(&self.directory("leases").join(&holder))?;
        failpoint::pass("lease.taken");
        Ok(Lease {
            holder,
            root: self.root.clone(),
            database: Arc::clone(&self.database),
            counter: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Clears up after the holders that have died. Returns how many.
    pub(crate) fn sweep_leases(&self) -> Result<u32, StoreError> {
        let mut swept = 0;
        for holder in names(&self.directory("leases"))? {
            let path = self.directory("leases").join(&holder);
            // Most are alive; asking does not disturb them.
            if Lock::is_held(&path)? {
                continue;
            }
            let Some(lock) = Lock::try_exclusive(&path)? else {
                continue;
            };
            clear(&self.root, &self.database, &holder)?;
            sys::fs::remove_all(&path)?;
            drop(lock);
            swept += 1;
        }
        // A holder makes its lock before anything else, so what has none belongs to nobody.
        for (directory, holder_of) in [("tmp", whole as fn(&str) -> &str), ("snapshots", before_dash)] {
            for name in names(&self.directory(directory))? {
                if !self.directory("leases").join(holder_of(&name)).exists() {
                    sys::fs::remove_all(&self.directory(directory).join(&name))?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }
}

fn whole(name: &str) -> &str {
    name
}

fn before_dash(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

/// Lists one of the store's own directories.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, SysError> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())
        .map_err(SysError::on("open", directory))?;
    let entries = sys::path::entries_of(opened).map_err(SysError::on("list", directory))?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| entry.name.into_string().ok())
        .collect())
}

/// Removes all that a holder has.
fn clear(root: &Path, database: &Database, holder: &str) -> Result<(), StoreError> {
    for name in names(&root.join("snapshots"))? {
        if before_dash(&name) == holder {
            sys::fs::remove_all(&root.join("snapshots").join(name))?;
        }
    }
    failpoint::pass("lease.clearing");
    sys::fs::remove_all(&root.join("tmp").join(holder))?;
    let has_rows: bool = database.read(|c| {
        Ok::<_, StateError>(
            c.prepare_cached("SELECT EXISTS (SELECT 1 FROM leases WHERE holder = ?1)")?
                .query_row([holder], |row| row.get(0))?,
        )
    })?;
    if has_rows {
        database.write(|t| {
            t.execute("DELETE FROM leases WHERE holder = ?1", [holder])?;
            Ok::<_, StateError>(())
        })?;
    }
    Ok(())
}

impl Lease {
    /// Returns a path of its own for something temporary.
    pub(crate) fn temporary(&self) -> Result<Temporary, SysError> {
        let directory = self.root.join("tmp").join(&self.holder);
        sys::fs::create_directories(&directory, 0o700)?;
        failpoint::reach("lease.temporary")?;
        Ok(Temporary(directory.join(self.next().to_string())))
    }

    /// Returns a name for a snapshot.
    pub(crate) fn snapshot_name(&self) -> String {
        format!("{}-{}", self.holder, self.next())
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn keep_layer(&self, connection: &Connection, id: &LayerId) -> rusqlite::Result<()> {
        self.keep(connection, "layer", &id.0)
    }

    pub(crate) fn keep_blob(&self, connection: &Connection, digest: &Digest) -> rusqlite::Result<()> {
        self.keep(connection, "blob", &digest.to_string())
    }

    fn keep(&self, connection: &Connection, kind: &str, object: &str) -> rusqlite::Result<()> {
        connection
            .prepare_cached("INSERT OR IGNORE INTO leases (holder, kind, object) VALUES (?1, ?2, ?3)")?
            .execute([&self.holder, kind, object])?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What fails here is done by the next process that opens the store: the lock is free from now on.
        if clear(&self.root, &self.database, &self.holder).is_ok() {
            failpoint::pass("lease.cleared");
            sys::fs::remove_all(&self.root.join("leases").join(&self.holder)).unwrap_or_default();
        }
    }
}
