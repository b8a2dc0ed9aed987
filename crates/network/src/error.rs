//! Why a network could not be set up.

use crate::Protocol;
use rustix::io::Errno;
use std::net::IpAddr;
use sys::SysError;
use sys::netlink::{NetlinkError, Refusal};

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// An exchange with the kernel failed as a whole.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel refused one request.
    #[error("cannot {action} '{subject}'{}", explanation.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The link, table or the like.
        subject: String,
        /// The kernel's own words, where it has any.
        explanation: Option<String>,
        /// Its answer.
        #[source]
        errno: Errno,
    },
    /// Another program holds a port of the host.
    #[error("cannot bind {protocol} port {host}:{port}: another program uses it", host = in_brackets(*host))]
    PortTaken {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// A port cannot be bound for a reason that is not another program.
    #[error("cannot bind {protocol} port {host}:{port}", host = in_brackets(*host))]
    PortRefused {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The kernel's answer; `EADDRNOTAVAIL` if the host has no such address.
        #[source]
        errno: Errno,
    },
    /// A port of an IPv6 address cannot lead to an endpoint that has none.
    #[error("cannot publish port {port} on {host}: the container has no IPv6 address on this network", host = in_brackets(*host))]
    NoIpv6Address {
        /// The host's address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// An endpoint has an IPv6 address on a network that has none.
    #[error("cannot give a container the address {address}: the network has no IPv6 subnet")]
    NoIpv6Subnet {
        /// The address.
        address: std::net::Ipv6Addr,
    },
    /// The kernel was told to do without IPv6, or the link's MTU is too small for it (RFC 8200, 5).
    #[error("cannot set up IPv6 on link '{link}': this kernel has none, or the link's MTU is below 1280")]
    NoIpv6 {
        /// The link.
        link: String,
    },
    /// The kernel cannot do SCTP, in the container as little as outside.
    #[error("cannot publish sctp port {port}: this kernel has no SCTP")]
    NoSctp {
        /// The port.
        port: u16,
    },
    /// All of Docker's default pools overlap something.
    #[error(
        "no free subnet in 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16: all overlap the host's routes or other networks"
    )]
    NoFreeSubnet,
    /// All 65536 subnets of this host's own prefix overlap something.
    #[error("no free subnet in {prefix}: all overlap the host's routes or other networks")]
    NoFreeSubnet6 {
        /// The prefix.
        prefix: ipnet::Ipv6Net,
    },
    /// The link that a network stands on is not there.
    #[error("no link '{name}' on this host to put the network on")]
    NoParent {
        /// Its name.
        name: String,
    },
    /// A link that no network can stand on.
    #[error("cannot put a {kind} network on link '{name}': {reason}")]
    Parent {
        /// `macvlan` or `ipvlan`.
        kind: &'static str,
        /// The link's name.
        name: String,
        /// What is against it.
        reason: &'static str,
    },
    /// The part of a parent's name behind the dot is no VLAN's.
    #[error("invalid VLAN in '{name}': the part behind the dot is a number from 1 to 4094")]
    VlanTag {
        /// The parent's name.
        name: String,
    },
    /// The kernel lacks a kind of link.
    #[error("this kernel has no {kind} links: the module '{module}' is missing")]
    NoSuchKind {
        /// The kind.
        kind: &'static str,
        /// The module's name.
        module: &'static str,
    },
    /// A link of that name is something else.
    #[error("link '{name}' exists and is not a bridge")]
    NotABridge {
        /// Its name.
        name: String,
    },
    /// The bridge is not there.
    #[error("no bridge '{name}'")]
    NoBridge {
        /// Its name.
        name: String,
    },
    /// A link that was just made is gone.
    #[error("link '{name}' vanished")]
    LinkVanished {
        /// Its name.
        name: String,
    },
    /// A name that the kernel does not take for a link.
    #[error("invalid link name '{name}': 1 to 15 bytes without '/', ':' and spaces")]
    LinkName {
        /// The name.
        name: String,
    },
    /// A gateway or endpoint that its subnet does not hold.
    #[error("address {address} is not in subnet {subnet}")]
    OutsideSubnet {
        /// The address.
        address: IpAddr,
        /// The network's subnet.
        subnet: ipnet::IpNet,
    },
    /// The rules changed each time before ours could be written.
    #[error("firewall rules of table '{table}' kept changing while they were edited")]
    Busy {
        /// The table.
        table: String,
    },
}

impl NetworkError {
    /// Makes a `map_err` closure for a request that the kernel refused.
    pub(crate) fn refused(action: &'static str, subject: &str) -> impl FnOnce(Refusal) -> Self {
        move |refusal| Self::Refused {
            action,
            subject: subject.to_owned(),
            explanation: refusal.text,
            errno: refusal.errno,
        }
    }
}

fn in_brackets(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
