//! What happened, in the database's `events` table.
//!
//! An event of a container, a volume or a network is written in the transaction of the change that it tells of, so that
//! neither is ever there alone. Images are the store's, which knows no events: theirs follow the change.
//!
//! In: facts, in Docker's words. Out: events, replayed and followed ([`follow`]).

mod attributes;
mod filter;
pub mod follow;

pub(crate) use attributes::{
    container, image, join_networks, leave_networks, mount_volumes, network, unmount_volumes,
};
pub use filter::{FILTERS, Filter};

use crate::{Engine, EngineError};
use rusqlite::Connection;
use state::StateError;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Events that are kept; the oldest go when a thousand more have come.
const KEPT: i64 = 10_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// `container`, `image`, `network`, `volume`, `builder`.
    pub kind: String,
    /// `create`, `start`, `die`, …
    pub action: String,
    /// Id or name of what it happened to.
    pub object: String,
    /// Name, image, exit code, …
    pub attributes: BTreeMap<String, String>,
}

/// An event and its place in the order of all events.
type Numbered = (i64, Event);

impl Engine {
    /// Returns what happened from `since` up to and including `until`, both in nanoseconds since 1970, in order.
    pub fn events(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Event>, EngineError> {
        let range = (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        let found = self.database.read(|connection| {
            select(
                connection,
                "WHERE time >= ?1 AND time <= ?2 ORDER BY rowid",
                range,
            )
        })?;
        Ok(found.into_iter().map(|(_, event)| event).collect())
    }

    /// Returns the number of the event that was recorded last.
    fn last_event(&self) -> Result<i64, EngineError> {
        self.database.read(|connection| {
            let last: Option<i64> = connection
                .prepare_cached("SELECT max(rowid) FROM events")
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map_err(StateError::from)?;
            Ok(last.unwrap_or(0))
        })
    }

    /// Returns what was recorded after the event of that number, which is what was committed after it: numbers are
    /// given under the database's write lock.
    fn events_after(&self, number: i64) -> Result<Vec<Numbered>, EngineError> {
        self.database.read(|connection| {
            select(
                connection,
                "WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid",
                (number, i64::MAX),
            )
        })
    }
}

fn select(connection: &Connection, condition: &str, range: (i64, i64)) -> Result<Vec<Numbered>, EngineError> {
    let mut query = connection
        .prepare_cached(&format!(
            "SELECT rowid, time, kind, action, object, attributes FROM events {condition}"
        ))
        .map_err(StateError::from)?;
    let rows = query
        .query_map(range, |row| {
            let attributes: String = row.get(5)?;
            let event = Event {
                time: row.get(1)?,
                kind: row.get(2)?,
                action: row.get(3)?,
                object: row.get(4)?,
                // An unreadable document costs its event the attributes, not the listing the event.
                attributes: serde_json::from_str(&attributes).unwrap_or_default(),
            };
            Ok((row.get(0)?, event))
        })
        .map_err(StateError::from)?;
    let events: Result<Vec<Numbered>, rusqlite::Error> = rows.collect();
    Ok(events.map_err(StateError::from)?)
}

/// Records an event in the transaction that `connection` is in.
pub(crate) fn record(
    connection: &Connection,
    kind: &str,
    action: &str,
    object: &str,
    attributes: &[(&str, &str)],
) -> Result<(), StateError> {
    let attributes: BTreeMap<_, _> = attributes.iter().copied().collect();
    connection
        .prepare_cached(
            "INSERT INTO events (time, kind, action, object, attributes) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            now(),
            kind,
            action,
            object,
            serde_json::Value::from_iter(attributes).to_string(),
        ))?;
    let newest = connection.last_insert_rowid();
    if newest % 1000 == 0 {
        connection.execute("DELETE FROM events WHERE rowid <= ?1", [newest - KEPT])?;
    }
    Ok(())
}

/// Records that pruning things of a kind gave so many bytes back, in a transaction of its own.
pub(crate) fn pruned(engine: &Engine, kind: &str, bytes: u64) -> Result<(), EngineError> {
    let bytes = bytes.to_string();
    engine
        .database
        .write(|transaction| Ok(record(transaction, kind, "prune", "", &[("reclaimed", &bytes)])?))
}

/// Returns nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
