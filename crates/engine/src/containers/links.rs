//! `--link` on the default bridge, where no names are resolved: the other container stands in `/etc/hosts`, and in
//! variables. On networks of one's own a link is a name that this container alone has for another.
use super::record::{Activity, EndpointRecord, Settings};
use super::request::NetworkMode;
use super::rows::{self, Record};
use super::{Containers, conflict, invalid, not_found};
use crate::EngineError;
use crate::networks::{DEFAULT, joining};
use std::borrow::Cow;

impl Containers<'_> {
    /// Removes a link, which is named `container/alias`, from a container's settings. One that runs has it until it ends.
    pub fn remove_link(&self, name: &str) -> Result<(), EngineError> {
        let Some((parent, alias)) = name.trim_start_matches('/').split_once('/') else {
            self.find(name)?;
            return Err(conflict(
                "Conflict, cannot remove the default link name of the container",
            ));
        };
        let id = self.find(parent)?;
        self.engine.database.write(|transaction| {
            let mut record = rows::by_id(transaction, &id)?.ok_or_else(|| not_found(id.as_str()))?;
            let settings = &mut record.settings;
            let is_other = |link: &String| joining::split_link(link).1 != alias;
            let count = |settings: &Settings| {
                let places = settings.networks.iter().map(|there| there.links.len());
                settings.request.links.len() + places.sum::<usize>()
            };
            let before = count(settings);
            settings.request.links.retain(is_other);
            for place in &mut settings.networks {
                place.links.retain(is_other);
            }
            if count(settings) == before {
                return Err(not_found(name));
            }
            Ok(rows::set_settings(transaction, &id, settings)?)
        })
    }

    /// Returns a container's settings with what its links bring. Those that are linked must run.
    pub(super) fn with_links(self, record: &Record) -> Result<Cow<'_, Settings>, EngineError> {
        let settings = &record.settings;
        let on_default = settings.request.network == NetworkMode::Bridge
            && settings.networks.iter().all(|there| there.network == DEFAULT);
        if settings.request.links.is_empty() || !on_default {
            return Ok(Cow::Borrowed(settings));
        }
        let mut linked = settings.clone();
        let mut variables = Vec::new();
        for link in &settings.request.links {
            let (name, alias) = joining::split_link(link);
            let id = self
                .engine
                .database
                .read(|connection| joining::linked(connection, name))?
                .ok_or_else(|| not_found(name))?;
            let other = self.record(&id)?;
            let runs = matches!(self.activity(&other)?.0, Activity::Paused | Activity::Running);
            let mut endpoints = other.status.endpoints.iter();
            let place = endpoints.find(|endpoint| endpoint.network == DEFAULT);
            let Some(place) = place.filter(|_| runs) else {
                return Err(invalid(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    other.name, record.name
                )));
            };
            let mut names = vec![alias];
            for name in [other.settings.hostname.as_str(), other.name.as_str()] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let line = (names.join(" "), place.endpoint.address.to_string());
            linked.request.extra_hosts.push(line);
            variables.extend(variables_of(&record.name, alias, &other.settings, place));
        }
        // What the container was given itself wins.
        let name_of = |variable: &str| variable.split('=').next().map(str::to_owned);
        variables.retain(|variable| {
            let mut own = settings.environment.iter();
            !own.any(|there| name_of(there) == name_of(variable))
        });
        variables.extend(std::mem::take(&mut linked.environment));
        linked.environment = variables;
        Ok(Cow::Owned(linked))
    }
}

/// Docker's variables of a link: where each port is, and what the other container was given.
fn variables_of(name: &str, alias: &str, other: &Settings, place: &EndpointRecord) -> Vec<String> {
    let prefix = alias.replace('-', "_").to_uppercase();
    let address = place.endpoint.address;
    let mut ports: Vec<(u16, &str)> = other
        .exposed
        .iter()
        .filter_map(|exposed| {
            let (port, protocol) = exposed.split_once('/')?;
            Some((port.parse().ok()?, protocol))
        })
        .collect();
    // The first by number is the one that is meant where only one is; TCP before others.
    ports.sort_by_key(|&(port, protocol)| (port, protocol != "tcp"));
    let mut variables = Vec::new();
    if let Some((port, protocol)) = ports.first() {
        variables.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
    }
    for (port, protocol) in ports {
        let of_port = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        variables.extend([
            format!("{of_port}={protocol}://{address}:{port}"),
            format!("{of_port}_ADDR={address}"),
            format!("{of_port}_PORT={port}"),
            format!("{of_port}_PROTO={protocol}"),
        ]);
    }
    variables.push(format!("{prefix}_NAME=/{name}/{alias}"));
    let given = other.environment.iter();
    variables.extend(
        given
            .filter(|variable| !variable.starts_with("HOME=") && !variable.starts_with("PATH="))
            .map(|variable| format!("{prefix}_ENV_{variable}")),
    );
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_dockers_variables() {
        let other = Settings {
            exposed: vec!["5433/tcp".into(), "5432/tcp".into()],
            environment: vec!["PATH=/bin".into(), "POSTGRES_USER=root".into()],
            ..Settings::default()
        };
        let place: EndpointRecord = serde_json::from_value(serde_json::json!({
            "network": "bridge", "network_id": "n", "gateway": null, "prefix": 16,
            "endpoint": {"host_link": "v", "link": "eth0", "address": "172.17.0.2", "mac": [0, 0, 0, 0, 0, 0], "ports": []},
        }))
        .unwrap();
        let variables = variables_of("app", "my-db", &other, &place);
        assert_eq!(variables[0], "MY_DB_PORT=tcp://172.17.0.2:5432");
        for expected in [
            "MY_DB_PORT_5432_TCP=tcp://172.17.0.2:5432",
            "MY_DB_PORT_5433_TCP_ADDR=172.17.0.2",
            "MY_DB_NAME=/app/my-db",
            "MY_DB_ENV_POSTGRES_USER=root",
        ] {
            assert!(variables.iter().any(|there| there == expected), "{expected}");
        }
        assert!(!variables.iter().any(|there| there.contains("PATH")));
    }
}
