//! The `containers` table: reading and writing records.

use super::history;
use super::record::{ContainerId, Settings, Status};
use oci::Digest;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;
use state::StateError;

/// A row of `containers`.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) image: Digest,
    pub(crate) created: i64,
    pub(crate) settings: Settings,
    pub(crate) status: Status,
    pub(crate) removing: bool,
}

const COLUMNS: &str = "id, name, image, created, settings, status, removing";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    let image: String = row.get(2)?;
    Ok(Record {
        id: ContainerId(row.get(0)?),
        name: row.get(1)?,
        image: image.parse().map_err(|error| damaged(2, error))?,
        created: row.get(3)?,
        settings: document(row, 4)?,
        status: document(row, 5)?,
        removing: row.get(6)?,
    })
}

fn document<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text).map_err(|error| damaged(column, error))
}

fn damaged(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, StateError> {
    serde_json::to_string(value)
        .map_err(|error| StateError::from(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))
}

/// Writes settings without what is as in the default: most is, and a listing of many containers reads it all.
/// So what a default means must stay, as what a field means must.
fn settings_document(settings: &Settings) -> Result<String, StateError> {
    let failed =
        |error: serde_json::Error| StateError::from(rusqlite::Error::ToSqlConversionFailure(Box::new(error)));
    let mut document = serde_json::to_value(settings).map_err(failed)?;
    let default = serde_json::to_value(Settings::default()).map_err(failed)?;
    if let Some(request) = document.get_mut("request") {
        keep_differences(request, &default["request"]);
    }
    keep_differences(&mut document, &default);
    Ok(document.to_string())
}

fn keep_differences(document: &mut serde_json::Value, default: &serde_json::Value) {
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, value| default.get(name) != Some(value));
    }
}

/// Returns the record of `id`, if there is one.
pub(crate) fn by_id(connection: &Connection, id: &ContainerId) -> Result<Option<Record>, StateError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE id = ?1"))?
        .query_row([id.as_str()], from_row)
        .optional()?)
}

/// Returns all records that can be read, the newest first. One that is damaged does not take the others down.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Record>, StateError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM containers ORDER BY created DESC, id"
    ))?;
    let mut rows = query.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(record) = from_row(row) {
            records.push(record);
        }
    }
    Ok(records)
}

/// Returns the records of containers whose run is open, the newest first: all that run are among them.
pub(crate) fn begun(connection: &Connection) -> Result<Vec<Record>, StateError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM containers WHERE id IN (SELECT container FROM runs WHERE finished IS NULL)
         ORDER BY created DESC, id"
    ))?;
    let mut rows = query.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(record) = from_row(row) {
            records.push(record);
        }
    }
    Ok(records)
}

/// Returns the id of the container that is called `name`.
pub(crate) fn id_of_name(connection: &Connection, name: &str) -> Result<Option<ContainerId>, StateError> {
    Ok(connection
        .prepare_cached("SELECT id FROM containers WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(ContainerId))
        .optional()?)
}

/// Returns at most two ids that begin with `prefix`, which is hex digits.
pub(crate) fn ids_by_prefix(connection: &Connection, prefix: &str) -> Result<Vec<ContainerId>, StateError> {
    // Every digit sorts before 'g', so the range is exactly the ids that begin with the prefix.
    let mut query =
        connection.prepare_cached("SELECT id FROM containers WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
    let ids = query.query_map([prefix, &format!("{prefix}g")], |row| row.get(0).map(ContainerId))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Writes a new record.
pub(crate) fn insert(connection: &Connection, record: &Record) -> Result<(), StateError> {
    connection
        .prepare_cached(
            "INSERT INTO containers (id, name, image, created, settings, status, removing)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
        )?
        .execute((
            record.id.as_str(),
            &record.name,
            record.image.to_string(),
            record.created,
            settings_document(&record.settings)?,
            json(&record.status)?,
        ))?;
    Ok(())
}

/// Replaces what create decided, which `update` may change.
pub(crate) fn set_settings(
    connection: &Connection,
    id: &ContainerId,
    settings: &Settings,
) -> Result<(), StateError> {
    connection
        .prepare_cached("UPDATE containers SET settings = ?2 WHERE id = ?1")?
        .execute((id.as_str(), settings_document(settings)?))?;
    Ok(())
}

/// Replaces a record's changing part.
pub(crate) fn set_status(
    connection: &Connection,
    id: &ContainerId,
    status: &Status,
) -> Result<(), StateError> {
    connection
        .prepare_cached("UPDATE containers SET status = ?2 WHERE id = ?1")?
        .execute((id.as_str(), json(status)?))?;
    Ok(())
}

/// Takes a record and all that refers to it away.
pub(crate) fn delete(connection: &Connection, id: &ContainerId) -> Result<(), StateError> {
    release(connection, id.as_str())?;
    // Its runs stay; but recovery shall not look for a container that is gone.
    history::close(connection, id.as_str())?;
    connection
        .prepare_cached("DELETE FROM containers WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Lets go of the addresses and ports that a container, or a build step with such an id, holds.
pub(crate) fn release(connection: &Connection, id: &str) -> Result<(), StateError> {
    for statement in [
        "DELETE FROM addresses WHERE container = ?1",
        "DELETE FROM published_ports WHERE container = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}

/// Returns the containers whose run has not been recorded as ended, or whose removal has begun.
pub(crate) fn unfinished(connection: &Connection) -> Result<Vec<ContainerId>, StateError> {
    let mut query = connection.prepare_cached(
        "SELECT container FROM runs WHERE finished IS NULL
         UNION SELECT id FROM containers WHERE removing != 0",
    )?;
    let ids = query.query_map([], |row| row.get(0).map(ContainerId))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::request::{CreateContainer, NetworkMode};

    #[test]
    fn settings_are_written_shortly_and_read_whole() {
        let settings = Settings {
            request: CreateContainer {
                image: "busybox".into(),
                network: NetworkMode::None,
                init: true,
                ..CreateContainer::default()
            },
            image_name: "busybox".into(),
            command: vec!["true".into()],
            ..Settings::default()
        };
        let document = settings_document(&settings).unwrap();
        assert_eq!(
            document,
            r#"{"command":["true"],"image_name":"busybox","request":{"image":"busybox","init":true,"network":"None"}}"#
        );
        assert_eq!(serde_json::from_str::<Settings>(&document).unwrap(), settings);
        let nothing = settings_document(&Settings::default()).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&nothing).unwrap(),
            Settings::default()
        );
    }
}
