//! Published ports as elements of the two maps.

use super::elements::{Element, edit, edit_consistently, elements};
use super::rules::{PUBLISHED, PUBLISHED_AT};
use crate::nftables as nft;
use crate::{NetworkError, Protocol, Published, PublishedPort};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};
use sys::netlink::{Batch, Refusal, Socket};

/// Publishes ports. One that is published already belongs to a dead endpoint, since the caller holds the port, and
/// is led to the new one.
pub(crate) fn publish(socket: &mut Socket, table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    let wanted = ports.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
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
        let there = all_published(socket, table)?;
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
pub(crate) fn unpublish(socket: &mut Socket, table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    // A port that could not be encoded was never published.
    let unwanted: Vec<_> = ports.iter().filter_map(|port| encode(port).ok()).collect();
    if unwanted.is_empty() {
        return Ok(());
    }
    edit_consistently(socket, table, |socket, batch| {
        let mut there = all_published(socket, table)?;
        there.retain(|element| unwanted.contains(element));
        edit_maps(batch, nft::DELSETELEM, table, &there);
        Ok(!there.is_empty())
    })
}

/// Lists all published ports of a table.
pub(crate) fn published(socket: &mut Socket, table: &str) -> Result<Vec<Published>, NetworkError> {
    Ok(all_published(socket, table)?
        .iter()
        .filter_map(|(_, element)| decode(element))
        .collect())
}

pub(super) fn all_published(
    socket: &mut Socket,
    table: &str,
) -> Result<Vec<(&'static str, Element)>, NetworkError> {
    let mut all = Vec::new();
    for map in [PUBLISHED, PUBLISHED_AT] {
        all.extend(
            elements(socket, table, map)?
                .into_iter()
                .map(|element| (map, element)),
        );
    }
    Ok(all)
}

fn edit_maps(batch: &mut Batch, message: u8, table: &str, elements: &[(&'static str, Element)]) {
    for map in [PUBLISHED, PUBLISHED_AT] {
        let of_map: Vec<_> = elements
            .iter()
            .filter(|(owner, _)| *owner == map)
            .map(|(_, element)| element.clone())
            .collect();
        edit(batch, message, table, map, &of_map);
    }
}

/// Returns a port's map and element. Each field takes a multiple of 4 bytes.
fn encode(published: &Published) -> Result<(&'static str, Element), NetworkError> {
    let PublishedPort {
        host,
        host_port,
        port,
        protocol,
    } = published.port;
    let IpAddr::V4(host) = host else {
        return Err(NetworkError::Ipv6Port {
            host,
            port: host_port,
        });
    };
    let mut key = Vec::with_capacity(12);
    if !host.is_unspecified() {
        key.extend_from_slice(&host.octets());
    }
    key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    key.extend_from_slice(&port_field(host_port));
    let data = [published.address.octets(), port_field(port)].concat();
    let map = if host.is_unspecified() {
        PUBLISHED
    } else {
        PUBLISHED_AT
    };
    Ok((
        map,
        Element {
            key,
            data: Some(data),
            flags: 0,
        },
    ))
}

fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

pub(super) fn decode(element: &Element) -> Option<Published> {
    let (host, rest) = match element.key.as_slice() {
        [a, b, c, d, rest @ ..] if rest.len() == 8 => (Ipv4Addr::new(*a, *b, *c, *d), rest),
        rest => (Ipv4Addr::UNSPECIFIED, rest),
    };
    let [protocol, _, _, _, high, low, _, _] = *rest else {
        return None;
    };
    let [a, b, c, d, port_high, port_low, _, _] = *element.data.as_deref()? else {
        return None;
    };
    Some(Published {
        port: PublishedPort {
            host: IpAddr::V4(host),
            host_port: u16::from_be_bytes([high, low]),
            port: u16::from_be_bytes([port_high, port_low]),
            protocol: Protocol::from_number(protocol)?,
        },
        address: Ipv4Addr::new(a, b, c, d),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(host: &str, host_port: u16, protocol: Protocol) -> Published {
        Published {
            port: PublishedPort {
                host: host.parse().unwrap(),
                host_port,
                port: 8080,
                protocol,
            },
            address: Ipv4Addr::new(172, 17, 0, 2),
        }
    }

    #[test]
    fn elements_of_ports_are_read_back_as_written() {
        for (host, map, length) in [("0.0.0.0", PUBLISHED, 8), ("127.0.0.1", PUBLISHED_AT, 12)] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let port = published(host, 80, protocol);
                let (owner, element) = encode(&port).unwrap();
                assert_eq!((owner, element.key.len()), (map, length));
                assert_eq!(decode(&element), Some(port));
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
    fn ipv6_is_refused_by_name() {
        let error = encode(&published("::", 80, Protocol::Tcp)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot publish port 80 on ::: ports are published on IPv4 addresses only"
        );
    }
}
