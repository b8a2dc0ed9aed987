//! What containers are attached to, of whichever kind.

use crate::{Bridge, Endpoint, Lan, NetworkError, Published, Side6};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// A network as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Segment {
    /// Behind a bridge of the host's own.
    Bridge(Bridge),
    /// On one of the host's links.
    Lan(Lan),
}

impl Segment {
    /// Returns its subnet.
    pub fn subnet(&self) -> Ipv4Net {
        match self {
            Self::Bridge(bridge) => bridge.subnet,
            Self::Lan(lan) => lan.subnet,
        }
    }

    /// Returns the way out of it, if it has one: on a bridge its own address.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Bridge(bridge) => Some(bridge.gateway),
            Self::Lan(lan) => lan.gateway,
        }
    }

    /// Returns its IPv6 side.
    pub fn ipv6(&self) -> Option<Side6> {
        match self {
            Self::Bridge(bridge) => bridge.ipv6,
            Self::Lan(lan) => lan.ipv6,
        }
    }

    /// Returns it, if it is a bridge.
    pub fn bridge(&self) -> Option<&Bridge> {
        match self {
            Self::Bridge(bridge) => Some(bridge),
            Self::Lan(_) => None,
        }
    }

    /// Makes what is missing of it: see [`Bridge::ensure`].
    pub fn ensure(&self) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.ensure().map(|_ensured| ()),
            Self::Lan(lan) => lan.ensure(),
        }
    }

    /// Gives the namespace `netns` its end: see [`Bridge::attach`].
    pub fn attach(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.attach(netns, endpoint),
            Self::Lan(lan) => lan.attach(netns, endpoint),
        }
    }

    /// Takes what an endpoint has on the host away. What is inside a namespace goes with that.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.detach(endpoint),
            Self::Lan(_) => Ok(()),
        }
    }

    /// Publishes an endpoint's ports; there are none on a LAN.
    pub fn publish(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.publish(std::slice::from_ref(endpoint)),
            Self::Lan(_) => Ok(()),
        }
    }

    /// Takes published ports back.
    pub fn unpublish(&self, ports: &[Published]) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.unpublish(ports),
            Self::Lan(_) => Ok(()),
        }
    }

    /// Removes it from the host.
    pub fn remove(&self) -> Result<(), NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.remove(),
            Self::Lan(lan) => lan.remove(),
        }
    }
}
