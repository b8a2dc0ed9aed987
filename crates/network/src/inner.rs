//! What is done inside a container's network namespace: its links are given addresses and routes, and taken away.

use crate::rtnetlink::{self as rtnl, Version};
use crate::{Endpoint, NetworkError, host, links};
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use sys::netlink::{Batch, Family, Socket, inside};

/// What an endpoint's network says about it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) subnet: Ipv4Net,
    /// Where what has no other route goes; unspecified: by the link itself.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) prefix6: Option<u8>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// It is worth waiting until the link has its carrier.
    pub(crate) carrier: bool,
}

/// Makes a link that an endpoint just got ready for use.
pub(crate) fn set_up(
    netns: BorrowedFd<'_>,
    endpoint: &Endpoint,
    around: &Surroundings,
) -> Result<(), NetworkError> {
    let address6 = endpoint.address6.zip(around.prefix6);
    let mut there = inside(netns, || -> Result<Socket, NetworkError> {
        if address6.is_some() {
            host::allow_ipv6(&endpoint.link)?;
        } else {
            host::refuse_ipv6(&endpoint.link)?;
        }
        Ok(Socket::open(Family::Route)?)
    })??;
    let link = rtnl::link(&mut there, &endpoint.link)?.ok_or_else(|| NetworkError::LinkVanished {
        name: endpoint.link.clone(),
    })?;
    let mut batch = Batch::new();
    rtnl::raise_loopback(&mut batch);
    // The prefix lengths are those of subnets.
    if let Ok(address) = IpNet::new(endpoint.address.into(), around.subnet.prefix_len()) {
        rtnl::add_address(&mut batch, link.index, address);
    }
    rtnl::raise(&mut batch, link.index);
    if let Some((address, prefix)) = address6
        && let Ok(address) = IpNet::new(address.into(), prefix)
    {
        rtnl::add_address(&mut batch, link.index, address);
    }
    if endpoint.default_route {
        if let Some(gateway) = around.gateway {
            rtnl::set_default_route(&mut batch, link.index, gateway.into());
        }
        if let Some(gateway) = around.gateway6.filter(|_| address6.is_some()) {
            rtnl::set_default_route(&mut batch, link.index, gateway.into());
        }
    }
    rtnl::accept(there.exchange(batch)?, "set up link", &endpoint.link, &[])?;
    if around.carrier {
        rtnl::wait_until_running(&mut there, &endpoint.link)?;
        if let Some((address, _)) = address6 {
            rtnl::wait_until_found(&mut there, link.index, address)?;
        }
    }
    Ok(())
}

/// Removes an endpoint's link, if the one of that name is of the kind that it was given: whoever is inside may have
/// made links of his own.
pub(crate) fn remove(netns: BorrowedFd<'_>, endpoint: &Endpoint, kind: &str) -> Result<(), NetworkError> {
    let mut there = inside(netns, || Socket::open(Family::Route))??;
    match rtnl::link(&mut there, &endpoint.link)? {
        Some(link) if link.kind.as_deref() == Some(kind) => links::remove_link(&mut there, &endpoint.link),
        _ => Ok(()),
    }
}

/// Sends what a namespace has no other IPv4 route for through `gateway` by its link `link`; without a gateway, nowhere.
/// An unspecified gateway (0.0.0.0) means whoever answers on the link itself: see [`crate::Segment::way_out`].
pub fn set_default_route(netns: BorrowedFd<'_>, route: Option<(&str, Ipv4Addr)>) -> Result<(), NetworkError> {
    let route = route.map(|(link, gateway)| (link, gateway.into()));
    set_route(netns, Version::Four, route)
}

/// The same for IPv6.
pub fn set_default_route6(
    netns: BorrowedFd<'_>,
    route: Option<(&str, Ipv6Addr)>,
) -> Result<(), NetworkError> {
    let route = route.map(|(link, gateway)| (link, gateway.into()));
    set_route(netns, Version::Six, route)
}

fn set_route(
    netns: BorrowedFd<'_>,
    version: Version,
    route: Option<(&str, IpAddr)>,
) -> Result<(), NetworkError> {
    let mut socket = inside(netns, || Socket::open(Family::Route))??;
    let mut batch = Batch::new();
    let Some((name, gateway)) = route else {
        rtnl::remove_default_route(&mut batch, version);
        // `ENETUNREACH`: the namespace has no IPv6 at all.
        let none = [Errno::SRCH, Errno::NETUNREACH, Errno::AFNOSUPPORT];
        return rtnl::accept(socket.exchange(batch)?, "remove route", "default", &none);
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
