//! Networks of one host: bridges, virtual links, address translation, published ports.
//!
//! In: a network namespace's descriptor and an endpoint. Out: addresses and routes inside it, rules outside. Stands
//! on `sys::netlink` (rtnetlink and nf_tables messages, no helper programs). Keeps no state of its own beyond the
//! kernel's; does not know what a container is.

use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A bridge and what belongs to it. All names derive from `name` and `table`, so that a dead process's leavings can
/// be found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bridge {
    /// The link's name, at most 15 bytes.
    pub name: String,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// The address of the bridge itself, inside `subnet`.
    pub gateway: Ipv4Addr,
    /// Of every link on it.
    pub mtu: u32,
    /// The nf_tables table (family `inet`) of this root.
    pub table: String,
}

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

/// One side of a virtual cable: what a namespace gets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// The host end's name, at most 15 bytes, derived from the container's id.
    pub host_link: String,
    /// The name inside, `eth0`.
    pub link: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Ports of the host that lead here.
    pub ports: Vec<PublishedPort>,
}

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
}

impl Bridge {
    /// Makes the bridge, its table and rules and the host's settings (forwarding) where they are missing or not as
    /// they must be. Costs a few netlink messages when all is there. Several processes may do it at once.
    pub fn ensure(&self) -> Result<(), NetworkError> {
        todo!("{self:?}")
    }

    /// Gives the namespace `netns` its end of a cable to this bridge: link, address, default route; and publishes the
    /// endpoint's ports. On failure nothing is left. The caller's thread may be in another namespace for a moment.
    pub fn attach(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        todo!("{netns:?} {endpoint:?}")
    }

    /// Takes an endpoint's ports and host link away, whichever of them is still there.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        todo!("{endpoint:?}")
    }

    /// Removes the bridge and this root's table.
    pub fn remove(&self) -> Result<(), NetworkError> {
        todo!()
    }
}

/// Brings `lo` up in a namespace.
pub fn raise_loopback(netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
    todo!("{netns:?}")
}

/// Returns the MTU of the link that the default route goes through; 1500 without one.
pub fn uplink_mtu() -> Result<u32, NetworkError> {
    todo!()
}

/// Picks a subnet from Docker's default pools (172.17.0.0/16 … 192.168.240.0/20) that overlaps none of the host's
/// routes and addresses and none of `taken`.
pub fn free_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    todo!("{taken:?}")
}

/// Returns the lowest address of `subnet` that is neither the network's, the broadcast's, the gateway's nor taken.
pub fn free_address(subnet: Ipv4Net, gateway: Ipv4Addr, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    todo!("{subnet} {gateway} {taken:?}")
}

/// Reserves a host port by binding it: nobody else gets it while the sockets live, and a conflict is found now.
/// `port` 0 picks a free one. Returns the port and the bound, not listening, sockets.
pub fn reserve_port(
    host: IpAddr,
    port: u16,
    protocol: Protocol,
) -> Result<(u16, Vec<OwnedFd>), NetworkError> {
    todo!("{host} {port} {protocol:?}")
}
