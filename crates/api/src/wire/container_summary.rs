//! A container in the list of them.

use super::container::{Mount, protocol, status_text};
use super::container_status::status_line;
use super::fate::health_text;
use super::host_config::network_mode;
use super::network_settings::{EndpointSettings, networks_of};
use crate::server::ApiVersion;
use engine::containers::record::Container;
use serde::Serialize;
use std::collections::BTreeMap;

/// A row of `GET /containers/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerSummary<'c> {
    id: &'c str,
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    labels: &'c BTreeMap<String, String>,
    state: &'static str,
    status: String,
    host_config: HostConfig<'c>,
    network_settings: NetworkSettings,
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(rename = "PrivatePort")]
    number: u16,
    #[serde(rename = "PublicPort", skip_serializing_if = "Option::is_none")]
    published: Option<u16>,
    #[serde(rename = "Type")]
    kind: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'c> {
    network_mode: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'c BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, EndpointSettings>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: &'static str,
    failing_streak: u32,
}

impl<'c> ContainerSummary<'c> {
    /// Makes it of a container whose image is called `image` now.
    pub(crate) fn new(container: &'c Container, image: &str, now: i64, version: ApiVersion) -> Self {
        let settings = &container.settings;
        let health = container.health.as_ref();
        let health = Health {
            status: health.map_or("none", |health| health_text(health.status)),
            failing_streak: health.map_or(0, |health| health.failing_streak),
        };
        Self {
            id: container.id.as_str(),
            names: vec![format!("/{}", container.name)],
            image: image.to_owned(),
            image_id: container.image.to_string(),
            command: command(settings.entrypoint.iter().chain(&settings.command)),
            created: container.created / 1_000_000_000,
            ports: ports(container),
            size_rw: container.size_rw,
            size_root_fs: container.size_root,
            labels: &settings.labels,
            state: status_text(container.activity),
            status: status_line(container, now, None),
            host_config: HostConfig {
                network_mode: network_mode(&settings.request.network),
                annotations: &settings.request.annotations,
            },
            network_settings: NetworkSettings {
                networks: networks_of(container),
            },
            mounts: settings.mounts.iter().map(Mount::new).collect(),
            health: (version >= ApiVersion::new(52)).then_some(health),
        }
    }
}

/// Docker quotes arguments with spaces, and nothing else.
fn command<'w>(words: impl Iterator<Item = &'w String>) -> String {
    let quote = |(index, word): (usize, &String)| {
        if index > 0 && word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    words.enumerate().map(quote).collect::<Vec<_>>().join(" ")
}

/// The ports of a running container: published ones with where they lead, exposed ones without.
fn ports(container: &Container) -> Vec<Port> {
    if container.pid.is_none() {
        return Vec::new();
    }
    let endpoints = container.status.endpoints.iter();
    let published = endpoints.flat_map(|endpoint| &endpoint.endpoint.ports);
    let mut ports: Vec<Port> = published
        .map(|port| Port {
            ip: Some(port.host.to_string()),
            number: port.port,
            published: Some(port.host_port),
            kind: protocol(port.protocol).to_owned(),
        })
        .collect();
    for exposed in &container.settings.exposed {
        let (number, kind) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let Ok(number) = number.parse() else {
            continue;
        };
        let is_published = |port: &Port| port.number == number && port.kind == kind;
        if !ports.iter().any(is_published) {
            ports.push(Port {
                ip: None,
                number,
                published: None,
                kind: kind.to_owned(),
            });
        }
    }
    ports.sort_by(|one, other| {
        let key = |port: &Port| (port.number, port.kind.clone(), port.ip.clone(), port.published);
        key(one).cmp(&key(other))
    });
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_as_docker_quotes_them() {
        let words = ["sh".to_owned(), "-c".to_owned(), "sleep 1".to_owned()];
        assert_eq!(command(words.iter()), "sh -c 'sleep 1'");
    }
}
