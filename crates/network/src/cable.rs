//! A cable from a bridge into a network namespace: a pair of links.

use crate::inner::{self, Surroundings};
use crate::links::remove_link;
use crate::rtnetlink::{self as rtnl, Cable, Link, Version};
use crate::{Bridge, Endpoint, NetworkError, host};
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use sys::netlink::{Answer, Batch, Family, Socket};

impl Bridge {
    /// Makes a cable, of which nothing is plugged in yet.
    pub(crate) fn make_cable(
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
    pub(crate) fn plug(
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

        let leads_out = !self.traffic.internal;
        let around = Surroundings {
            subnet: self.subnet,
            gateway: leads_out.then_some(self.gateway),
            prefix6: self.ipv6.map(|side| side.subnet.prefix_len()),
            gateway6: self.ipv6.filter(|_| leads_out).map(|side| side.gateway),
            carrier: true,
        };
        inner::set_up(netns, endpoint, &around)?;
        // In this order: the carrier of the host's end is what gives the bridge its own.
        rtnl::wait_until_running(route, &endpoint.host_link)?;
        if bridge.running {
            return Ok(());
        }
        rtnl::wait_until_running(route, &self.name)?;
        match self.own_address(Version::Six).map(|address| address.addr()) {
            Some(IpAddr::V6(address)) => rtnl::wait_until_found(route, bridge.index, address),
            _ => Ok(()),
        }
    }
}
