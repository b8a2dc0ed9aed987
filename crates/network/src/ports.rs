//! Published ports: what they are, and holding them on the host.

use crate::{Endpoint, NetworkError};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown,
    socket_with,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
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
    /// Which of the host's addresses; unspecified means all.
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
    /// The endpoint's address.
    pub address: Ipv4Addr,
}

impl Endpoint {
    /// Returns the endpoint's ports, each with its address.
    pub fn published(&self) -> Vec<Published> {
        let published = |port: &PublishedPort| Published {
            port: port.clone(),
            address: self.address,
        };
        self.ports.iter().map(published).collect()
    }
}

/// Reserves a host port by binding it: nobody else gets it while the sockets live, and a conflict is found now.
/// `port` 0 picks a free one. Returns the port and the bound, not listening, sockets.
pub fn reserve_port(
    host: IpAddr,
    port: u16,
    protocol: Protocol,
) -> Result<(u16, Vec<OwnedFd>), NetworkError> {
    let IpAddr::V4(address) = host else {
        return Err(NetworkError::Ipv6Port { host, port });
    };
    let address = SocketAddrV4::new(address, port);
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
    let port = SocketAddrV4::try_from(name).map_err(refused)?.port();
    Ok((port, vec![socket]))
}

fn open(protocol: Protocol) -> Result<OwnedFd, Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, Some(number))
}

fn hold(address: SocketAddrV4, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let socket = open(protocol)?;
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
fn hold_beside_remains(address: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let socket = open(Protocol::Tcp)?;
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
    use std::net::{TcpListener, TcpStream, UdpSocket};

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
        let error = reserve_port("::".parse().unwrap(), 80, Protocol::Tcp).unwrap_err();
        assert!(matches!(error, NetworkError::Ipv6Port { .. }), "{error:?}");
    }
}
