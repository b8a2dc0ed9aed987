//! `network rm` and `network prune`.

use super::rows::{self, Known};
use super::{DEFAULT, Networks, list, names};
use crate::containers::rows as containers;
use crate::system::Filters;
use crate::{EngineError, events};
use rusqlite::Connection;
use sys::failpoint;

impl Networks<'_> {
    /// Removes one that nobody is on, by name, id or id prefix.
    pub fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.engine.database.make_room();
        let engine = self.engine;
        let id = engine.database.write(|transaction| {
            let known = match rows::find(transaction, name)? {
                Some(known) if known.name != DEFAULT => known,
                Some(_) => return Err(predefined(DEFAULT)),
                None => {
                    return Err(match list::always_there(name) {
                        Some(name) => predefined(name),
                        None => EngineError::NoNetwork(name.to_owned()),
                    });
                }
            };
            if !remove_unused(transaction, &known)? {
                return Err(has_endpoints(transaction, &known)?);
            }
            Ok(known.id)
        })?;
        failpoint::pass("network.gone");
        names::remove_directory(engine.locations(), &id)
    }

    /// Removes networks that no container is on now, and returns their names. The default ones are never among them,
    /// but an idle bridge gives back what it has on the host.
    pub fn prune(&self, filters: &[(String, String)]) -> Result<Vec<String>, EngineError> {
        self.engine.database.make_room();
        let filters = Filters::parse(filters)?;
        let engine = self.engine;
        let known = engine
            .database
            .read(|connection| Ok::<_, EngineError>(rows::all(connection)?))?;
        let mut removed = Vec::new();
        for known in known {
            if known.name == DEFAULT || !filters.accept(known.created, &known.settings.labels) {
                continue;
            }
            let gone = engine
                .database
                .write(|transaction| remove_unused(transaction, &known))?;
            if gone {
                names::remove_directory(engine.locations(), &known.id)?;
                removed.push(known.name);
            }
        }
        self.remove_idle()?;
        // Where nobody is on any network any more it is empty.
        std::fs::remove_dir(engine.locations().networks_directory()).unwrap_or_default();
        events::pruned(engine, "network", 0)?;
        Ok(removed)
    }

    /// Takes the default bridge and this root's firewall rules away if no container uses them; the next start makes
    /// them again.
    pub fn remove_idle(&self) -> Result<(), EngineError> {
        self.engine.database.write(|transaction| {
            let Some(known) = rows::by_name(transaction, DEFAULT)? else {
                return Ok(());
            };
            // Within the transaction, so that nobody records the network anew while it is taken away.
            if rows::delete_unused(transaction, &known.id)? {
                known.segment().remove()?;
                failpoint::reach("network.removed")?;
            }
            Ok(())
        })
    }
}

/// Takes a network away, in the transaction that `connection` is in, unless somebody is on it; says whether it did.
fn remove_unused(connection: &Connection, known: &Known) -> Result<bool, EngineError> {
    if !rows::delete_unused(connection, &known.id)? {
        return Ok(false);
    }
    // Within the transaction, so that nobody records the network anew, or its subnet, while it is taken away.
    known.segment().remove()?;
    failpoint::reach("network.removed")?;
    let told = [
        ("name", known.name.as_str()),
        ("type", known.settings.driver.as_str()),
    ];
    events::record(connection, "network", "destroy", &known.id, &told)?;
    Ok(true)
}

fn predefined(name: &str) -> EngineError {
    EngineError::Forbidden {
        message: format!("{name} is a pre-defined network and cannot be removed"),
        hint: None,
    }
}

/// Names who is on the network.
fn has_endpoints(connection: &Connection, known: &Known) -> Result<EngineError, EngineError> {
    let records = containers::begun(connection)?;
    let endpoints: Vec<String> = records
        .iter()
        .flat_map(|record| {
            record
                .status
                .endpoints
                .iter()
                .map(move |endpoint| (record, endpoint))
        })
        .filter(|(_, endpoint)| endpoint.network_id == known.id)
        .map(|(record, endpoint)| {
            let id = endpoint.id.get(..12).unwrap_or(&endpoint.id);
            format!("name:\"{}\" id:\"{id}\"", record.name)
        })
        .collect();
    Ok(EngineError::Forbidden {
        message: format!(
            "error while removing network: network {} has active endpoints ({})",
            known.name,
            endpoints.join(", ")
        ),
        hint: Some("stop these containers, or disconnect them, first".into()),
    })
}
