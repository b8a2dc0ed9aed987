//! A bridge and the cables on it: what is done to the kernel, in which order, and how it is undone.

use crate::nftables as nft;
use crate::passage::{self, Obstacle};
use crate::rtnetlink::{self as rtnl, Cable, Link};
use crate::{Endpoint, NetworkError, Published, Side6, firewall, host};
use ipnet::Ipv4Net;
use rustix::io::Errno;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use sys::failpoint;
use sys::netlink::{Answer, Batch, Family, Socket, inside};

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
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            internal: false,
            between_endpoints: true,
            masquerade: true,
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
    /// `net.ipv4.ip_forward` is switched on for the whole host if it is off, as Docker does; it stays on.
    pub fn ensure(&self) -> Result<Ensured, NetworkError> {
        self.check()?;
        let mut route = Socket::open(Family::Route)?;
        if !self.is_up(&mut route)? {
            self.make(&mut route)?;
            failpoint::reach("bridge.up")?;
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
        self.check_address(endpoint.address)?;
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
        let ports: Vec<_> = endpoints.iter().flat_map(Endpoint::published).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let mut netfilter = Socket::open(Family::Netfilter)?;
        match firewall::publish(&mut netfilter, &self.table, &ports) {
            // Somebody emptied the host's firewall since it was last looked at.
            Err(NetworkError::Refused {
                errno: Errno::NOENT, ..
            }) => {
                firewall::ensure(&mut netfilter, self)?;
                firewall::publish(&mut netfilter, &self.table, &ports)
            }
            result => result,
        }
    }

    /// Takes published ports back, those that still lead where they are said to.
    pub fn unpublish(&self, ports: &[Published]) -> Result<(), NetworkError> {
        if ports.is_empty() {
            return Ok(());
        }
        firewall::unpublish(&mut Socket::open(Family::Netfilter)?, &self.table, ports)
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

    /// Lists the published ports that lead into this bridge's subnet, so that those of dead containers can be found.
    pub fn published(&self) -> Result<Vec<Published>, NetworkError> {
        let mut all = firewall::published(&mut Socket::open(Family::Netfilter)?, &self.table)?;
        all.retain(|published| self.subnet.contains(&published.address));
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

    fn check(&self) -> Result<(), NetworkError> {
        check_link_name(&self.name)?;
        self.check_address(self.gateway)
    }

    fn check_address(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        if self.subnet.contains(&address) {
            Ok(())
        } else {
            Err(NetworkError::OutsideSubnet {
                address,
                subnet: self.subnet,
            })
        }
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

    /// Says whether all is as [`Bridge::make`] leaves it. Switching `net.ipv4.ip_forward` switches every link's
    /// `forwarding`, so that the bridge's tells.
    fn is_up(&self, route: &mut Socket) -> Result<bool, NetworkError> {
        let Some(link) = self.find(route)? else {
            return Ok(false);
        };
        Ok(link.up
            && link.mtu == self.mtu
            && link.forwarding
            && link.route_localnet
            && link.without_ipv6
            && rtnl::addresses(route, link.index)? == [(self.gateway, self.subnet.prefix_len())])
    }

    fn make(&self, route: &mut Socket) -> Result<(), NetworkError> {
        let mut batch = Batch::new();
        rtnl::make_bridge(&mut batch, &self.name, self.mac());
        rtnl::accept(route.exchange(batch)?, "make bridge", &self.name, &[Errno::EXIST])?;
        failpoint::reach("bridge.made")?;
        host::refuse_ipv6(&self.name)?;
        host::forward()?;
        let link = self.find(route)?.ok_or_else(|| NetworkError::LinkVanished {
            name: self.name.clone(),
        })?;
        let wanted = (self.gateway, self.subnet.prefix_len());
        let mut batch = Batch::new();
        for (address, prefix) in rtnl::addresses(route, link.index)? {
            if (address, prefix) != wanted {
                rtnl::remove_address(&mut batch, link.index, address, prefix);
            }
        }
        rtnl::add_address(&mut batch, link.index, self.gateway, self.subnet);
        rtnl::raise_bridge(&mut batch, link.index, self.mtu);
        // Another process may have given or taken the same address meanwhile.
        let allowed = [Errno::EXIST, Errno::ADDRNOTAVAIL];
        rtnl::accept(route.exchange(batch)?, "bring up bridge", &self.name, &allowed)
    }

    /// Locally administered, and the same whichever process makes the bridge.
    fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.gateway.octets();
        [0x02, 0xc0, a, b, c, d]
    }

    fn make_cable(
        &self,
        route: &mut Socket,
        netns: BorrowedFd<'_>,
        endpoint: &Endpoint,
    ) -> Result<(), NetworkError> {
        let cable = Cable {
            host_link: &endpoint.host_link,
            link: &endpoint.link,
            mac: endpoint.mac,
            mtu: self.mtu,
            // Descriptors are never negative.
            netns: netns.as_raw_fd().unsigned_abs(),
        };
        let mut make = || -> Result<Vec<Answer>, NetworkError> {
            let mut batch = Batch::new();
            rtnl::make_cable(&mut batch, &cable);
            Ok(route.exchange(batch)?)
        };
        let mut answers = make()?;
        let exists = |answer: &Answer| {
            answer
                .refusal
                .as_ref()
                .is_some_and(|refusal| refusal.errno == Errno::EXIST)
        };
        if answers.iter().any(exists) {
            remove_link(&mut Socket::open(Family::Route)?, &endpoint.host_link)?;
            answers = make()?;
        }
        rtnl::accept(answers, "make link", &endpoint.host_link, &[])
    }

    /// Connects both ends of a new cable.
    fn plug(
        &self,
        route: &mut Socket,
        netns: BorrowedFd<'_>,
        endpoint: &Endpoint,
        bridge: &Link,
    ) -> Result<(), NetworkError> {
        let mut batch = Batch::new();
        rtnl::plug(&mut batch, &endpoint.host_link, bridge.index, host::has_ipv6());
        rtnl::set_port(&mut batch, &endpoint.host_link, !self.traffic.between_endpoints);
        rtnl::accept(route.exchange(batch)?, "plug link", &endpoint.host_link, &[])?;

        let mut there = inside(netns, || -> Result<Socket, NetworkError> {
            host::refuse_ipv6(&endpoint.link)?;
            Ok(Socket::open(Family::Route)?)
        })??;
        let link = rtnl::link(&mut there, &endpoint.link)?.ok_or_else(|| NetworkError::LinkVanished {
            name: endpoint.link.clone(),
        })?;
        let mut batch = Batch::new();
        rtnl::raise_loopback(&mut batch);
        rtnl::add_address(&mut batch, link.index, endpoint.address, self.subnet);
        rtnl::raise(&mut batch, link.index);
        if endpoint.default_route && !self.traffic.internal {
            rtnl::set_default_route(&mut batch, link.index, self.gateway);
        }
        rtnl::accept(there.exchange(batch)?, "set up link", &endpoint.link, &[])?;
        // In this order: the carrier of the host's end is what gives the bridge its own.
        rtnl::wait_until_running(&mut there, &endpoint.link)?;
        rtnl::wait_until_running(route, &endpoint.host_link)?;
        if bridge.running {
            return Ok(());
        }
        rtnl::wait_until_running(route, &self.name)
    }
}

/// Sends what a namespace has no other route for through `gateway` by its link `link`; without a gateway, nowhere.
pub fn set_default_route(netns: BorrowedFd<'_>, route: Option<(&str, Ipv4Addr)>) -> Result<(), NetworkError> {
    let mut socket = inside(netns, || Socket::open(Family::Route))??;
    let mut batch = Batch::new();
    let Some((name, gateway)) = route else {
        rtnl::remove_default_route(&mut batch);
        return rtnl::accept(socket.exchange(batch)?, "remove route", "default", &[Errno::SRCH]);
    };
    let link = rtnl::link(&mut socket, name)?.ok_or_else(|| NetworkError::LinkVanished {
        name: name.to_owned(),
    })?;
    rtnl::set_default_route(&mut batch, link.index, gateway);
    rtnl::accept(socket.exchange(batch)?, "make route", "default", &[])
}

/// Brings `lo` up in a namespace.
pub fn raise_loopback(netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
    let mut socket = inside(netns, || Socket::open(Family::Route))??;
    let mut batch = Batch::new();
    rtnl::raise_loopback(&mut batch);
    rtnl::accept(socket.exchange(batch)?, "bring up link", "lo", &[])
}

fn remove_link(route: &mut Socket, name: &str) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    rtnl::remove_link(&mut batch, name);
    rtnl::accept(route.exchange(batch)?, "remove link", name, &[Errno::NODEV])
}

/// What the kernel takes (`dev_valid_name`), and what makes one component of a path in `/proc/sys`.
fn check_link_name(name: &str) -> Result<(), NetworkError> {
    let bad =
        |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace() || byte == 0x0b;
    if name.is_empty() || name.len() > nft::LINK_NAME || name == "." || name == ".." || name.bytes().any(bad)
    {
        return Err(NetworkError::LinkName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_are_the_kernels() {
        for good in ["b", "coracle0", "123456789012345", "a.b", "-x"] {
            assert!(check_link_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1234567890123456",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a\nb",
            "a\0",
        ] {
            assert!(check_link_name(bad).is_err(), "{bad:?}");
        }
    }
}
