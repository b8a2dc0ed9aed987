//! A container's ports, as `ps` shows them.

use engine::containers::record::Container;
use engine::network::{Protocol, PublishedPort};
use std::net::IpAddr;

/// A port of a container, with where it is published if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Port {
    number: u16,
    protocol: Protocol,
    host: Option<(IpAddr, u16)>,
}

/// A protocol's name.
pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Returns the published ports of a running container.
pub(crate) fn published(container: &Container) -> Vec<PublishedPort> {
    let endpoints = container.status.endpoints.iter();
    let endpoints = endpoints.filter(|_| container.pid.is_some());
    endpoints
        .flat_map(|record| record.endpoint.ports.iter().cloned())
        .collect()
}

/// Published ports with where they lead, exposed ones without.
pub(crate) fn show(container: &Container) -> String {
    if container.pid.is_none() {
        return String::new();
    }
    let published = published(container);
    let exposed = container.settings.exposed.iter().filter_map(|exposed| {
        let (number, name) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let protocol = match name {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let number = number.parse().ok()?;
        let is_published = published
            .iter()
            .any(|port| port.port == number && port.protocol == protocol);
        (!is_published).then_some(Port {
            number,
            protocol,
            host: None,
        })
    });
    let ports = published.iter().map(|port| Port {
        number: port.port,
        protocol: port.protocol,
        host: Some((port.host, port.host_port)),
    });
    list(ports.chain(exposed).collect())
}

/// Writes ports in Docker's order: those with the same number on both sides (or on one side only) as ranges, then those
/// that lead to another number, one by one.
fn list(mut ports: Vec<Port>) -> String {
    let address = |port: &Port| {
        port.host
            .map(|(address, _)| address.to_string())
            .unwrap_or_default()
    };
    ports.sort_by_key(|port| {
        let host_port = port.host.map_or(0, |(_, host_port)| host_port);
        (port.number, address(port), host_port, protocol(port.protocol))
    });
    // The ranges that are still growing, one for each address and protocol.
    let mut open: Vec<(Port, u16)> = Vec::new();
    let (mut shown, mut translated) = (Vec::new(), Vec::new());
    for port in ports {
        if let Some((address, host_port)) = port.host
            && host_port != port.number
        {
            let host = std::net::SocketAddr::new(address, host_port);
            translated.push(format!("{host}->{}/{}", port.number, protocol(port.protocol)));
            continue;
        }
        let alike = |(first, _): &&mut (Port, u16)| {
            first.protocol == port.protocol && address(first) == address(&port)
        };
        match open.iter_mut().find(alike) {
            Some((_, last)) if last.checked_add(1) == Some(port.number) => *last = port.number,
            Some(grown) => {
                shown.push(range(grown.0, grown.1));
                *grown = (port, port.number);
            }
            None => open.push((port, port.number)),
        }
    }
    shown.extend(open.into_iter().map(|(first, last)| range(first, last)));
    shown.extend(translated);
    shown.join(", ")
}

fn range(first: Port, last: u16) -> String {
    let numbers = if first.number == last {
        last.to_string()
    } else {
        format!("{}-{last}", first.number)
    };
    let name = protocol(first.protocol);
    match first.host {
        None => format!("{numbers}/{name}"),
        Some((IpAddr::V6(address), _)) => format!("[{address}]:{numbers}->{numbers}/{name}"),
        Some((address, _)) => format!("{address}:{numbers}->{numbers}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Vec<Port> {
        let port = |text: &&str| {
            let (host, rest) = text
                .split_once("->")
                .map_or((None, *text), |(host, rest)| (Some(host), rest));
            let (number, name) = rest.split_once('/').unwrap();
            let host = host.map(|host| host.parse::<std::net::SocketAddr>().unwrap());
            Port {
                number: number.parse().unwrap(),
                protocol: if name == "udp" {
                    Protocol::Udp
                } else {
                    Protocol::Tcp
                },
                host: host.map(|host| (host.ip(), host.port())),
            }
        };
        texts.iter().map(port).collect()
    }

    #[test]
    fn as_docker_shows_them() {
        for (given, expected) in [
            (&[][..], ""),
            (&["80/tcp"], "80/tcp"),
            (
                &["0.0.0.0:80->80/tcp", "[::]:80->80/tcp"],
                "0.0.0.0:80->80/tcp, [::]:80->80/tcp",
            ),
            (
                &["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", "443/tcp"],
                "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                &[
                    "0.0.0.0:9000->9000/tcp",
                    "0.0.0.0:9002->9002/tcp",
                    "0.0.0.0:9001->9001/tcp",
                    "0.0.0.0:9003->9003/udp",
                ],
                "0.0.0.0:9000-9002->9000-9002/tcp, 0.0.0.0:9003->9003/udp",
            ),
            (&["5432/tcp", "80/tcp", "81/tcp"], "80-81/tcp, 5432/tcp"),
            (
                &["127.0.0.1:8000->80/tcp", "127.0.0.1:8001->81/tcp"],
                "127.0.0.1:8000->80/tcp, 127.0.0.1:8001->81/tcp",
            ),
        ] {
            assert_eq!(list(ports(given)), expected, "{given:?}");
        }
    }
}
