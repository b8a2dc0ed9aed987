//! Published ports as elements of maps: of two for the bridges that translate addresses, by version of IP; and of sets
//! for those that are routed to, where publishing a port only opens it.

use super::elements::{Element, edit, edit_consistently, elements};
use super::rules::{OF_PORTS, OPENED, OPENED6, PUBLISHED, PUBLISHED_AT, PUBLISHED6, PUBLISHED6_AT};
use crate::nftables as nft;
use crate::{Bridge, GatewayMode, NetworkError, Protocol, Published, PublishedPort};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sys::netlink::{Batch, Refusal, Socket};

/// Publishes ports. One that is published already belongs to a dead endpoint, since the caller holds the port, and
/// is led to the new one.
pub(crate) fn publish(socket: &mut Socket, bridge: &Bridge, ports: &[Published]) -> Result<(), NetworkError> {
    let table = bridge.table.as_str();
    let wanted = encode_all(bridge, ports);
    if wanted.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::transaction(nft::SUBSYSTEM, None);
    edit_maps(&mut batch, nft::NEWSETELEM, table, &wanted);
    batch.commit(nft::SUBSYSTEM);
    match socket.transact(batch)? {
        Ok(()) => return Ok(()),
        Err(refusal) if is_clash(&refusal) => {}
        Err(refusal) => return Err(NetworkError::refused("publish ports in table", table)(refusal)),
    }
    edit_consistently(socket, table, |socket, batch| {
        let there = published_beside(socket, table, &wanted)?;
        let clashing: Vec<_> = there
            .into_iter()
            .filter(|(map, element)| {
                wanted
                    .iter()
                    .any(|(other, want)| map == other && element.key == want.key)
            })
            .collect();
        edit_maps(batch, nft::DELSETELEM, table, &clashing);
        edit_maps(batch, nft::NEWSETELEM, table, &wanted);
        Ok(true)
    })
}

/// The kernel says one or the other, by version.
fn is_clash(refusal: &Refusal) -> bool {
    refusal.errno == Errno::EXIST || refusal.errno == Errno::BUSY
}

/// Takes ports back, those of them that still lead where they are said to: a port may have been published again for
/// another endpoint.
pub(crate) fn unpublish(
    socket: &mut Socket,
    bridge: &Bridge,
    ports: &[Published],
) -> Result<(), NetworkError> {
    let table = bridge.table.as_str();
    let unwanted = encode_all(bridge, ports);
    if unwanted.is_empty() {
        return Ok(());
    }
    edit_consistently(socket, table, |socket, batch| {
        let mut there = published_beside(socket, table, &unwanted)?;
        there.retain(|element| unwanted.contains(element));
        edit_maps(batch, nft::DELSETELEM, table, &there);
        Ok(!there.is_empty())
    })
}

/// Lists all published ports of a table.
pub(crate) fn published(socket: &mut Socket, table: &str) -> Result<Vec<Published>, NetworkError> {
    Ok(all_published(socket, table)?
        .iter()
        .filter_map(|(map, element)| decode(map, element))
        .collect())
}

pub(super) fn all_published(
    socket: &mut Socket,
    table: &str,
) -> Result<Vec<(&'static str, Element)>, NetworkError> {
    list(socket, table, OF_PORTS.into_iter())
}

/// Lists what is in the maps that these elements are for.
fn published_beside(
    socket: &mut Socket,
    table: &str,
    elements: &[(&'static str, Element)],
) -> Result<Vec<(&'static str, Element)>, NetworkError> {
    let concerned = |map: &&str| elements.iter().any(|(owner, _)| owner == map);
    list(socket, table, OF_PORTS.into_iter().filter(concerned))
}

fn list(
    socket: &mut Socket,
    table: &str,
    maps: impl Iterator<Item = &'static str>,
) -> Result<Vec<(&'static str, Element)>, NetworkError> {
    let mut all = Vec::new();
    for map in maps {
        all.extend(
            elements(socket, table, map)?
                .into_iter()
                .map(|element| (map, element)),
        );
    }
    Ok(all)
}

fn edit_maps(batch: &mut Batch, message: u8, table: &str, elements: &[(&'static str, Element)]) {
    for map in OF_PORTS {
        let of_map: Vec<_> = elements
            .iter()
            .filter(|(owner, _)| *owner == map)
            .map(|(_, element)| element.clone())
            .collect();
        edit(batch, message, table, map, &of_map);
    }
}

/// Returns ports as elements, each once: two of the host's ports may open the same one of an endpoint's.
fn encode_all(bridge: &Bridge, ports: &[Published]) -> Vec<(&'static str, Element)> {
    let mut all: Vec<_> = ports
        .iter()
        .filter_map(|published| {
            let traffic = bridge.traffic;
            let mode = if published.address.is_ipv4() {
                traffic.gateway_mode
            } else {
                traffic.gateway_mode6
            };
            match mode {
                GatewayMode::Nat | GatewayMode::NatUnprotected => encode(published),
                GatewayMode::Routed => Some(encode_opened(published)),
                GatewayMode::Isolated => None,
            }
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns a port's map and element; none if host and endpoint speak different versions of IP. Each field takes a
/// multiple of 4 bytes.
fn encode(published: &Published) -> Option<(&'static str, Element)> {
    let PublishedPort {
        host,
        host_port,
        port,
        protocol,
    } = published.port;
    let map = match (host, published.address, host.is_unspecified()) {
        (IpAddr::V4(_), IpAddr::V4(_), true) => PUBLISHED,
        (IpAddr::V4(_), IpAddr::V4(_), false) => PUBLISHED_AT,
        (IpAddr::V6(_), IpAddr::V6(_), true) => PUBLISHED6,
        (IpAddr::V6(_), IpAddr::V6(_), false) => PUBLISHED6_AT,
        _ => return None,
    };
    let mut key = Vec::with_capacity(24);
    if !host.is_unspecified() {
        push_address(&mut key, host);
    }
    push_service(&mut key, protocol, host_port);
    let mut data = Vec::with_capacity(20);
    push_address(&mut data, published.address);
    data.extend_from_slice(&port_field(port));
    Some((
        map,
        Element {
            key,
            data: Some(data),
            flags: 0,
        },
    ))
}

fn encode_opened(published: &Published) -> (&'static str, Element) {
    let set = match published.address {
        IpAddr::V4(_) => OPENED,
        IpAddr::V6(_) => OPENED6,
    };
    let mut key = Vec::with_capacity(24);
    push_address(&mut key, published.address);
    push_service(&mut key, published.port.protocol, published.port.port);
    (set, Element::of(&key))
}

fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}

fn push_service(bytes: &mut Vec<u8>, protocol: Protocol, port: u16) {
    bytes.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    bytes.extend_from_slice(&port_field(port));
}

fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// Reads an element of one of the maps. An opened port has none of the host's: its own stands for that.
pub(super) fn decode(map: &str, element: &Element) -> Option<Published> {
    let (six, bound, open) = match map {
        PUBLISHED => (false, false, false),
        PUBLISHED6 => (true, false, false),
        PUBLISHED_AT => (false, true, false),
        PUBLISHED6_AT => (true, true, false),
        OPENED => (false, true, true),
        OPENED6 => (true, true, true),
        _ => return None,
    };
    let any = if six {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let (host, rest) = if bound {
        take_address(&element.key, six)?
    } else {
        (any, element.key.as_slice())
    };
    let [protocol, _, _, _, high, low, _, _] = *rest else {
        return None;
    };
    let protocol = Protocol::from_number(protocol)?;
    let host_port = u16::from_be_bytes([high, low]);
    let (host, address, port) = if open {
        (any, host, host_port)
    } else {
        let (address, rest) = take_address(element.data.as_deref()?, six)?;
        let [high, low, _, _] = *rest else {
            return None;
        };
        (host, address, u16::from_be_bytes([high, low]))
    };
    Some(Published {
        port: PublishedPort {
            host,
            host_port,
            port,
            protocol,
        },
        address,
    })
}

fn take_address(bytes: &[u8], six: bool) -> Option<(IpAddr, &[u8])> {
    if six {
        let (address, rest) = bytes.split_first_chunk::<16>()?;
        Some((IpAddr::from(*address), rest))
    } else {
        let (address, rest) = bytes.split_first_chunk::<4>()?;
        Some((IpAddr::from(*address), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(host: &str, host_port: u16, protocol: Protocol) -> Published {
        let host: IpAddr = host.parse().unwrap();
        let address = if host.is_ipv4() { "172.17.0.2" } else { "fd00::2" };
        Published {
            port: PublishedPort {
                host,
                host_port,
                port: 8080,
                protocol,
            },
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn elements_of_ports_are_read_back_as_written() {
        for (host, map, length) in [
            ("0.0.0.0", PUBLISHED, 8),
            ("127.0.0.1", PUBLISHED_AT, 12),
            ("::", PUBLISHED6, 8),
            ("::1", PUBLISHED6_AT, 24),
        ] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let port = published(host, 80, protocol);
                let (owner, element) = encode(&port).unwrap();
                assert_eq!((owner, element.key.len()), (map, length));
                assert_eq!(decode(map, &element), Some(port));
            }
        }
    }

    /// As nft(8) writes `127.0.0.1 . tcp . 80 : 172.17.0.2 . 8080`.
    #[test]
    fn fields_are_in_network_order_and_padded() {
        let (_, element) = encode(&published("127.0.0.1", 80, Protocol::Tcp)).unwrap();
        assert_eq!(element.key, [127, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(element.data.unwrap(), [172, 17, 0, 2, 0x1f, 0x90, 0, 0]);
    }

    #[test]
    fn an_opened_port_is_the_endpoints_own() {
        for host in ["0.0.0.0", "::1"] {
            let port = published(host, 80, Protocol::Udp);
            let (set, element) = encode_opened(&port);
            let read = decode(set, &element).unwrap();
            assert_eq!((read.address, read.port.port), (port.address, 8080));
            assert!(read.port.host.is_unspecified());
            assert_eq!(
                encode_opened(&read),
                (set, element),
                "and is taken back by what is read"
            );
        }
    }

    #[test]
    fn what_cannot_be_translated_is_no_element() {
        let mixed = Published {
            address: "172.17.0.2".parse().unwrap(),
            ..published("::", 80, Protocol::Tcp)
        };
        assert_eq!(encode(&mixed), None);
    }
}
