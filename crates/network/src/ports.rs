//! Published ports: what they are, and holding them on the host.

use crate::{Endpoint, NetworkError};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown,
    socket_with,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// The transport protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SCTP.
    Sctp,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Returns IANA's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.number() == number)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of the host that leads to one of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublishedPort {
    /// Which of the host's addresses; unspecified means all of that version of IP.
    pub host: IpAddr,
    /// The host's port, never 0 here.
    pub host_port: u16,
    /// The endpoint's port.
    pub port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// A published port with the address that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The port.
    pub port: PublishedPort,
    /// The endpoint's address, of the same version of IP as the host's.
    pub address: IpAddr,
}

impl Endpoint {
    /// Returns the endpoint's ports, each with its address of the version of IP that the host's address has. A port for
    /// which there is no such address is left out; [`crate::Bridge::attach`] refuses it.
    pub fn published(&self) -> Vec<Published> {
        let published = |port: &PublishedPort| {
            let address = match port.host {
                IpAddr::V4(_) => IpAddr::V4(self.address),
                IpAddr::V6(_) => IpAddr::V6(self.address6?),
            };
            Some(Published {
                port: port.clone(),
                address,
            })
        };
        self.ports.iter().filter_map(published).collect()
    }

    /// Makes sure that every port can be published.
    pub(crate) fn check_ports(&self) -> Result<(), NetworkError> {
        let without = |port: &&PublishedPort| port.host.is_ipv6() && self.address6.is_none();
        match self.ports.iter().find(without) {
            Some(port) => Err(NetworkError::NoIpv6Address {
                host: port.host,
                port: port.host_port,
            }),
            None => Ok(()),
        }
    }
}

/// Reserves a host port by binding it: nobody else gets it while the sockets live, and a conflict is found now.
/// `port` 0 picks a free one. Returns the port and the bound, not listening, sockets. All of the host's IPv6 addresses
/// are not its IPv4 addresses too.
pub fn reserve_port(
    host: IpAddr,
    port: u16,
    protocol: Protocol,
) -> Result<(u16, Vec<OwnedFd>), NetworkError> {
    let address = SocketAddr::new(host, port);
    let bound = match hold(address, protocol) {
        // What is in use may be the remains of connections that a server of the host's closed a minute ago.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => hold_beside_remains(address),
        other => other,
    };
    let refused = |errno| match errno {
        Errno::ADDRINUSE => NetworkError::PortTaken { host, port, protocol },
        Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT if protocol == Protocol::Sctp => {
            NetworkError::NoSctp { port }
        }
        errno => NetworkError::PortRefused {
            host,
            port,
            protocol,
            errno,
        },
    };
    let socket = bound.map_err(refused)?;
    let name = getsockname(&socket).map_err(refused)?;
    let port = SocketAddr::try_from(name).map_err(refused)?.port();
    Ok((port, vec![socket]))
}

fn open(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

fn hold(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let socket = open(address, protocol)?;
    if protocol == Protocol::Udp {
        // Nobody reads from it; the kernel raises this to the least there is.
        set_socket_recv_buffer_size(&socket, 0)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// Binds a port whose former connections are in `TIME_WAIT`. `SO_REUSEADDR` allows that, but would allow it to a
/// second reservation too. Of several that try only one gets to listen, and the port is its own from then on: it can
/// stop listening and give the option up.
fn hold_beside_remains(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(address, Protocol::Tcp)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 0)?;
    set_socket_reuseaddr(&socket, false)?;
    shutdown(&socket, Shutdown::Read)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn is_taken(result: &Result<(u16, Vec<OwnedFd>), NetworkError>) -> bool {
        matches!(result, Err(NetworkError::PortTaken { .. }))
    }

    #[test]
    fn a_reserved_port_is_nobody_elses_until_dropped() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let (port, held) = reserve_port(ANY, 0, protocol).unwrap();
            assert_ne!(port, 0);
            for host in [ANY, LOCALHOST] {
                let error = reserve_port(host, port, protocol).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("cannot bind {protocol} port {host}:{port}: another program uses it")
                );
            }
            drop(held);
            assert_eq!(reserve_port(LOCALHOST, port, protocol).unwrap().0, port);
        }
    }

    #[test]
    fn another_programs_port_is_taken() {
        let server = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = server.local_addr().unwrap().port();
        assert!(is_taken(&reserve_port(ANY, port, Protocol::Tcp)));
        assert!(is_taken(&reserve_port(LOCALHOST, port, Protocol::Tcp)));
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        assert!(is_taken(&reserve_port(ANY, port, Protocol::Udp)));
    }

    #[test]
    fn a_port_is_reserved_for_one_address_and_protocol() {
        let (port, _held) = reserve_port(LOCALHOST, 0, Protocol::Tcp).unwrap();
        let other: IpAddr = "127.0.0.2".parse().unwrap();
        assert!(reserve_port(other, port, Protocol::Tcp).is_ok());
        assert!(reserve_port(LOCALHOST, port, Protocol::Udp).is_ok());
    }

    /// A server that closed its connections leaves its port in `TIME_WAIT` for a minute.
    #[test]
    fn remains_of_connections_are_no_conflict_but_a_second_reservation_is() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        accepted.write_all(b"x").unwrap();
        drop(accepted);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        drop(client);
        drop(server);
        let held = reserve_port(ANY, port, Protocol::Tcp).unwrap();
        assert!(is_taken(&reserve_port(ANY, port, Protocol::Tcp)));
        assert!(is_taken(&reserve_port(LOCALHOST, port, Protocol::Tcp)));
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        drop(held);
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let (port, held) = reserve_port(ANY, 0, Protocol::Tcp).unwrap();
        drop(held);
        let start = std::sync::Barrier::new(32);
        let won: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        reserve_port(ANY, port, Protocol::Tcp).ok()
                    })
                })
                .collect();
            racers
                .into_iter()
                .filter_map(|racer| racer.join().unwrap())
                .collect()
        });
        assert_eq!(won.len(), 1);
    }

    #[test]
    fn what_cannot_be_bound_is_said() {
        let error = reserve_port("192.0.2.1".parse().unwrap(), 80, Protocol::Tcp).unwrap_err();
        assert!(
            matches!(
                error,
                NetworkError::PortRefused {
                    errno: Errno::ADDRNOTAVAIL,
                    ..
                }
            ),
            "{error:?}"
        );
        let error = reserve_port("2001:db8::1".parse().unwrap(), 80, Protocol::Tcp).unwrap_err();
        assert_eq!(error.to_string(), "cannot bind tcp port [2001:db8::1]:80");
    }

    #[test]
    fn the_versions_of_ip_have_ports_of_their_own() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let any6: IpAddr = "::".parse().unwrap();
            let (port, held) = reserve_port(any6, 0, protocol).unwrap();
            let (_, held4) = reserve_port(ANY, port, protocol).unwrap();
            assert!(is_taken(&reserve_port("::1".parse().unwrap(), port, protocol)));
            assert!(is_taken(&reserve_port(any6, port, protocol)));
            drop((held, held4));
            assert!(reserve_port(any6, port, protocol).is_ok());
        }
    }

    #[test]
    fn a_port_leads_to_the_address_of_its_version() {
        let port = |host: &str| PublishedPort {
            host: host.parse().unwrap(),
            host_port: 8080,
            port: 80,
            protocol: Protocol::Tcp,
        };
        let mut endpoint = Endpoint {
            host_link: "v".to_owned(),
            link: "eth0".to_owned(),
            address: Ipv4Addr::new(172, 17, 0, 2),
            address6: Some("fd00::2".parse().unwrap()),
            mac: [2; 6],
            default_route: true,
            ports: vec![port("0.0.0.0"), port("::1")],
        };
        let addresses: Vec<_> = endpoint
            .published()
            .iter()
            .map(|published| published.address.to_string())
            .collect();
        assert_eq!(addresses, ["172.17.0.2", "fd00::2"]);
        assert!(endpoint.check_ports().is_ok());
        endpoint.address6 = None;
        assert_eq!(endpoint.published().len(), 1);
        assert_eq!(
            endpoint.check_ports().unwrap_err().to_string(),
            "cannot publish port 8080 on [::1]: the container has no IPv6 address on this network"
        );
    }
}
