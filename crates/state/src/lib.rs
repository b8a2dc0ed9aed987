//! The state database: one SQLite file that orders what all Coracle processes do.
//!
//! In: closures that read or write. Out: their results, each in a transaction of its own. `schema.sql` is the whole
//! schema; the crates above write their own queries against the tables that bear their subject's name. Stands on
//! `rusqlite` (SQLite compiled in). Knows no table's meaning.
//!
//! A database of an earlier version is brought to the present one when it is opened, in one transaction. A program of
//! that version which still runs (a monitor) is refused from then on; what it could not record stands in its run
//! directory, where recovery finds it.
//!
//! # On disk
//!
//! ```text
//! <root>/state.db        write-ahead logged, synchronous=NORMAL
//! <root>/state.db-wal
//! <root>/state.db-shm
//! <root>/reserve         room for removing things when the disk is full
//! ```
//!
//! A killed process leaves either all of a transaction or nothing. A power cut may lose the last transactions but
//! never tears one; what must outlive a power cut is recorded through [`Database::write_durably`].

mod reserve;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The version of `schema.sql`. A change of the schema raises it and adds a migration.
pub const SCHEMA_VERSION: i64 = 4;

const SCHEMA: &str = include_str!("schema.sql");
/// What makes each version of the one before; the first of them makes version 2.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];
/// How long a write waits for other processes' writes, which are all short.
const PATIENCE: Duration = Duration::from_secs(20);

/// From this size in bytes on, [`Database::tidy`] empties the log. Reading a log of this size takes a quarter
/// of a millisecond; emptying it, two syncs.
const LARGE_LOG: u64 = 512 << 10;
/// From this size on whoever closes the database empties the log.
const HUGE_LOG: u64 = 4 << 20;

/// The open state database. Threads share it; each call holds it for the length of its closure.
#[derive(Debug)]
pub struct Database {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It was written by a later version of Coracle. Nothing was changed.
    #[error(
        "the state in '{path}' has version {found}, this program knows {SCHEMA_VERSION}: use a newer coracle, or another --root"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The version in it.
        found: i64,
    },
    /// The file could not be opened.
    #[error("cannot open the state database '{path}'")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// A query failed.
    #[error("the state database refused")]
    Query(#[from] rusqlite::Error),
}

impl Database {
    /// Opens `state.db` in the directory `root`, which exists, and makes the tables if it is new.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        Self::open_with(root, true)
    }

    /// The same for work that nobody waits for: it does not take the room that is kept for removing things.
    pub fn open_behind(root: &Path) -> Result<Self, StateError> {
        Self::open_with(root, false)
    }

    fn open_with(root: &Path, may_need_room: bool) -> Result<Self, StateError> {
        let path = root.join("state.db");
        let failed = |source| StateError::Open {
            path: path.clone(),
            source,
        };
        let start = Instant::now();
        let (connection, version) = loop {
            match connect(&path) {
                // While a new file is made a write-ahead logged one, SQLite answers at once that it is locked.
                Err(error) if is_busy(&error) && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                // Nothing at all could be done, not even looked at, until there is room.
                Err(error) if may_need_room && is_full(&error) && reserve::give_back(root) => {}
                connected => break connected.map_err(failed)?,
            }
        };
        if version > SCHEMA_VERSION {
            return Err(StateError::Newer { path, found: version });
        }
        reserve::keep(root);
        Ok(Self {
            connection: Mutex::new(connection),
            path,
        })
    }

    /// To be called before things are removed: on a full disk, gives back the room that is kept for that, for removing
    /// takes some first, for the log of what goes. Says whether it did.
    pub fn make_room(&self) -> bool {
        let root = self.path.parent();
        root.is_some_and(|root| reserve::is_needed(root) && reserve::give_back(root))
    }

    /// Returns the path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a consistent view. It must not write.
    pub fn read<T, E: From<StateError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(StateError::from)?;
        let result = work(&transaction)?;
        transaction.commit().map_err(StateError::from)?;
        Ok(result)
    }

    /// Runs `work` as the only writer and commits if it succeeds; otherwise nothing has changed.
    ///
    /// Keep it short: every other Coracle process on this root waits meanwhile. It must not call [`Database::read`]
    /// or [`Database::write`] itself.
    pub fn write<T, E: From<StateError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StateError::from)?;
        let result = work(&transaction)?;
        sys::failpoint::pass("state.written");
        transaction.commit().map_err(StateError::from)?;
        sys::failpoint::pass("state.committed");
        Ok(result)
    }

    /// Like [`Database::write`], and returns only when the disk has it.
    pub fn write_durably<T, E: From<StateError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.set_synchronous("FULL")?;
        let result = self.write(work);
        self.set_synchronous("NORMAL")?;
        result
    }

    /// Empties the log into the database file if it has grown, so that the next command has little of it to read.
    /// Costs two syncs when there is something to do: for when nobody waits for us.
    pub fn tidy(&self) -> Result<(), StateError> {
        self.empty_log(LARGE_LOG)
    }

    /// Truncates the log, and does not just copy it: how far it was copied is forgotten when the last process closes
    /// it, and then it would be copied again, and grow. Gives way to readers; then the next one tries.
    fn empty_log(&self, from_size: u64) -> Result<(), StateError> {
        let log = self.path.with_extension("db-wal");
        if log.metadata().map_or(0, |metadata| metadata.len()) < from_size {
            return Ok(());
        }
        let connection = self.lock();
        connection.busy_timeout(Duration::ZERO)?;
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_busy| Ok(()));
        connection.busy_timeout(PATIENCE)?;
        Ok(emptied?)
    }

    fn set_synchronous(&self, level: &str) -> Result<(), StateError> {
        self.lock()
            .pragma_update(None, "synchronous", level)
            .map_err(StateError::from)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread's closure rolled its transaction back; the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A log that cannot be emptied now is emptied by another process; nothing in it is lost.
        self.empty_log(HUGE_LOG).unwrap_or_default();
    }
}

/// Opens the file, makes the tables if it is new, and brings those of an earlier version up to date. Returns the
/// version of what was there.
fn connect(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Whoever closes the file last would otherwise move the log into it and sync both, at the end of every command.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        create(&mut connection)?;
    } else if version < SCHEMA_VERSION {
        migrate(&mut connection)?;
    }
    Ok((connection, version))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
    error.sqlite_error_code().is_some_and(|code| busy.contains(&code))
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster between our look and our lock.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

/// Makes every version between that of the file and ours, or nothing.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster here, too; one of a later version even.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (made, migration) in (2..).zip(MIGRATIONS) {
        if version < made {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", made)?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_migration() {
        assert_eq!(MIGRATIONS.len() + 1, usize::try_from(SCHEMA_VERSION).unwrap());
    }

    fn count(database: &Database) -> i64 {
        database
            .read(|c| {
                Ok::<_, StateError>(c.query_row("SELECT count(*) FROM settings", [], |row| row.get(0))?)
            })
            .unwrap()
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let database = Database::open(root.path()).unwrap();
        let outcome: Result<(), StateError> = database.write(|t| {
            t.execute("INSERT INTO settings VALUES ('a', 'b')", [])?;
            Err(rusqlite::Error::InvalidQuery.into())
        });
        assert!(outcome.is_err());
        assert_eq!(count(&database), 0);
    }

    #[test]
    fn a_later_version_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        drop(Database::open(root.path()).unwrap());
        let connection = Connection::open(root.path().join("state.db")).unwrap();
        connection
            .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .unwrap();
        assert!(
            matches!(Database::open(root.path()), Err(StateError::Newer { found, .. }) if found == SCHEMA_VERSION + 1)
        );
    }

    #[test]
    fn a_grown_log_goes_into_the_file_and_only_then() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.db");
        let database = Database::open(root.path()).unwrap();
        let log = root.path().join("state.db-wal");
        let write_to = |database: &Database, name: &str, bytes: usize| {
            database
                .write(|t| {
                    t.execute("INSERT INTO settings VALUES (?1, ?2)", [name, &"x".repeat(bytes)])?;
                    Ok::<_, StateError>(())
                })
                .unwrap();
        };
        let write = |name, bytes| write_to(&database, name, bytes);
        write("small", 10);
        let before = path.metadata().unwrap().len();
        database.tidy().unwrap();
        assert_eq!(path.metadata().unwrap().len(), before);
        write("large", 2 << 20);
        database.tidy().unwrap();
        assert!(path.metadata().unwrap().len() > 2 << 20);
        assert_eq!(log.metadata().unwrap().len(), 0);
        write("huge", 5 << 20);
        drop(database);
        assert_eq!(log.metadata().unwrap().len(), 0);
        let database = Database::open(root.path()).unwrap();
        write_to(&database, "last", 10);
        drop(database);
        assert!(
            log.metadata().unwrap().len() > 0,
            "closing empties only what is huge"
        );
        assert_eq!(count(&Database::open(root.path()).unwrap()), 4);
    }

    #[test]
    fn many_processes_may_open_a_new_root_at_once() {
        let root = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let path = root.path();
                scope.spawn(move || {
                    Database::open(path)
                        .unwrap()
                        .write(|t| {
                            t.execute("INSERT INTO settings VALUES (?1, '')", [number.to_string()])?;
                            Ok::<_, StateError>(())
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(count(&Database::open(root.path()).unwrap()), 16);
    }
}
