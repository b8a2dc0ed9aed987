//! Networks on one of the host's own links: each container gets a macvlan or ipvlan link of its own beside it, and is
//! seen outside by its own address. There is no translation, and nothing is published.

use crate::inner::{self, Surroundings};
use crate::links::{check_link_name, remove_link};
use crate::rtnetlink::{self as rtnl, Link, Upper, UpperKind};
use crate::{Endpoint, NetworkError, Side6, host};
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use sys::failpoint;
use sys::netlink::{Batch, Family, Refusal, Socket};

/// A network on one of the host's links.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lan {
    /// The host's link. `NAME.TAG` that is not there is made, as a VLAN on `NAME`; any other that is not there as a
    /// link that leads nowhere, if `made` says so.
    pub parent: String,
    /// Whether the parent is ours: made when it is needed, and removed with the network.
    pub made: bool,
    /// What the links are.
    pub kind: LanKind,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// The router's address outside; none on an internal network, which then has no way out by IPv6 either. Ipvlan in
    /// layer 3 asks no router, and only looks whether there is one.
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

impl LanKind {
    /// Returns the kernel's name for the links.
    fn name(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
        }
    }

    /// Returns what the kernel calls it, for an endpoint with this hardware address (`linux/if_link.h`).
    fn upper(self, mac: [u8; 6]) -> UpperKind {
        match self {
            Self::Macvlan(mode) => {
                let mode = match mode {
                    MacvlanMode::Private => 1,
                    MacvlanMode::Vepa => 2,
                    MacvlanMode::Bridge => 4,
                    MacvlanMode::Passthru => 8,
                };
                UpperKind::Macvlan(mode, mac)
            }
            Self::Ipvlan(mode, flag) => {
                let mode = match mode {
                    IpvlanMode::L2 => 0,
                    IpvlanMode::L3 => 1,
                    IpvlanMode::L3s => 2,
                };
                let flag = match flag {
                    IpvlanFlag::Bridge => 0,
                    IpvlanFlag::Private => 1,
                    IpvlanFlag::Vepa => 2,
                };
                UpperKind::Ipvlan(mode, flag)
            }
        }
    }
}

impl Lan {
    /// Finds out whether the network can be there, without making anything: for whoever creates it.
    pub fn check(&self) -> Result<(), NetworkError> {
        check_link_name(&self.parent)?;
        let mut route = Socket::open(Family::Route)?;
        match rtnl::link(&mut route, &self.parent)? {
            Some(link) => self.check_parent(&link),
            None => match vlan(&self.parent)? {
                Some((below, _)) => match rtnl::link(&mut route, below)? {
                    Some(link) => self.check_parent(&link),
                    None => Err(no_parent(below)),
                },
                None if self.made => Ok(()),
                None => Err(no_parent(&self.parent)),
            },
        }
    }

    /// Makes the parent if it is ours and missing.
    pub fn ensure(&self) -> Result<(), NetworkError> {
        self.parent(&mut Socket::open(Family::Route)?).map(|_link| ())
    }

    /// Gives the namespace `netns` a link: addresses, default route. On failure nothing is left. It goes with the
    /// namespace.
    pub fn attach(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        check_link_name(&endpoint.link)?;
        self.check_addresses(endpoint)?;
        let mut route = Socket::open(Family::Route)?;
        let parent = self.parent(&mut route)?;
        let upper = Upper {
            name: &endpoint.link,
            parent: parent.index,
            kind: self.kind.upper(endpoint.mac),
            mtu: self.mtu,
            // Descriptors are never negative.
            netns: Some(netns.as_raw_fd().unsigned_abs()),
        };
        let mut batch = Batch::new();
        rtnl::make_upper(&mut batch, &upper);
        if let Some(refusal) = route
            .exchange(batch)?
            .into_iter()
            .find_map(|answer| answer.refusal)
        {
            return Err(self.explain(refusal, &endpoint.link));
        }
        failpoint::pass("lan.made");
        let around = Surroundings {
            subnet: self.subnet,
            gateway: self.way_out(),
            prefix6: self.ipv6.map(|side| side.subnet.prefix_len()),
            gateway6: self.way_out6(),
            carrier: parent.running,
        };
        let result =
            inner::set_up(netns, endpoint, &around).and_then(|()| Ok(failpoint::reach("lan.attached")?));
        if result.is_err() {
            // The first error is the one to tell; the link goes with the namespace in any case.
            match inner::remove(netns, endpoint, self.kind.name()) {
                Ok(()) | Err(_) => {}
            }
        }
        result
    }

    /// Takes an endpoint's link out of a namespace that goes on without it.
    pub fn detach_from(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        inner::remove(netns, endpoint, self.kind.name())
    }

    /// Removes the parent if it is ours.
    pub fn remove(&self) -> Result<(), NetworkError> {
        if !self.made {
            return Ok(());
        }
        let mut route = Socket::open(Family::Route)?;
        match rtnl::link(&mut route, &self.parent)? {
            // Nothing that we would not have made.
            Some(link)
                if link
                    .kind
                    .as_deref()
                    .is_some_and(|kind| kind == VLAN || LONE.contains(&kind)) =>
            {
                remove_link(&mut route, &self.parent)
            }
            _ => Ok(()),
        }
    }

    /// Returns what an endpoint's default route leads to: see [`crate::Segment::way_out`].
    pub(crate) fn way_out(&self) -> Option<Ipv4Addr> {
        if self.is_routed() {
            return self.gateway.map(|_| Ipv4Addr::UNSPECIFIED);
        }
        self.gateway
    }

    /// The same for IPv6.
    pub(crate) fn way_out6(&self) -> Option<Ipv6Addr> {
        let gateway = self.ipv6.filter(|_| self.gateway.is_some())?.gateway;
        if self.is_routed() {
            return Some(Ipv6Addr::UNSPECIFIED);
        }
        Some(gateway)
    }

    /// In layer 3 the kernel looks for everything behind the parent by itself.
    fn is_routed(&self) -> bool {
        matches!(self.kind, LanKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    fn check_addresses(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let outside = |address: IpAddr, subnet: IpNet| {
            (!subnet.contains(&address)).then_some(NetworkError::OutsideSubnet { address, subnet })
        };
        let wrong = outside(endpoint.address.into(), self.subnet.into());
        let wrong6 = match (endpoint.address6, self.ipv6) {
            (Some(address), Some(side)) => outside(address.into(), side.subnet.into()),
            (Some(address), None) => Some(NetworkError::NoIpv6Subnet { address }),
            (None, _) => None,
        };
        wrong.or(wrong6).map_or(Ok(()), Err)
    }

    /// Says what the kernel would only call invalid, or would take and not do.
    fn check_parent(&self, link: &Link) -> Result<(), NetworkError> {
        let refuse = |reason| {
            Err(NetworkError::Parent {
                kind: self.kind.name(),
                name: link.name.clone(),
                reason,
            })
        };
        if link.loopback {
            return refuse("it leads to this host alone");
        }
        if link.master.is_some() {
            return refuse("it is part of a bridge or bond; take that instead");
        }
        let wireless = Path::new("/sys/class/net").join(&link.name).join("phy80211");
        if matches!(self.kind, LanKind::Macvlan(_)) && wireless.exists() {
            return refuse("an access point passes one hardware address per station; ipvlan works there");
        }
        Ok(())
    }

    /// Returns the parent, made if it is missing.
    fn parent(&self, route: &mut Socket) -> Result<Link, NetworkError> {
        check_link_name(&self.parent)?;
        if let Some(link) = rtnl::link(route, &self.parent)? {
            return Ok(link);
        }
        if let Some((below, tag)) = vlan(&self.parent)? {
            let below = rtnl::link(route, below)?.ok_or_else(|| no_parent(below))?;
            self.make_vlan(route, &below, tag)?;
        } else if self.made {
            self.make_lone(route)?;
        }
        failpoint::reach("lan.parent-made")?;
        let link = rtnl::link(route, &self.parent)?.ok_or_else(|| no_parent(&self.parent))?;
        let mut batch = Batch::new();
        rtnl::raise(&mut batch, link.index);
        rtnl::accept(route.exchange(batch)?, "bring up link", &self.parent, &[])?;
        Ok(link)
    }

    fn make_vlan(&self, route: &mut Socket, below: &Link, tag: u16) -> Result<(), NetworkError> {
        let kind = UpperKind::Vlan(tag);
        let mut batch = Batch::new();
        rtnl::make_upper(
            &mut batch,
            &Upper {
                name: &self.parent,
                parent: below.index,
                kind,
                mtu: None,
                netns: None,
            },
        );
        match route
            .exchange(batch)?
            .into_iter()
            .find_map(|answer| answer.refusal)
        {
            Some(refusal) if refusal.errno == Errno::OPNOTSUPP => Err(NetworkError::NoSuchKind {
                kind: VLAN,
                module: "8021q",
            }),
            // Another process may have been faster.
            Some(refusal) if refusal.errno != Errno::EXIST => {
                Err(NetworkError::refused("make VLAN", &self.parent)(refusal))
            }
            _ => Ok(()),
        }
    }

    /// Makes a link that leads nowhere. The kernel may lack the usual kind; the other swallows what it is given too.
    fn make_lone(&self, route: &mut Socket) -> Result<(), NetworkError> {
        for kind in LONE {
            let mut batch = Batch::new();
            rtnl::make_lone(&mut batch, &self.parent, kind);
            match route
                .exchange(batch)?
                .into_iter()
                .find_map(|answer| answer.refusal)
            {
                Some(refusal) if refusal.errno == Errno::OPNOTSUPP => {}
                Some(refusal) if refusal.errno != Errno::EXIST => {
                    return Err(NetworkError::refused("make link", &self.parent)(refusal));
                }
                // Nobody talks to the host by it.
                _ => return host::refuse_ipv6(&self.parent),
            }
        }
        Err(NetworkError::NoSuchKind {
            kind: LONE[0],
            module: LONE[0],
        })
    }

    /// Says why the kernel made no link.
    fn explain(&self, refusal: Refusal, link: &str) -> NetworkError {
        let kind = self.kind.name();
        let parent = |reason| NetworkError::Parent {
            kind,
            name: self.parent.clone(),
            reason,
        };
        match (refusal.errno, self.kind) {
            (Errno::OPNOTSUPP, _) => NetworkError::NoSuchKind { kind, module: kind },
            (Errno::BUSY, LanKind::Macvlan(_)) => {
                parent("it is in use otherwise: a link carries macvlan or ipvlan links, not both")
            }
            (Errno::BUSY, LanKind::Ipvlan(..)) => parent(
                "it is in use otherwise: a link carries macvlan or ipvlan links, not both, and ipvlan in one mode",
            ),
            (Errno::INVAL, LanKind::Macvlan(_)) => {
                parent("in passthru mode one container has it to itself, and it has one")
            }
            _ => NetworkError::refused("make link", link)(refusal),
        }
    }
}

const VLAN: &str = "vlan";
/// Kinds of links that lead nowhere, the better one first.
const LONE: [&str; 2] = ["dummy", "ifb"];

fn no_parent(name: &str) -> NetworkError {
    NetworkError::NoParent {
        name: name.to_owned(),
    }
}

/// Takes the name of a VLAN apart: the link below and the tag.
fn vlan(name: &str) -> Result<Option<(&str, u16)>, NetworkError> {
    let Some((below, tag)) = name.rsplit_once('.') else {
        return Ok(None);
    };
    if below.is_empty() || tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match tag.parse() {
        Ok(tag) if (1..=4094).contains(&tag) => Ok(Some((below, tag))),
        _ => Err(NetworkError::VlanTag {
            name: name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_a_link_a_dot_and_a_tag() {
        for (name, expected) in [
            ("eth0", None),
            ("eth0.10", Some(("eth0", 10))),
            ("eth0.1.4094", Some(("eth0.1", 4094))),
            ("br.lan", None),
            (".10", None),
            ("eth0.", None),
        ] {
            assert_eq!(vlan(name).unwrap(), expected, "{name}");
        }
        for name in ["eth0.0", "eth0.4095", "eth0.99999"] {
            assert!(vlan(name).is_err(), "{name}");
        }
    }

    #[test]
    fn layer_three_asks_no_router() {
        let lan = |kind, gateway| Lan {
            parent: "eth0".to_owned(),
            made: false,
            kind,
            subnet: "10.1.0.0/24".parse().unwrap(),
            gateway,
            ipv6: Some(Side6 {
                subnet: "fd00::/64".parse().unwrap(),
                gateway: "fd00::1".parse().unwrap(),
            }),
            mtu: None,
        };
        let gateway = Some(Ipv4Addr::new(10, 1, 0, 1));
        let macvlan = LanKind::Macvlan(MacvlanMode::Bridge);
        let routed = LanKind::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Bridge);
        for (kind, gateway, out, out6) in [
            (macvlan, gateway, Some("10.1.0.1"), Some("fd00::1")),
            (macvlan, None, None, None),
            (routed, gateway, Some("0.0.0.0"), Some("::")),
            (routed, None, None, None),
        ] {
            let lan = lan(kind, gateway);
            assert_eq!(lan.way_out().map(|address| address.to_string()).as_deref(), out);
            assert_eq!(lan.way_out6().map(|address| address.to_string()).as_deref(), out6);
        }
    }
}
