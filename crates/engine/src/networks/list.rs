//! `network ls` and `network inspect`.

use super::record::{Member, Network};
use super::rows::{self, Known};
use super::{DEFAULT, Networks, stable_id};
use crate::EngineError;
use crate::containers::request::NetworkMode;
use crate::containers::rows::{self as containers, Record};
use std::collections::BTreeMap;

impl Networks<'_> {
    /// Returns all networks: the predefined ones too, in no particular order.
    pub fn list(&self) -> Result<Vec<Network>, EngineError> {
        let (known, records) = self.engine.database.read(|connection| {
            Ok::<_, EngineError>((rows::all(connection)?, containers::begun(connection)?))
        })?;
        let mut networks: Vec<Network> = known.iter().map(|known| describe(known, &records)).collect();
        if !known.iter().any(|known| known.name == DEFAULT) {
            networks.push(self.default_to_be());
        }
        networks.push(without_addresses("host", "host", &records));
        networks.push(without_addresses("none", "null", &records));
        Ok(networks)
    }

    /// Returns one, by name, id or id prefix.
    pub fn inspect(&self, name: &str) -> Result<Network, EngineError> {
        let (known, records) = self.engine.database.read(|connection| {
            Ok::<_, EngineError>((rows::find(connection, name)?, containers::begun(connection)?))
        })?;
        match known {
            Some(known) => Ok(describe(&known, &records)),
            None => match always_there(name) {
                Some(DEFAULT) => Ok(self.default_to_be()),
                Some("host") => Ok(without_addresses("host", "host", &records)),
                Some(_) => Ok(without_addresses("none", "null", &records)),
                None => Err(EngineError::NoNetwork(name.to_owned())),
            },
        }
    }

    /// The default bridge, which comes into being with the first container that needs it.
    fn default_to_be(self) -> Network {
        let pools = self.engine.config().subnet.map(|subnet| super::request::Pool {
            subnet: Some(subnet.trunc().into()),
            ..super::request::Pool::default()
        });
        Network {
            pools: pools.into_iter().collect(),
            ..bare(DEFAULT, "bridge")
        }
    }
}

/// Returns all that is known of a network. `records` are those of containers that may be on it.
pub(super) fn describe(known: &Known, records: &[Record]) -> Network {
    let settings = &known.settings;
    let members = records.iter().filter_map(|record| {
        let mut endpoints = record.status.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.network_id == known.id)?;
        Some(Member {
            container: record.id.clone(),
            name: record.name.clone(),
            endpoint: Some(endpoint.clone()),
        })
    });
    let mut options = settings.options.clone();
    if let Some(bridge) = known.segment().bridge().filter(|_| known.name == DEFAULT) {
        options = default_options(&bridge.name, bridge.mtu);
    }
    Network {
        id: known.id.clone(),
        name: known.name.clone(),
        driver: settings.driver.clone(),
        created: known.created,
        internal: settings.internal,
        attachable: settings.attachable,
        ipv6: known.segment().ipv6().is_some(),
        pools: settings.pools.clone(),
        ipam_options: settings.ipam_options.clone(),
        options,
        labels: settings.labels.clone(),
        members: members.collect(),
    }
}

/// What Docker shows of its default bridge.
fn default_options(name: &str, mtu: u32) -> BTreeMap<String, String> {
    [
        ("bridge.default_bridge", "true"),
        ("bridge.enable_icc", "true"),
        ("bridge.enable_ip_masquerade", "true"),
        ("bridge.host_binding_ipv4", "0.0.0.0"),
        ("bridge.name", name),
        ("driver.mtu", &mtu.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("com.docker.network.{key}"), value.to_owned()))
    .collect()
}

/// Returns the name of a network that is always there, by its name, id or id prefix.
pub(super) fn always_there(text: &str) -> Option<&'static str> {
    let mut names = [DEFAULT, "host", "none"].into_iter();
    names.find(|name| *name == text || (text.len() >= 3 && stable_id(name).starts_with(text)))
}

fn without_addresses(name: &str, driver: &str, records: &[Record]) -> Network {
    let is_on = |record: &&Record| match record.settings.request.network {
        NetworkMode::Host => name == "host",
        NetworkMode::None => name == "none",
        _ => false,
    };
    let members = records.iter().filter(is_on).map(|record| Member {
        container: record.id.clone(),
        name: record.name.clone(),
        endpoint: None,
    });
    Network {
        members: members.collect(),
        ..bare(name, driver)
    }
}

fn bare(name: &str, driver: &str) -> Network {
    Network {
        id: stable_id(name),
        name: name.to_owned(),
        driver: driver.to_owned(),
        created: 0,
        internal: false,
        attachable: false,
        ipv6: false,
        pools: Vec::new(),
        ipam_options: BTreeMap::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        members: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_there_is_found_by_its_id_too() {
        for (text, expected) in [
            ("host", Some("host")),
            ("bridge", Some("bridge")),
            (&*stable_id("none"), Some("none")),
            (&stable_id("host")[..12], Some("host")),
            ("ho", None),
            ("net", None),
            ("", None),
        ] {
            assert_eq!(always_there(text), expected, "{text}");
        }
    }
}
