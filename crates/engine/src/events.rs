//! What happened, in the database's `events` table.
//!
//! An event is written in the transaction of the change that it tells of, so that neither is ever there alone.

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

impl Engine {
    /// Returns what happened from `since` up to and including `until`, both in nanoseconds since 1970, in order.
    pub fn events(&self, since: Option<i64>, until: Option<i64>) -> Result<Vec<Event>, EngineError> {
        self.database.read(|connection| {
            let mut query = connection
                .prepare(
                    "SELECT time, kind, action, object, attributes FROM events
                     WHERE time >= ?1 AND time <= ?2 ORDER BY time, rowid",
                )
                .map_err(StateError::from)?;
            let range = (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
            let rows = query
                .query_map(range, |row| {
                    let attributes: String = row.get(4)?;
                    Ok(Event {
                        time: row.get(0)?,
                        kind: row.get(1)?,
                        action: row.get(2)?,
                        object: row.get(3)?,
                        // An unreadable document costs its event the attributes, not the listing the event.
                        attributes: serde_json::from_str(&attributes).unwrap_or_default(),
                    })
                })
                .map_err(StateError::from)?;
            let events: Result<Vec<Event>, rusqlite::Error> = rows.collect();
            Ok(events.map_err(StateError::from)?)
        })
    }
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

/// Returns nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
