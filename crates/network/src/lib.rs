//! Networks of one host: bridges, virtual links, address translation, published ports.
//!
//! In: a network namespace's descriptor and an endpoint. Out: addresses and routes inside it, rules outside. Stands
//! on `sys::netlink` (rtnetlink and `nf_tables` messages, no helper programs). Keeps no state of its own beyond the
//! kernel's; does not know what a container is.

mod address;
mod bridge;
mod cable;
mod error;
mod firewall;
mod host;
mod inner;
mod lan;
mod links;
pub mod names;
mod nftables;
mod passage;
mod ports;
mod resolvers;
mod rtnetlink;
mod segment;
mod watch;

pub use address::{free_address, free_address6};
pub use bridge::{Bridge, Ensured, GatewayMode, Traffic};
pub use error::NetworkError;
pub use host::{free_subnet, free_subnet6, uplink_mtu};
pub use inner::{raise_loopback, set_default_route, set_default_route6};
pub use lan::{IpvlanFlag, IpvlanMode, Lan, LanKind, MacvlanMode};
pub use passage::Obstacle;
pub use ports::{Protocol, Published, PublishedPort, reserve_port};
pub use resolvers::{Resolvers, host_resolvers};
pub use segment::Segment;
pub use watch::FirewallWatch;

use ipnet::Ipv6Net;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv6 side of a network that has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Side6 {
    /// Its subnet.
    pub subnet: Ipv6Net,
    /// The gateway's address, inside `subnet`.
    pub gateway: Ipv6Addr,
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
    /// Its IPv6 address, on a network that has such.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Whether what has no other route goes this way.
    #[serde(default = "by_default")]
    pub default_route: bool,
    /// Ports of the host that lead here.
    pub ports: Vec<PublishedPort>,
}

/// A container on one network has its default route there.
const fn by_default() -> bool {
    true
}
