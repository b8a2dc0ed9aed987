//! The `networks` table, and what each row's document says.

use super::DEFAULT;
use super::request::Pool;
use crate::EngineError;
use ipnet::IpNet;
use network::{Bridge, Segment};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use state::StateError;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network as the database has it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) settings: NetworkSettings,
}

/// The document in a network's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkSettings {
    /// What the kernel has of it.
    pub(crate) segment: Segment,
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) internal: bool,
    #[serde(default)]
    pub(crate) attachable: bool,
    /// As they are in force, IPv4 first.
    #[serde(default)]
    pub(crate) pools: Vec<Pool>,
    /// Subnets that somebody chose: addresses in them may be asked for by number.
    #[serde(default)]
    pub(crate) chosen: Vec<IpNet>,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) ipam_options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Where ports are published that name no address of the host's.
    #[serde(default)]
    pub(crate) host_binding: Option<IpAddr>,
    /// What links inside are called before their number.
    #[serde(default)]
    pub(crate) link_prefix: Option<String>,
}

impl Known {
    /// Says whether names are resolved on it: on the default bridge they never were.
    pub(crate) fn has_names(&self) -> bool {
        self.name != DEFAULT
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.settings.segment
    }

    /// Returns its pool of IPv4 or of IPv6 addresses.
    pub(crate) fn pool(&self, ipv6: bool) -> Option<&Pool> {
        let of_family = |pool: &&Pool| {
            pool.subnet
                .is_some_and(|subnet| matches!(subnet, IpNet::V6(_)) == ipv6)
        };
        self.settings.pools.iter().find(of_family)
    }
}

impl NetworkSettings {
    /// Returns what is written of the default bridge.
    pub(crate) fn of_bridge(bridge: Bridge) -> Self {
        let mut pools = vec![Pool {
            subnet: Some(IpNet::V4(bridge.subnet)),
            gateway: Some(IpAddr::V4(bridge.gateway)),
            ..Pool::default()
        }];
        pools.extend(bridge.ipv6.map(|side| Pool {
            subnet: Some(IpNet::V6(side.subnet)),
            gateway: Some(IpAddr::V6(side.gateway)),
            ..Pool::default()
        }));
        Self {
            segment: Segment::Bridge(bridge),
            driver: "bridge".into(),
            internal: false,
            attachable: false,
            pools,
            chosen: Vec::new(),
            options: BTreeMap::new(),
            ipam_options: BTreeMap::new(),
            labels: BTreeMap::new(),
            host_binding: None,
            link_prefix: None,
        }
    }

    /// Reads a document. Earlier versions knew only the default bridge, and wrote nothing else of it.
    fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).or_else(|error| {
            serde_json::from_str(text)
                .map(Self::of_bridge)
                .map_err(|_other| error)
        })
    }
}

const COLUMNS: &str = "id, name, settings, created";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Known> {
    let settings = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Known {
        id: row.get(0)?,
        name: row.get(1)?,
        settings: NetworkSettings::read(settings).map_err(|error| {
            let kind = rusqlite::types::Type::Text;
            rusqlite::Error::FromSqlConversionFailure(2, kind, Box::new(error))
        })?,
        created: row.get(3)?,
    })
}

/// Returns all networks that can be read, by name. One that is damaged does not take the others down.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Known>, StateError> {
    let mut query =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM networks ORDER BY name, id"))?;
    let mut rows = query.query([])?;
    let mut networks = Vec::new();
    while let Some(row) = rows.next()? {
        networks.extend(from_row(row));
    }
    Ok(networks)
}

/// Returns the ids of all networks.
pub(crate) fn ids(connection: &Connection) -> Result<Vec<String>, StateError> {
    let mut query = connection.prepare_cached("SELECT id FROM networks")?;
    let ids = query.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Returns the network of that name.
pub(crate) fn by_name(connection: &Connection, name: &str) -> Result<Option<Known>, StateError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM networks WHERE name = ?1"))?
        .query_row([name], from_row)
        .optional()?)
}

/// Returns the network of that id.
pub(crate) fn by_id(connection: &Connection, id: &str) -> Result<Option<Known>, StateError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM networks WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// Finds a network by id, name or unambiguous id prefix, in this order, as Docker does. Of `host` and `none` there are
/// no rows.
pub(crate) fn find(connection: &Connection, text: &str) -> Result<Option<Known>, EngineError> {
    if let Some(known) = by_id(connection, text)? {
        return Ok(Some(known));
    }
    if let Some(known) = by_name(connection, text)? {
        return Ok(Some(known));
    }
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut query = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM networks WHERE id >= ?1 AND id < ?2"
        ))
        .map_err(StateError::from)?;
    let found = query
        .query_map([text, &format!("{text}g")], from_row)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(StateError::from)?;
    match found.len() {
        0 | 1 => Ok(found.into_iter().next()),
        count => Err(EngineError::Invalid {
            message: format!("network {text} is ambiguous ({count} matches found based on ID prefix)"),
            hint: Some("write more of its digits".into()),
        }),
    }
}

/// Writes a new row. The name is free.
pub(crate) fn insert(connection: &Connection, known: &Known) -> Result<(), StateError> {
    connection
        .prepare_cached("INSERT INTO networks (id, name, settings, created) VALUES (?1, ?2, ?3, ?4)")?
        .execute((
            &known.id,
            &known.name,
            crate::containers::rows::json(&known.settings)?,
            known.created,
        ))?;
    Ok(())
}

/// Takes a row away unless somebody has an address on the network; says whether it did.
pub(crate) fn delete_unused(connection: &Connection, id: &str) -> Result<bool, StateError> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM networks WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM addresses WHERE network = ?1)",
        )?
        .execute([id])?;
    Ok(deleted > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_earlier_versions_are_read() {
        let old = r#"{"name":"coracle0","subnet":"172.17.0.0/16","gateway":"172.17.0.1","mtu":1400,"table":"coracle"}"#;
        let settings = NetworkSettings::read(old).unwrap();
        assert_eq!(settings.driver, "bridge");
        assert_eq!(settings.pools[0].subnet, Some("172.17.0.0/16".parse().unwrap()));
        assert!(settings.chosen.is_empty());
        let new = serde_json::to_string(&settings).unwrap();
        assert_eq!(NetworkSettings::read(&new).unwrap(), settings);
        assert!(NetworkSettings::read("{}").is_err());
    }
}
