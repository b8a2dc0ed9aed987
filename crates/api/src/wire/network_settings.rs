//! `NetworkSettings` of a container: the networks that it is on, and its ports.

use super::container::{HostPort, protocol};
use super::{mac, none_if_empty};
use crate::server::ApiVersion;
use engine::containers::record::{Container, EndpointRecord};
use engine::containers::request::{NetworkAttachment, NetworkMode};
use engine::networks::stable_id;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<&'static str>,
    #[serde(rename = "SandboxID")]
    sandbox_id: String,
    sandbox_key: String,
    ports: BTreeMap<String, Option<Vec<HostPort>>>,
    /// What follows up to the networks is of the default bridge alone, or says nothing; version 1.52 has left it out.
    #[serde(flatten)]
    unused: Option<Unused>,
    #[serde(flatten)]
    default: Option<DefaultEndpoint>,
    networks: BTreeMap<String, EndpointSettings>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Unused {
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<Vec<String>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DefaultEndpoint {
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    mac_address: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<Ipam>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    mac_address: String,
    driver_opts: Option<BTreeMap<String, String>>,
    gw_priority: i64,
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<Vec<String>>,
}

/// The addresses that were asked for.
#[derive(Debug, Serialize)]
struct Ipam {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<String>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<String>,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
    link_local: Vec<String>,
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl NetworkSettings {
    pub(super) fn new(container: &Container) -> Self {
        let endpoints = endpoints_of(container);
        let mut ports: BTreeMap<String, Option<Vec<HostPort>>> = BTreeMap::new();
        if !endpoints.is_empty() {
            ports.extend(container.settings.exposed.iter().map(|port| (port.clone(), None)));
        }
        for port in endpoints.iter().flat_map(|endpoint| &endpoint.endpoint.ports) {
            let key = format!("{}/{}", port.port, protocol(port.protocol));
            ports
                .entry(key)
                .or_default()
                .get_or_insert_default()
                .push(HostPort {
                    host_ip: port.host.to_string(),
                    host_port: port.host_port.to_string(),
                });
        }
        let default = endpoints.iter().find(|endpoint| endpoint.network == "bridge");
        Self {
            bridge: Some(""),
            sandbox_id: text(container.pid.map(|_| container.id.as_str())),
            sandbox_key: text(container.pid.map(|pid| format!("/proc/{pid}/ns/net"))),
            ports,
            unused: Some(Unused::default()),
            default: Some(default.map(DefaultEndpoint::new).unwrap_or_default()),
            networks: networks(container, endpoints),
        }
    }
}

impl NetworkSettings {
    /// Makes it what clients of a version of the API know.
    pub(super) fn of_version(&mut self, version: ApiVersion, id: &str) {
        if version >= ApiVersion::new(52) {
            self.bridge = None;
            self.unused = None;
            self.default = None;
        }
        if version < ApiVersion::new(45) {
            // The names that a container is found by stood among those that were asked for.
            for endpoint in self
                .networks
                .values_mut()
                .filter(|there| there.dns_names.is_some())
            {
                let aliases = endpoint.aliases.get_or_insert_default();
                let short = id.get(..12).unwrap_or(id).to_owned();
                if !aliases.contains(&short) {
                    aliases.push(short);
                }
            }
        }
        if version < ApiVersion::new(44) {
            for endpoint in self.networks.values_mut() {
                endpoint.dns_names = None;
            }
        }
    }
}

/// The networks of a container, as the list of containers has them.
pub(super) fn networks_of(container: &Container) -> BTreeMap<String, EndpointSettings> {
    networks(container, endpoints_of(container))
}

fn endpoints_of(container: &Container) -> &[EndpointRecord] {
    if container.pid.is_some() {
        &container.status.endpoints
    } else {
        &[]
    }
}

/// All networks of a container by their names, whether it runs or not.
fn networks(container: &Container, endpoints: &[EndpointRecord]) -> BTreeMap<String, EndpointSettings> {
    let attachments = &container.settings.networks;
    let attachment = |name: &str| attachments.iter().find(|there| there.network == name);
    let mut names: Vec<&str> = attachments.iter().map(|there| there.network.as_str()).collect();
    names.extend(endpoints.iter().map(|there| there.network.as_str()));
    if names.is_empty() {
        // What was made before there were more networks than one, and what is on none that has addresses.
        names.extend(match &container.settings.request.network {
            NetworkMode::Bridge => Some("bridge"),
            NetworkMode::Host => Some("host"),
            NetworkMode::None => Some("none"),
            NetworkMode::Named(name) => Some(name.as_str()),
            NetworkMode::Container(_) => None,
        });
    }
    let settings = |name: &str| {
        let endpoint = endpoints.iter().find(|there| there.network == name);
        EndpointSettings::new(container, name, attachment(name), endpoint)
    };
    names
        .into_iter()
        .map(|name| (name.to_owned(), settings(name)))
        .collect()
}

impl DefaultEndpoint {
    fn new(record: &EndpointRecord) -> Self {
        let endpoint = &record.endpoint;
        Self {
            endpoint_id: record.id.clone(),
            gateway: text(record.gateway),
            global_ipv6_address: text(endpoint.address6),
            global_ipv6_prefix_len: record.ipv6.map_or(0, |(_, prefix)| prefix),
            ip_address: endpoint.address.to_string(),
            ip_prefix_len: record.prefix,
            ipv6_gateway: text(record.ipv6.map(|(gateway, _)| gateway)),
            mac_address: mac(endpoint.mac),
        }
    }
}

impl EndpointSettings {
    fn new(
        container: &Container,
        name: &str,
        attachment: Option<&NetworkAttachment>,
        record: Option<&EndpointRecord>,
    ) -> Self {
        let asked = attachment.map(Self::asked).unwrap_or_default();
        let request = &container.settings.request;
        let is_first = matches!(&request.network, NetworkMode::Named(first) if first == name);
        let links = match asked.links {
            None if is_first => none_if_empty(request.links.clone()),
            links => links,
        };
        let is_own = !matches!(name, "bridge" | "host" | "none");
        let found_by = match record {
            Some(record) => record.names.clone(),
            None if is_own => names(container, attachment),
            None => Vec::new(),
        };
        let settings = Self {
            links,
            dns_names: none_if_empty(found_by),
            network_id: match name {
                "host" | "none" if container.pid.is_some() => stable_id(name),
                _ => String::new(),
            },
            ..asked
        };
        let Some(record) = record else {
            return settings;
        };
        let endpoint = &record.endpoint;
        Self {
            mac_address: mac(endpoint.mac),
            network_id: record.network_id.clone(),
            endpoint_id: record.id.clone(),
            gateway: text(record.gateway),
            ip_address: endpoint.address.to_string(),
            ip_prefix_len: record.prefix,
            ipv6_gateway: text(record.ipv6.map(|(gateway, _)| gateway)),
            global_ipv6_address: text(endpoint.address6),
            global_ipv6_prefix_len: record.ipv6.map_or(0, |(_, prefix)| prefix),
            ..settings
        }
    }

    /// What was asked for, which holds whether the container runs or not.
    fn asked(attachment: &NetworkAttachment) -> Self {
        let has_address = attachment.address.is_some()
            || attachment.address6.is_some()
            || !attachment.link_local.is_empty();
        let options = &attachment.driver_options;
        Self {
            ipam_config: has_address.then(|| Ipam {
                ipv4_address: attachment.address.map(|address| address.to_string()),
                ipv6_address: attachment.address6.map(|address| address.to_string()),
                link_local: attachment.link_local.iter().map(ToString::to_string).collect(),
            }),
            links: none_if_empty(attachment.links.clone()),
            aliases: none_if_empty(attachment.aliases.clone()),
            mac_address: text(attachment.mac.map(mac)),
            driver_opts: if options.is_empty() {
                None
            } else {
                Some(options.clone())
            },
            gw_priority: attachment.gateway_priority,
            ..Self::default()
        }
    }
}

/// The names that a container would be found by if it ran.
fn names(container: &Container, attachment: Option<&NetworkAttachment>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let aliases = attachment
        .map(|attachment| attachment.aliases.as_slice())
        .unwrap_or_default();
    let all = std::iter::once(container.name.as_str())
        .chain(aliases.iter().map(String::as_str))
        .chain([container.id.short(), container.settings.hostname.as_str()]);
    for name in all.filter(|name| !name.is_empty()) {
        if !names.iter().any(|there| there == name) {
            names.push(name.to_owned());
        }
    }
    names
}
