//! All of a container's places: on which networks it is, which of them is its way out, where its ports lead.

use super::allot::{self, Guest, allot};
use super::names::{Entry, NamedNetwork, NamesPlan};
use super::rows::{self, Known};
use super::{DEFAULT, ports};
use crate::EngineError;
use crate::containers::network_files::{self, View};
use crate::containers::record::{ContainerId, EndpointRecord, Settings};
use crate::containers::request::{NetworkAttachment, NetworkMode, PublishRequest};
use crate::containers::rows::{self as containers, Record};
use ipnet::IpNet;
use network::{Endpoint, PublishedPort, Segment};
use rusqlite::Connection;
use std::cmp::Reverse;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// A container's place on one network.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) known: Known,
    pub(crate) attachment: NetworkAttachment,
    pub(crate) record: EndpointRecord,
}

/// All places of a container that starts, with the sockets that keep its host ports.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    pub(crate) places: Vec<Place>,
    pub(crate) sockets: Vec<OwnedFd>,
}

impl Place {
    /// Says whether packets for elsewhere can leave this way.
    fn is_way_out(&self) -> bool {
        self.known.segment().way_out().is_some()
    }
}

/// Returns how a container is on its networks when it runs. Empty for one that has none of its own.
pub(crate) fn attachments(settings: &Settings) -> Vec<NetworkAttachment> {
    if !settings.networks.is_empty() {
        return settings.networks.clone();
    }
    let name = match &settings.request.network {
        NetworkMode::Bridge => DEFAULT,
        NetworkMode::Named(name) => name,
        NetworkMode::Container(_) | NetworkMode::Host | NetworkMode::None => return Vec::new(),
    };
    vec![NetworkAttachment {
        network: name.to_owned(),
        ..NetworkAttachment::default()
    }]
}

/// Gives a container its places, and the host ports that it asks for, in the transaction that `connection` is in.
/// `default` is the default bridge, if it is on that.
pub(crate) fn join(
    connection: &Connection,
    record: &Record,
    attachments: Vec<NetworkAttachment>,
    default: Option<&Known>,
    publish: &[PublishRequest],
) -> Result<Joining, EngineError> {
    let settings = &record.settings;
    let mut places = Vec::with_capacity(attachments.len());
    for (number, mut attachment) in attachments.into_iter().enumerate() {
        let known = match default.filter(|known| known.name == attachment.network) {
            Some(known) => known.clone(),
            None => rows::by_name(connection, &attachment.network)?
                .ok_or_else(|| EngineError::NoNetwork(attachment.network.clone()))?,
        };
        if number == 0 && attachment.mac.is_none() {
            attachment.mac = settings.request.mac_address;
        }
        let record = allot(connection, &known, guest(record), &attachment)?;
        places.push(Place {
            known,
            attachment,
            record,
        });
    }
    arrange(&mut places, &record.id, Vec::new());
    let mut sockets = Vec::new();
    if !publish.is_empty()
        && let Some(place) = gate(&mut places)
        && place.is_way_out()
    {
        let default = place.known.settings.host_binding;
        let has_ipv6 = place.record.endpoint.address6.is_some();
        (place.record.endpoint.ports, sockets) =
            ports::reserve_all(connection, &record.id, &record.name, publish, default, has_ipv6)?;
    }
    Ok(Joining { places, sockets })
}

/// Returns the places of a container that runs.
pub(super) fn places_of(connection: &Connection, record: &Record) -> Result<Vec<Place>, EngineError> {
    let attachments = attachments(&record.settings);
    let mut places = Vec::with_capacity(record.status.endpoints.len());
    for endpoint in &record.status.endpoints {
        let known = rows::by_id(connection, &endpoint.network_id)?
            .ok_or_else(|| EngineError::NoNetwork(endpoint.network.clone()))?;
        let attachment = attachments
            .iter()
            .find(|attachment| attachment.network == known.name);
        places.push(Place {
            attachment: attachment.cloned().unwrap_or_default(),
            known,
            record: endpoint.clone(),
        });
    }
    Ok(places)
}

pub(super) fn guest(record: &Record) -> Guest<'_> {
    Guest {
        id: &record.id,
        name: &record.name,
        hostname: &record.settings.hostname,
    }
}

/// Puts places in order, the way out first: Docker takes the highest priority, and of several the first by name, but an
/// internal network last. Names links that have no name yet, and leads the container's host ports to it: those that a
/// place has, or `ports` where none has any.
pub(crate) fn arrange(places: &mut [Place], holder: &ContainerId, ports: Vec<PublishedPort>) {
    places.sort_by_key(|place| {
        (
            !place.is_way_out(),
            Reverse(place.attachment.gateway_priority),
            place.known.name.clone(),
        )
    });
    let mut held: Vec<PublishedPort> = Vec::new();
    for (number, place) in places.iter_mut().enumerate() {
        held.append(&mut place.record.endpoint.ports);
        place.record.endpoint.default_route = number == 0 && place.is_way_out();
    }
    for number in 0..places.len() {
        if places[number].record.endpoint.link.is_empty() {
            let link = free_link(places, &places[number]);
            places[number].record.endpoint.link = link;
        }
        if places[number].record.endpoint.host_link.is_empty() {
            let taken = |name: &String| {
                places
                    .iter()
                    .any(|place| place.record.endpoint.host_link == *name)
            };
            // There are never more than there are places.
            let free = (0..=places.len())
                .map(|number| host_link(holder, number))
                .find(|name| !taken(name));
            places[number].record.endpoint.host_link = free.unwrap_or_default();
        }
    }
    if let Some(place) = gate(places) {
        let endpoint = &mut place.record.endpoint;
        endpoint.ports = if held.is_empty() { ports } else { held };
        // Those of IPv6 come back when it is on a network with IPv6 again.
        let has_ipv6 = endpoint.address6.is_some();
        endpoint.ports.retain(|port| has_ipv6 || port.host.is_ipv4());
    }
}

/// Returns the place that host ports lead to: the first on a bridge.
fn gate(places: &mut [Place]) -> Option<&mut Place> {
    places
        .iter_mut()
        .find(|place| place.known.segment().bridge().is_some())
}

/// Returns what a link inside is called: `eth0`, or with the network's own word before the number, or as was asked.
fn free_link(places: &[Place], place: &Place) -> String {
    if let Some(name) = place.attachment.driver_options.get(LINK_NAME) {
        return name.clone();
    }
    let prefix = place.known.settings.link_prefix.as_deref().unwrap_or("eth");
    let taken = |name: &String| places.iter().any(|other| other.record.endpoint.link == *name);
    let asked = |name: &String| {
        let mut others = places.iter();
        others.any(|other| other.attachment.driver_options.get(LINK_NAME) == Some(name))
    };
    (0..=places.len() * 2)
        .map(|number| format!("{prefix}{number}"))
        .find(|name| !taken(name) && !asked(name))
        .unwrap_or_default()
}

/// The option of a container's place that names its link.
pub(crate) const LINK_NAME: &str = "com.docker.network.endpoint.ifname";

/// Returns a host end's name: derived from the id, so that recovery finds what a dead process left. A container's first
/// has no number.
pub(crate) fn host_link(holder: &ContainerId, number: usize) -> String {
    let short = &holder.as_str()[..11];
    match number {
        0 => format!("ve{short}"),
        number => format!("ve{short}{number}"),
    }
}

/// Returns what a monitor is told of the places.
pub(crate) fn plugs(places: &[Place]) -> Vec<(Segment, Endpoint)> {
    places
        .iter()
        .map(|place| (place.known.segment().clone(), place.record.endpoint.clone()))
        .collect()
}

/// Returns what a container's name server answers; `None` without one, on the default bridge alone. `has_server` says
/// that there is one already, which stays.
pub(crate) fn names_plan(
    connection: &Connection,
    record: &Record,
    places: &[Place],
    has_server: bool,
) -> Result<Option<NamesPlan>, EngineError> {
    if !has_server && !places.iter().any(|place| place.known.has_names()) {
        return Ok(None);
    }
    let networks = places
        .iter()
        .filter(|place| place.known.has_names())
        .map(|place| {
            let endpoint = &place.record.endpoint;
            NamedNetwork {
                id: place.known.id.clone(),
                name: place.known.name.clone(),
                entry: Entry {
                    names: place.record.names.clone(),
                    addresses: addresses_of(endpoint),
                },
            }
        });
    let mut links = Vec::new();
    let asked = record.settings.request.links.iter();
    for link in asked.chain(places.iter().flat_map(|place| &place.attachment.links)) {
        let (name, alias) = split_link(link);
        if let Some(id) = linked(connection, name)? {
            links.push((id.short().to_owned(), alias.to_owned()));
        }
    }
    // What is asked outside must not come out of a network that is internal, by no way (CVE-2024-29018).
    let is_inside = !places.iter().any(Place::is_way_out);
    Ok(Some(NamesPlan {
        networks: networks.collect(),
        links,
        upstream: if is_inside {
            Vec::new()
        } else {
            network_files::upstream(&record.settings)
        },
    }))
}

/// Finds the container that a link leads to, by its name or its id.
pub(crate) fn linked(connection: &Connection, name: &str) -> Result<Option<ContainerId>, EngineError> {
    let name = name.trim_start_matches('/');
    if let Some(id) = containers::id_of_name(connection, name)? {
        return Ok(Some(id));
    }
    let is_hex = !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut ids = if is_hex {
        containers::ids_by_prefix(connection, name)?
    } else {
        Vec::new()
    };
    Ok(ids.pop().filter(|_| ids.is_empty()))
}

/// Takes `container:alias` apart; without an alias it is the container's name.
pub(crate) fn split_link(link: &str) -> (&str, &str) {
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    (name, alias.trim_start_matches('/'))
}

pub(crate) fn addresses_of(endpoint: &Endpoint) -> Vec<IpAddr> {
    let second = endpoint.address6.map(IpAddr::V6);
    [IpAddr::V4(endpoint.address)].into_iter().chain(second).collect()
}

/// Returns what the files inside say of the places.
pub(crate) fn view(places: &[Place], has_names: bool) -> View {
    View::Own {
        addresses: places
            .iter()
            .flat_map(|place| addresses_of(&place.record.endpoint))
            .collect(),
        // The host itself can be reached on an internal network, too.
        gateway: places
            .first()
            .and_then(|place| place.known.segment().gateway())
            .map(IpAddr::V4),
        has_names,
    }
}

/// Says whether a place can be had as it is asked for, in Docker's words. Without a network it is one on the default
/// bridge, which may not be there yet.
pub(crate) fn check(known: Option<&Known>, attachment: &NetworkAttachment) -> Result<(), EngineError> {
    let mut errors = Vec::new();
    let asked: Vec<IpAddr> = [
        attachment.address.map(IpAddr::V4),
        attachment.address6.map(IpAddr::V6),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(known) = known.filter(|known| known.has_names()) {
        for address in &asked {
            let chosen: Vec<&IpNet> = known
                .settings
                .chosen
                .iter()
                .filter(|subnet| subnet.addr().is_ipv4() == address.is_ipv4())
                .collect();
            if chosen.is_empty() {
                errors.push(allot::NOT_CHOSEN.to_owned());
            } else if !chosen.iter().any(|subnet| subnet.contains(address)) {
                errors.push(format!(
                    "no configured subnet or ip-range contain the IP address {address}"
                ));
            }
        }
    } else {
        if !asked.is_empty() {
            errors.push("user specified IP address is supported on user defined networks only".to_owned());
        }
        if !attachment.aliases.is_empty() {
            errors.push(
                "network-scoped alias is supported only for containers in user defined networks".to_owned(),
            );
        }
    }
    if !attachment.link_local.is_empty() {
        return Err(EngineError::NotSupported("a link-local address".into()));
    }
    for (key, value) in &attachment.driver_options {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        match key.as_str() {
            LINK_NAME
                if value.is_empty() || value.len() > 15 || !value.bytes().all(good) || value == "lo" =>
            {
                errors.push(format!("invalid interface name {value}"));
            }
            LINK_NAME => {}
            other => return Err(EngineError::NotSupported(format!("the driver option {other}"))),
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(invalid_settings(one)),
        several => Err(invalid_settings(&format!("* {}", several.join("\n* ")))),
    }
}

pub(super) fn invalid_settings(why: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("invalid endpoint settings:\n{why}"),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::rows::NetworkSettings;

    fn place(name: &str, priority: i64, internal: bool) -> Place {
        let traffic = network::Traffic {
            internal,
            ..network::Traffic::default()
        };
        let bridge = network::Bridge {
            name: name.into(),
            subnet: "10.0.0.0/24".parse().unwrap(),
            gateway: "10.0.0.1".parse().unwrap(),
            ipv6: None,
            mtu: 1500,
            table: "t".into(),
            traffic,
        };
        let mut settings = NetworkSettings::of_bridge(bridge);
        settings.internal = internal;
        Place {
            known: Known {
                id: name.into(),
                name: name.into(),
                created: 0,
                settings,
            },
            attachment: NetworkAttachment {
                gateway_priority: priority,
                ..NetworkAttachment::default()
            },
            record: EndpointRecord {
                network: name.into(),
                network_id: name.into(),
                id: String::new(),
                endpoint: Endpoint {
                    host_link: String::new(),
                    link: String::new(),
                    address: "10.0.0.2".parse().unwrap(),
                    address6: None,
                    mac: [0; 6],
                    default_route: false,
                    ports: Vec::new(),
                },
                gateway: None,
                prefix: 24,
                ipv6: None,
                names: Vec::new(),
            },
        }
    }

    fn shape(places: &[Place]) -> Vec<(&str, &str, &str, bool, usize)> {
        places
            .iter()
            .map(|place| {
                let endpoint = &place.record.endpoint;
                (
                    place.known.name.as_str(),
                    endpoint.link.as_str(),
                    &endpoint.host_link[13..],
                    endpoint.default_route,
                    endpoint.ports.len(),
                )
            })
            .collect()
    }

    #[test]
    fn the_way_out_has_the_highest_priority_and_then_the_first_name() {
        let id = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        let port = PublishedPort {
            host: "0.0.0.0".parse().unwrap(),
            host_port: 80,
            port: 80,
            protocol: network::Protocol::Tcp,
        };
        let mut places = vec![
            place("b", 0, false),
            place("inside", 9, true),
            place("a", 0, false),
        ];
        arrange(&mut places, &id, vec![port]);
        assert_eq!(
            shape(&places),
            [
                ("a", "eth0", "", true, 1),
                ("b", "eth1", "1", false, 0),
                ("inside", "eth2", "2", false, 0)
            ]
        );
        // One that comes later has a number of its own; the others keep theirs, but not the ports.
        places.push(place("z", 5, false));
        arrange(&mut places, &id, Vec::new());
        assert_eq!(
            shape(&places),
            [
                ("z", "eth3", "3", true, 1),
                ("a", "eth0", "", false, 0),
                ("b", "eth1", "1", false, 0),
                ("inside", "eth2", "2", false, 0)
            ]
        );
        // A number that is free again is given again.
        places.remove(1);
        places.push(place("c", 0, false));
        arrange(&mut places, &id, Vec::new());
        assert_eq!(shape(&places)[2], ("c", "eth0", "", false, 0));
        let mut inside = vec![place("inside", 0, true)];
        arrange(&mut inside, &id, Vec::new());
        assert_eq!(shape(&inside), [("inside", "eth0", "", false, 0)]);
    }

    #[test]
    fn places_are_refused_in_dockers_words() {
        let mut known = place("net", 0, false).known;
        let attachment = |address: &str| NetworkAttachment {
            address: Some(address.parse().unwrap()),
            ..NetworkAttachment::default()
        };
        let refusal = |known: Option<&Known>, attachment: &NetworkAttachment| {
            check(known, attachment).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(None, &attachment("10.0.0.9")),
            "invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"
        );
        assert_eq!(
            refusal(Some(&known), &attachment("10.0.0.9")),
            format!("invalid endpoint settings:\n{}", allot::NOT_CHOSEN)
        );
        known.settings.chosen = vec!["10.0.0.0/24".parse().unwrap()];
        assert!(check(Some(&known), &attachment("10.0.0.9")).is_ok());
        assert_eq!(
            refusal(Some(&known), &attachment("10.0.1.9")),
            "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.0.1.9"
        );
        let aliased = NetworkAttachment {
            aliases: vec!["db".into()],
            ..NetworkAttachment::default()
        };
        assert!(check(Some(&known), &aliased).is_ok());
        assert!(refusal(None, &aliased).ends_with("only for containers in user defined networks"));
    }

    #[test]
    fn links_have_an_alias() {
        assert_eq!(split_link("db"), ("db", "db"));
        assert_eq!(split_link("db:store"), ("db", "store"));
    }
}
