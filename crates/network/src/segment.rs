//! What containers are attached to, of whichever kind.

use crate::{Bridge, Endpoint, Ensured, Lan, NetworkError, Published, Side6};
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, Ipv6Addr};
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

    /// Returns what to hand to [`crate::set_default_route`] for an endpoint here; `None` if nothing leads out of it.
    pub fn way_out(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Bridge(bridge) => (!bridge.traffic.internal).then_some(bridge.gateway),
            Self::Lan(lan) => lan.way_out(),
        }
    }

    /// Returns what to hand to [`crate::set_default_route6`].
    pub fn way_out6(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Bridge(bridge) => bridge
                .ipv6
                .filter(|_| !bridge.traffic.internal)
                .map(|side| side.gateway),
            Self::Lan(lan) => lan.way_out6(),
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
    pub fn ensure(&self) -> Result<Ensured, NetworkError> {
        match self {
            Self::Bridge(bridge) => bridge.ensure(),
            Self::Lan(lan) => lan.ensure().map(|()| Ensured::Unchanged),
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

    /// Likewise, and its link inside the namespace `netns`, which goes on without it.
    pub fn detach_from(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        match self {
            // One end of a cable takes the other with it.
            Self::Bridge(bridge) => bridge.detach(endpoint),
            Self::Lan(lan) => lan.detach_from(netns, endpoint),
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
