//! A container's place on one network: its addresses and its names there.

use super::addresses;
use super::rows::Known;
use crate::EngineError;
use crate::containers::places;
use crate::containers::record::{ContainerId, EndpointRecord};
use crate::containers::request::NetworkAttachment;
use ipnet::IpNet;
use network::Endpoint;
use rusqlite::Connection;
use state::StateError;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Who gets a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest<'a> {
    /// A container's id, or a build step's.
    pub(crate) id: &'a ContainerId,
    /// What the container is called.
    pub(crate) name: &'a str,
    pub(crate) hostname: &'a str,
}

/// Gives a guest a place on the network, in the transaction that `connection` is in. What its links are called, and
/// whether it is the way out, depends on its other places: see [`super::joining::arrange`].
pub(crate) fn allot(
    connection: &Connection,
    known: &Known,
    guest: Guest<'_>,
    attachment: &NetworkAttachment,
) -> Result<EndpointRecord, EngineError> {
    let segment = known.segment();
    let taken = taken_addresses(connection, known)?;
    let IpAddr::V4(address) = choose(
        known,
        segment.subnet().into(),
        attachment.address.map(IpAddr::V4),
        &taken,
    )?
    else {
        return Err(exhausted(known, segment.subnet().into()));
    };
    let side = segment.ipv6();
    let address6 = match (side, attachment.address6) {
        (None, None) => None,
        (None, Some(_)) => return Err(super::joining::invalid_settings(NOT_CHOSEN)),
        (Some(side), asked) => match choose(known, side.subnet.into(), asked.map(IpAddr::V6), &taken)? {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        },
    };
    let record = EndpointRecord {
        network: known.name.clone(),
        network_id: known.id.clone(),
        id: places::hex(&places::random::<32>()?),
        endpoint: Endpoint {
            host_link: String::new(),
            link: String::new(),
            address,
            address6,
            mac: attachment.mac.unwrap_or_else(|| mac_of(address)),
            default_route: false,
            ports: Vec::new(),
        },
        // Nothing goes through that of an internal network.
        gateway: segment.gateway().filter(|_| segment.way_out().is_some()),
        prefix: segment.subnet().prefix_len(),
        ipv6: side.map(|side| (side.gateway, side.subnet.prefix_len())),
        names: if known.has_names() {
            names_of(guest, attachment)
        } else {
            Vec::new()
        },
    };
    hold(connection, &record, guest.id)?;
    sys::failpoint::reach("network.address")?;
    Ok(record)
}

/// Records that a container has the addresses of a place.
pub(super) fn hold(
    connection: &Connection,
    record: &EndpointRecord,
    holder: &ContainerId,
) -> Result<(), EngineError> {
    for address in super::joining::addresses_of(&record.endpoint) {
        connection
            .prepare_cached("INSERT INTO addresses (network, address, container) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| {
                statement.execute((&record.network_id, address.to_string(), holder.as_str()))
            })
            .map_err(StateError::from)?;
    }
    Ok(())
}

/// Lets go of what a container has on one network.
pub(super) fn release(
    connection: &Connection,
    network: &str,
    holder: &ContainerId,
) -> Result<(), EngineError> {
    connection
        .prepare_cached("DELETE FROM addresses WHERE network = ?1 AND container = ?2")
        .and_then(|mut statement| statement.execute((network, holder.as_str())))
        .map_err(StateError::from)?;
    Ok(())
}

/// Returns the names that a container is found by: its own, those it was given for this network, the beginning of its
/// id, its host name.
pub(super) fn names_of(guest: Guest<'_>, attachment: &NetworkAttachment) -> Vec<String> {
    let mut names = Vec::with_capacity(attachment.aliases.len() + 3);
    let aliases = attachment.aliases.iter().map(String::as_str);
    for name in [guest.name]
        .into_iter()
        .chain(aliases)
        .chain([guest.id.short(), guest.hostname])
    {
        if !name.is_empty() && !names.iter().any(|there| there == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Docker's words for an address on a network whose subnet nobody chose.
pub(super) const NOT_CHOSEN: &str =
    "user specified IP address is supported only when connecting to networks with user configured subnets";

/// Returns the address that was asked for, if it is free, or the lowest that is.
fn choose(
    known: &Known,
    subnet: IpNet,
    asked: Option<IpAddr>,
    taken: &BTreeSet<IpAddr>,
) -> Result<IpAddr, EngineError> {
    let Some(asked) = asked else {
        let range = known
            .pool(matches!(subnet, IpNet::V6(_)))
            .and_then(|pool| pool.range);
        return addresses::free(subnet, range, taken).ok_or_else(|| exhausted(known, subnet));
    };
    if taken.contains(&asked) || !addresses::is_usable(subnet, asked) {
        return Err(EngineError::Forbidden {
            message: "Address already in use".into(),
            hint: Some(format!(
                "{asked} on network {} is somebody else's: ask for another",
                known.name
            )),
        });
    }
    Ok(asked)
}

fn exhausted(known: &Known, subnet: IpNet) -> EngineError {
    let family = match subnet {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    };
    EngineError::Conflict {
        message: format!(
            "no available {family} addresses on this network's address pools: {} ({})",
            known.name, known.id
        ),
        hint: Some(format!("all of {subnet} is taken: remove containers")),
    }
}

/// Returns what is nobody's to have: containers' addresses, gateways, what is set apart.
fn taken_addresses(connection: &Connection, known: &Known) -> Result<BTreeSet<IpAddr>, StateError> {
    let mut taken = BTreeSet::new();
    taken.extend(known.segment().gateway().map(IpAddr::V4));
    taken.extend(known.segment().ipv6().map(|side| IpAddr::V6(side.gateway)));
    for pool in &known.settings.pools {
        taken.extend(pool.gateway);
        taken.extend(pool.auxiliary.values());
    }
    let mut query = connection.prepare_cached("SELECT address FROM addresses WHERE network = ?1")?;
    let rows = query.query_map([&known.id], |row| row.get::<_, String>(0))?;
    for row in rows {
        // What is no address cannot be given away either.
        if let Ok(address) = row?.parse() {
            taken.insert(address);
        }
    }
    Ok(taken)
}

/// Returns Docker's hardware address for an IPv4 address: locally administered, then the address.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_follow_from_addresses() {
        assert_eq!(
            mac_of(Ipv4Addr::new(172, 17, 0, 2)),
            [0x02, 0x42, 0xac, 0x11, 0x00, 0x02]
        );
    }

    #[test]
    fn a_container_has_each_name_once() {
        let id = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        let guest = Guest {
            id: &id,
            name: "db",
            hostname: "0123456789ab",
        };
        let attachment = NetworkAttachment {
            aliases: vec!["store".into(), "db".into()],
            ..NetworkAttachment::default()
        };
        assert_eq!(names_of(guest, &attachment), ["db", "store", "0123456789ab"]);
    }
}
