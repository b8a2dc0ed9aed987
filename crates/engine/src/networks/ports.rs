//! Host ports: who has which, and holding one for a container.

use crate::EngineError;
use crate::containers::record::ContainerId;
use crate::containers::request::PublishRequest;
use network::{NetworkError, Protocol, PublishedPort};
use rusqlite::Connection;
use state::StateError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// Gives `holder` the host ports that it asks for, in the transaction that `connection` is in: those recorded, and
/// bound by sockets. `name` is what messages call it, `default` where ports go that name no address: all of the host's
/// IPv4 addresses, and for a container that `has_ipv6` the same port of all of its IPv6 addresses.
pub(crate) fn reserve_all(
    connection: &Connection,
    holder: &ContainerId,
    name: &str,
    publish: &[PublishRequest],
    default: Option<IpAddr>,
    has_ipv6: bool,
) -> Result<(Vec<PublishedPort>, Vec<OwnedFd>), EngineError> {
    let mut ports = Vec::with_capacity(publish.len());
    let mut sockets = Vec::new();
    for request in publish {
        let host = request
            .host
            .or(default)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let both = has_ipv6 && request.host.is_none() && host == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (port, reserved) = reserve(connection, holder, name, request, host)?;
        if both {
            let same = PublishRequest {
                host_ports: port.host_port..=port.host_port,
                ..request.clone()
            };
            let host = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let (port6, reserved6) = reserve(connection, holder, name, &same, host)?;
            ports.extend([port, port6]);
            sockets.extend(reserved.into_iter().chain(reserved6));
        } else {
            ports.push(port);
            sockets.extend(reserved);
        }
    }
    Ok((ports, sockets))
}

fn reserve(
    connection: &Connection,
    holder: &ContainerId,
    name: &str,
    request: &PublishRequest,
    host: IpAddr,
) -> Result<(PublishedPort, Vec<OwnedFd>), EngineError> {
    let mut refusal = None;
    for wanted in request.host_ports.clone() {
        if wanted != 0
            && let Some(other) =
                holder_of(connection, request.protocol, host, wanted).map_err(StateError::from)?
        {
            refusal = Some(port_taken(holder, name, host, wanted, Some(&other)));
            continue;
        }
        match network::reserve_port(host, wanted, request.protocol) {
            Ok((port, sockets)) => {
                connection
                    .prepare_cached(
                        "INSERT INTO published_ports (protocol, host, port, container) VALUES (?1, ?2, ?3, ?4)",
                    )
                    .and_then(|mut statement| {
                        statement.execute((
                            protocol_name(request.protocol),
                            host.to_string(),
                            port,
                            holder.as_str(),
                        ))
                    })
                    .map_err(StateError::from)?;
                let published = PublishedPort {
                    host,
                    host_port: port,
                    port: request.port,
                    protocol: request.protocol,
                };
                return Ok((published, sockets));
            }
            Err(NetworkError::PortTaken { .. }) => {
                refusal = Some(port_taken(holder, name, host, wanted, None));
            }
            Err(NetworkError::Sys(error)) if error.errno == rustix::io::Errno::ADDRINUSE => {
                refusal = Some(port_taken(holder, name, host, wanted, None));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(refusal.unwrap_or_else(|| EngineError::Invalid {
        message: format!(
            "the range of host ports for {}/{} is empty",
            request.port,
            protocol_name(request.protocol)
        ),
        hint: None,
    }))
}

/// Returns the host ports that a running container holds already, whatever they led to last.
pub(crate) fn held(
    connection: &Connection,
    holder: &ContainerId,
    publish: &[PublishRequest],
) -> Result<Vec<PublishedPort>, EngineError> {
    let mut left: Vec<(String, IpAddr, u16)> = Vec::new();
    if !publish.is_empty() {
        let mut query = connection
            .prepare_cached(
                "SELECT protocol, host, port FROM published_ports WHERE container = ?1 ORDER BY port",
            )
            .map_err(StateError::from)?;
        let mut rows = query.query([holder.as_str()]).map_err(StateError::from)?;
        while let Some(row) = rows.next().map_err(StateError::from)? {
            let host: String = row.get(1).map_err(StateError::from)?;
            if let Ok(host) = host.parse() {
                let (protocol, port) = (row.get(0), row.get(2));
                left.push((
                    protocol.map_err(StateError::from)?,
                    host,
                    port.map_err(StateError::from)?,
                ));
            }
        }
    }
    let mut ports = Vec::new();
    // First those that left no choice, so that what may be any port takes what is left.
    let mut requests: Vec<&PublishRequest> = publish.iter().collect();
    requests.sort_by_key(|request| request.host_ports.contains(&0));
    for request in requests {
        let first = left.iter().position(|(protocol, host, port)| {
            protocol == protocol_name(request.protocol)
                && request.host.is_none_or(|asked| asked == *host)
                && (request.host_ports.contains(port) || request.host_ports.contains(&0))
        });
        let Some(number) = first.map(|first| left[first].2) else {
            continue;
        };
        // Of both versions of IP, if the request left that open.
        left.retain(|(protocol, host, host_port)| {
            let is_it = protocol == protocol_name(request.protocol)
                && *host_port == number
                && request.host.is_none_or(|asked| asked == *host);
            if is_it {
                ports.push(PublishedPort {
                    host: *host,
                    host_port: number,
                    port: request.port,
                    protocol: request.protocol,
                });
            }
            !is_it
        });
    }
    Ok(ports)
}

/// Returns the name of the container that has the port on an address that overlaps `host`.
fn holder_of(
    connection: &Connection,
    protocol: Protocol,
    host: IpAddr,
    port: u16,
) -> rusqlite::Result<Option<String>> {
    let mut query = connection.prepare_cached(
        "SELECT p.host, coalesce(c.name, p.container) FROM published_ports p
         LEFT JOIN containers c ON c.id = p.container WHERE p.protocol = ?1 AND p.port = ?2",
    )?;
    let mut rows = query.query((protocol_name(protocol), port))?;
    while let Some(row) = rows.next()? {
        let held: String = row.get(0)?;
        let overlaps = held.parse().map_or(true, |held: IpAddr| {
            held == host
                || (held.is_ipv4() == host.is_ipv4() && (held.is_unspecified() || host.is_unspecified()))
        });
        if overlaps {
            return row.get(1).map(Some);
        }
    }
    Ok(None)
}

fn port_taken(id: &ContainerId, name: &str, host: IpAddr, port: u16, other: Option<&str>) -> EngineError {
    EngineError::Conflict {
        message: format!(
            "driver failed programming external connectivity on endpoint {name} ({id}): Bind for {} failed: port is already allocated",
            std::net::SocketAddr::new(host, port)
        ),
        hint: Some(match other {
            Some(other) => {
                format!("container \"{other}\" has this port: stop it, or publish on another port")
            }
            None => {
                format!(
                    "a program on this host has port {port}: `ss -lptn sport = :{port}` names it; stop it, or publish on another port"
                )
            }
        }),
    }
}

/// Returns the protocol's name as users write it.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let id = ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap();
        let error = port_taken(&id, "web", IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5432, Some("pg"));
        assert!(
            error
                .to_string()
                .ends_with("Bind for 0.0.0.0:5432 failed: port is already allocated")
        );
        assert!(error.hint().unwrap().contains("\"pg\""));
    }
}
