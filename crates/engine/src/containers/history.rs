//! The `runs` table: every run of every container, kept when the container is gone.
//!
//! A run is open from when a start is decided until its end is recorded; while a container has an open run, recovery
//! looks after it. A container whose restart policy is about to start it again has an open run with an end.

use super::Containers;
use super::record::{ContainerId, ExitRecord, Run};
use super::rows::{self, Record};
use crate::EngineError;
use rusqlite::{Connection, Row};
use state::StateError;

/// Runs that are kept; the oldest that have ended go when some more have come.
const KEPT: i64 = 10_000;
/// So many more.
const SOME: i64 = 100;
/// Bytes of a command that are kept.
const LONGEST_COMMAND: usize = 1000;

impl Containers<'_> {
    /// Returns the runs of one container or of all, also of those that have been removed, the newest first.
    pub fn runs(self, of: Option<&ContainerId>) -> Result<Vec<Run>, EngineError> {
        self.engine.database.read(|connection| {
            let columns = "container, name, image, command, started, exit";
            let runs = match of {
                Some(id) => connection
                    .prepare_cached(&format!(
                        "SELECT {columns} FROM runs WHERE container = ?1 ORDER BY number DESC"
                    ))
                    .and_then(|mut query| query.query_map([id.as_str()], run)?.collect()),
                None => connection
                    .prepare_cached(&format!("SELECT {columns} FROM runs ORDER BY number DESC"))
                    .and_then(|mut query| query.query_map([], run)?.collect()),
            };
            Ok(runs.map_err(StateError::from)?)
        })
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let exit: Option<String> = row.get(5)?;
    Ok(Run {
        container: ContainerId(row.get(0)?),
        name: row.get(1)?,
        image: row.get(2)?,
        command: row.get(3)?,
        started: row.get(4)?,
        // A document that cannot be read costs its run the end, not the listing the run.
        exit: exit.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// Notes that a run begins. One that was open is over: it had been begun again by its restart policy.
pub(super) fn begin(connection: &Connection, record: &Record, started: i64) -> Result<(), StateError> {
    let id = record.id.as_str();
    close(connection, id)?;
    connection
        .prepare_cached(
            "INSERT INTO runs (container, name, image, command, started) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            id,
            &record.name,
            &record.settings.image_name,
            command(record),
            started,
        ))?;
    let newest = connection.last_insert_rowid();
    if newest % SOME == 0 {
        connection.execute(
            "DELETE FROM runs WHERE number <= ?1 AND finished IS NOT NULL",
            [newest - KEPT],
        )?;
    }
    Ok(())
}

/// Notes how the open run of a container ended that will be started again. It stays open.
pub(super) fn suspend(
    connection: &Connection,
    id: &ContainerId,
    exit: &ExitRecord,
) -> Result<(), StateError> {
    connection
        .prepare_cached("UPDATE runs SET exit = ?2 WHERE container = ?1 AND finished IS NULL")?
        .execute((id.as_str(), rows::json(exit)?))?;
    Ok(())
}

/// Notes how the open run of a container ended, unless that is known already.
pub(super) fn end(connection: &Connection, id: &ContainerId, exit: &ExitRecord) -> Result<(), StateError> {
    connection
        .prepare_cached(
            "UPDATE runs SET exit = coalesce(exit, ?2) WHERE container = ?1 AND finished IS NULL",
        )?
        .execute((id.as_str(), rows::json(exit)?))?;
    close(connection, id.as_str())
}

/// Closes a container's open run; one of which no end is known is forgotten.
pub(super) fn close(connection: &Connection, id: &str) -> Result<(), StateError> {
    for statement in [
        "DELETE FROM runs WHERE container = ?1 AND finished IS NULL AND exit IS NULL",
        "UPDATE runs SET finished = coalesce(json_extract(exit, '$.finished'), started)
         WHERE container = ?1 AND finished IS NULL",
    ] {
        connection.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}

/// Returns a container's command as `ps` shows it, cut off where it is very long.
fn command(record: &Record) -> String {
    let words: Vec<&str> = record
        .settings
        .entrypoint
        .iter()
        .chain(&record.settings.command)
        .map(String::as_str)
        .collect();
    let mut command = words.join(" ");
    command.truncate(command.floor_char_boundary(LONGEST_COMMAND));
    command
}
