//! A bridge and the cables on it: what is done to the kernel, in which order, and how it is undone.

use crate::links::{check_link_name, remove_link};
use crate::passage::{self, Obstacle};
use crate::rtnetlink::{self as rtnl, Link, Version};
use crate::{Endpoint, NetworkError, Published, Side6, firewall, host};
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use sys::failpoint;
use sys::netlink::{Batch, Family, Socket};

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
    /// IPv6, if it has that too.
    #[serde(default)]
    pub ipv6: Option<Side6>,
    /// Of every link on it.
    pub mtu: u32,
    /// The `nf_tables` table (family `inet`) of this root. Bridges of one root share it.
    pub table: String,
    /// What passes it.
    #[serde(default)]
    pub traffic: Traffic,
}

/// What passes a bridge. `Default` is what Docker's default bridge lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// Nothing passes between it and the outside, in either direction, but the host itself reaches its endpoints.
    pub internal: bool,
    /// Endpoints reach each other.
    pub between_endpoints: bool,
    /// What goes out has the host's address as its source.
    pub masquerade: bool,
    /// How endpoints are reached by IPv4.
    #[serde(default)]
    pub gateway_mode: GatewayMode,
    /// How endpoints are reached by IPv6.
    #[serde(default)]
    pub gateway_mode6: GatewayMode,
}

/// How the endpoints of a bridge and the world outside reach each other (Docker's `gateway_mode_ipv4` and
/// `gateway_mode_ipv6`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// By the host's addresses: published ports are translated, what goes out is masqueraded.
    #[default]
    Nat,
    /// Likewise, and who has a route to an endpoint reaches all of its ports.
    NatUnprotected,
    /// By their own addresses, of which others know the way: nothing is translated, and a published port is only opened.
    Routed,
    /// Not at all, and the host has no address on the bridge either. For internal networks.
    Isolated,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            internal: false,
            between_endpoints: true,
            masquerade: true,
            gateway_mode: GatewayMode::Nat,
            gateway_mode6: GatewayMode::Nat,
        }
    }
}

/// What [`Bridge::ensure`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// The rules were as they must be.
    Unchanged,
    /// The rules had to be written: the bridge is new, or somebody emptied the host's firewall. Ports that were
    /// published may be gone: [`Bridge::publish`] those of the running containers.
    Rebuilt,
}

impl Bridge {
    /// Makes the bridge, its table and rules and the host's settings (forwarding) where they are missing or not as
    /// they must be. Costs a few netlink messages when all is there. Several processes may do it at once.
    ///
    /// `net.ipv4.ip_forward`, and with IPv6 `net.ipv6.conf.all.forwarding`, are switched on for the whole host if they
    /// are off, as Docker does; they stay on. Links that listen to router advertisements go on listening.
    pub fn ensure(&self) -> Result<Ensured, NetworkError> {
        self.check()?;
        let mut route = Socket::open(Family::Route)?;
        let link = if let Some(link) = self.find_up(&mut route)? {
            link
        } else {
            let link = self.make(&mut route)?;
            failpoint::reach("bridge.up")?;
            link
        };
        if self.own_address(Version::Six).is_some() {
            let mut batch = Batch::new();
            rtnl::add_way_to_loopback6(&mut batch, link.index);
            rtnl::accept(
                route.exchange(batch)?,
                "make route on",
                &self.name,
                &[Errno::EXIST],
            )?;
        }
        let mut netfilter = Socket::open(Family::Netfilter)?;
        let found = firewall::ensure(&mut netfilter, self)?;
        failpoint::reach("bridge.firewall")?;
        if found.docker_user {
            passage::open(&mut netfilter, self)?;
        }
        Ok(if found.rebuilt {
            Ensured::Rebuilt
        } else {
            Ensured::Unchanged
        })
    }

    /// Gives the namespace `netns` its end of a cable to this bridge: link, address, default route; and publishes the
    /// endpoint's ports, which the caller has reserved. On failure nothing is left. The caller's thread may be in
    /// another namespace for a moment.
    ///
    /// A host link of the endpoint's name is a dead container's whose namespace the kernel has not cleared away yet;
    /// it is replaced.
    pub fn attach(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.check()?;
        check_link_name(&endpoint.host_link)?;
        check_link_name(&endpoint.link)?;
        self.check_address(endpoint.address.into())?;
        if let Some(address) = endpoint.address6 {
            self.check_address(address.into())?;
        }
        endpoint.check_ports()?;
        let mut route = Socket::open(Family::Route)?;
        let bridge = self.find(&mut route)?.ok_or_else(|| NetworkError::NoBridge {
            name: self.name.clone(),
        })?;
        self.make_cable(&mut route, netns, endpoint)?;
        failpoint::pass("cable.made");
        let result = self
            .plug(&mut route, netns, endpoint, &bridge)
            .and_then(|()| Ok(failpoint::reach("cable.plugged")?))
            .and_then(|()| self.publish(std::slice::from_ref(endpoint)));
        failpoint::pass("cable.published");
        if result.is_err() {
            // The first error is the one to tell; the link's end goes with the namespace in any case.
            match remove_link(&mut route, &endpoint.host_link) {
                Ok(()) | Err(_) => {}
            }
        }
        result
    }

    /// Takes an endpoint's ports and host link away, whichever of them is still there.
    ///
    /// Removing a link makes the kernel wait for all processors, some milliseconds. Where the namespace is about to
    /// end anyway, and the link with it, [`Bridge::unpublish`] is enough.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let ports = self.unpublish(&endpoint.published());
        failpoint::pass("bridge.unpublished");
        let link = Socket::open(Family::Route)
            .map_err(NetworkError::from)
            .and_then(|mut route| remove_link(&mut route, &endpoint.host_link));
        ports.and(link)
    }

    /// Publishes the ports of endpoints, all or none. A port that leads elsewhere is led here: its owner is dead,
    /// since the caller has reserved it.
    pub fn publish(&self, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
        for endpoint in endpoints {
            endpoint.check_ports()?;
        }
        let ports: Vec<_> = endpoints.iter().flat_map(Endpoint::published).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let mut netfilter = Socket::open(Family::Netfilter)?;
        match firewall::publish(&mut netfilter, self, &ports) {
            // Somebody emptied the host's firewall since it was last looked at.
            Err(NetworkError::Refused {
                errno: Errno::NOENT, ..
            }) => {
                firewall::ensure(&mut netfilter, self)?;
                firewall::publish(&mut netfilter, self, &ports)
            }
            result => result,
        }
    }

    /// Takes published ports back, those that still lead where they are said to.
    pub fn unpublish(&self, ports: &[Published]) -> Result<(), NetworkError> {
        if ports.is_empty() {
            return Ok(());
        }
        firewall::unpublish(&mut Socket::open(Family::Netfilter)?, self, ports)
    }

    /// Lists the host links on the bridge, so that those of dead containers can be found.
    pub fn links(&self) -> Result<Vec<String>, NetworkError> {
        let mut route = Socket::open(Family::Route)?;
        let Some(bridge) = self.find(&mut route)? else {
            return Ok(Vec::new());
        };
        Ok(rtnl::links_of(&mut route, &bridge)?
            .into_iter()
            .map(|link| link.name)
            .collect())
    }

    /// Removes one host link, if it is there.
    pub fn remove_link(&self, host_link: &str) -> Result<(), NetworkError> {
        remove_link(&mut Socket::open(Family::Route)?, host_link)
    }

    /// Lists the published ports that lead into this bridge's subnets, so that those of dead containers can be found.
    pub fn published(&self) -> Result<Vec<Published>, NetworkError> {
        let mut all = firewall::published(&mut Socket::open(Family::Netfilter)?, &self.table)?;
        all.retain(|published| self.holds(published.address));
        Ok(all)
    }

    /// Lists chains of the host's firewall that keep this bridge's packets from passing.
    pub fn obstacles(&self) -> Result<Vec<Obstacle>, NetworkError> {
        passage::obstacles(&mut Socket::open(Family::Netfilter)?, self)
    }

    /// Removes the bridge, its rules and its published ports; with the last bridge of this root the table.
    pub fn remove(&self) -> Result<(), NetworkError> {
        let firewall = Socket::open(Family::Netfilter)
            .map_err(NetworkError::from)
            .and_then(|mut netfilter| {
                let table = firewall::remove(&mut netfilter, self);
                passage::close(&mut netfilter, self).and(table)
            });
        failpoint::pass("bridge.firewall-gone");
        let mut route = Socket::open(Family::Route)?;
        if self.find(&mut route)?.is_some() {
            remove_link(&mut route, &self.name)?;
        }
        firewall
    }

    /// Says whether an address is one of the bridge's.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.subnet.contains(&address),
            IpAddr::V6(address) => self.ipv6.is_some_and(|side| side.subnet.contains(&address)),
        }
    }

    fn check(&self) -> Result<(), NetworkError> {
        check_link_name(&self.name)?;
        self.check_address(self.gateway.into())?;
        match self.ipv6 {
            Some(side) => self.check_address(side.gateway.into()),
            None => Ok(()),
        }
    }

    fn check_address(&self, address: IpAddr) -> Result<(), NetworkError> {
        let subnet = match (address, self.ipv6) {
            (IpAddr::V4(_), _) => IpNet::V4(self.subnet),
            (IpAddr::V6(_), Some(side)) => IpNet::V6(side.subnet),
            (IpAddr::V6(address), None) => return Err(NetworkError::NoIpv6Subnet { address }),
        };
        if self.holds(address) {
            Ok(())
        } else {
            Err(NetworkError::OutsideSubnet { address, subnet })
        }
    }

    /// Returns the host's own address on the bridge, if it is to have one.
    pub(crate) fn own_address(&self, version: Version) -> Option<IpNet> {
        let (address, prefix, mode) = match version {
            Version::Four => (
                IpAddr::V4(self.gateway),
                self.subnet.prefix_len(),
                self.traffic.gateway_mode,
            ),
            Version::Six => {
                let side = self.ipv6?;
                let mode = self.traffic.gateway_mode6;
                (IpAddr::V6(side.gateway), side.subnet.prefix_len(), mode)
            }
        };
        if mode == GatewayMode::Isolated {
            return None;
        }
        IpNet::new(address, prefix).ok()
    }

    fn find(&self, route: &mut Socket) -> Result<Option<Link>, NetworkError> {
        let link = rtnl::link(route, &self.name)?;
        if link
            .as_ref()
            .is_some_and(|link| link.kind.as_deref() != Some("bridge"))
        {
            return Err(NetworkError::NotABridge {
                name: self.name.clone(),
            });
        }
        Ok(link)
    }

    /// Returns the bridge's link if all is as [`Bridge::make`] leaves it. Switching `net.ipv4.ip_forward` and its like
    /// switches every link's `forwarding`, so that the bridge's tells.
    fn find_up(&self, route: &mut Socket) -> Result<Option<Link>, NetworkError> {
        let Some(link) = self.find(route)? else {
            return Ok(None);
        };
        let six = self.own_address(Version::Six);
        let settings = match (link.ipv6, six) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(settings), None) => settings.disabled && !settings.advertised,
            (Some(settings), Some(_)) => !settings.disabled && !settings.advertised && settings.forwarding,
        };
        if !(link.up && link.mtu == self.mtu && link.forwarding && link.route_localnet && settings) {
            return Ok(None);
        }
        if addresses(route, Version::Four, &link)? != self.own_address(Version::Four).as_slice() {
            return Ok(None);
        }
        // Without IPv6 there are no such addresses to look for.
        let whole = six.is_none() || addresses(route, Version::Six, &link)? == six.as_slice();
        Ok(whole.then_some(link))
    }

    fn make(&self, route: &mut Socket) -> Result<Link, NetworkError> {
        let mut batch = Batch::new();
        rtnl::make_bridge(&mut batch, &self.name, self.mac());
        rtnl::accept(route.exchange(batch)?, "make bridge", &self.name, &[Errno::EXIST])?;
        failpoint::reach("bridge.made")?;
        if self.own_address(Version::Six).is_some() {
            host::allow_ipv6(&self.name)?;
            host::forward6()?;
        } else {
            host::refuse_ipv6(&self.name)?;
        }
        host::forward()?;
        let link = self.find(route)?.ok_or_else(|| NetworkError::LinkVanished {
            name: self.name.clone(),
        })?;
        let mut batch = Batch::new();
        for version in [Version::Four, Version::Six] {
            let wanted = self.own_address(version);
            for address in addresses(route, version, &link)? {
                if Some(address) != wanted {
                    rtnl::remove_address(&mut batch, link.index, address);
                }
            }
            if let Some(address) = wanted {
                rtnl::add_address(&mut batch, link.index, address);
            }
        }
        rtnl::raise_bridge(&mut batch, link.index, self.mtu);
        // Another process may have given or taken the same address meanwhile.
        let allowed = [Errno::EXIST, Errno::ADDRNOTAVAIL];
        rtnl::accept(route.exchange(batch)?, "bring up bridge", &self.name, &allowed)?;
        Ok(link)
    }

    /// Locally administered, and the same whichever process makes the bridge.
    fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.gateway.octets();
        [0x02, 0xc0, a, b, c, d]
    }
}

/// Lists a bridge's addresses, without those that the kernel gives a link of itself.
fn addresses(route: &mut Socket, version: Version, link: &Link) -> Result<Vec<IpNet>, NetworkError> {
    let mut all = rtnl::addresses(route, version, link.index)?;
    all.retain(|address| match address {
        IpNet::V4(_) => true,
        IpNet::V6(address) => !address.addr().is_unicast_link_local(),
    });
    Ok(all)
}
