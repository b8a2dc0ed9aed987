//! Addresses and routes, of both versions of IP.

use super::{AF_INET, AF_INET6, PATIENCE, PAUSE};
use crate::NetworkError;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;
use sys::netlink::{ACK, APPEND, Batch, CREATE, EXCLUSIVE, REPLACE, Socket, attributes};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_GETMULTICAST: u16 = 58;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_MULTICAST: u16 = 7;
const IFA_F_NODAD: u8 = 0x02;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    pub(crate) main_table: bool,
    pub(crate) metric: u32,
    /// The index of the link that it goes through; of the first of several.
    pub(crate) link: Option<u32>,
}

/// The versions of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Four,
    Six,
}

impl Version {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Four } else { Self::Six }
    }

    fn family(self) -> u8 {
        match self {
            Self::Four => AF_INET,
            Self::Six => AF_INET6,
        }
    }

    fn unspecified(self) -> IpAddr {
        match self {
            Self::Four => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Self::Six => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// Returns an address in network order.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_header(version: Version, prefix: u8, flags: u8, index: u32) -> [u8; ADDRESS_HEADER] {
    let mut header = [version.family(), prefix, flags, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Adds a message that gives a link an address; it fails with `EEXIST` if the link has it. An IPv6 address can be used
/// at once: that nobody else has it is known, and asking would take a second (`IFA_F_NODAD`).
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: IpNet) -> usize {
    let own = octets(address.addr());
    let version = Version::of(address.addr());
    let flags = match version {
        Version::Four => 0,
        Version::Six => IFA_F_NODAD,
    };
    let header = address_header(version, address.prefix_len(), flags, index);
    batch.message(RTM_NEWADDR, ACK | CREATE | EXCLUSIVE, &header, |list| {
        list.bytes(IFA_LOCAL, &own).bytes(IFA_ADDRESS, &own);
        if let IpNet::V4(address) = address {
            list.bytes(IFA_BROADCAST, &address.broadcast().octets());
        }
    })
}

/// Adds a message that takes an address away.
pub(crate) fn remove_address(batch: &mut Batch, index: u32, address: IpNet) -> usize {
    let header = address_header(Version::of(address.addr()), address.prefix_len(), 0, index);
    batch.message(RTM_DELADDR, ACK, &header, |list| {
        list.bytes(IFA_LOCAL, &octets(address.addr()));
    })
}

/// Adds a message that makes the default route, in place of one that is there. With an unspecified gateway everything
/// is looked for on the link itself.
pub(crate) fn set_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) -> usize {
    let scope = if gateway.is_unspecified() && gateway.is_ipv4() {
        RT_SCOPE_LINK
    } else {
        RT_SCOPE_UNIVERSE
    };
    let header = default_route(Version::of(gateway), scope);
    batch.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, &header, |list| {
        if !gateway.is_unspecified() {
            list.bytes(RTA_GATEWAY, &octets(gateway));
        }
        list.number(RTA_OIF, index);
    })
}

/// Adds a message that lets answers to ::1 in by a link; it fails with `EEXIST` if they are let in. The kernel takes
/// packets for a loopback address only by a link that has a route to it (`rt6_need_strict`), and what an endpoint
/// answers to the host's own ::1 is one as soon as its translation is undone. This is to IPv6 what `route_localnet` is
/// to IPv4, without its danger: packets that are addressed to ::1 on the wire are dropped before they are translated.
pub(crate) fn add_way_to_loopback6(batch: &mut Batch, index: u32) -> usize {
    const RT_TABLE_LOCAL: u8 = 255;
    const RTN_LOCAL: u8 = 2;
    // Behind that of `lo`, which the host's own packets go on taking.
    const METRIC: u32 = 4096;
    let mut header = default_route(Version::Six, RT_SCOPE_UNIVERSE);
    header[1] = 128;
    header[4] = RT_TABLE_LOCAL;
    header[7] = RTN_LOCAL;
    // Each bridge has one of the same metric: `NLM_F_EXCL` would refuse the second.
    batch.message(RTM_NEWROUTE, ACK | CREATE | APPEND, &header, |list| {
        list.bytes(RTA_DST, &Ipv6Addr::LOCALHOST.octets())
            .number(RTA_OIF, index)
            .number(RTA_PRIORITY, METRIC);
    })
}

/// Adds a message that takes the default route away; it fails with `ESRCH` if there is none.
pub(crate) fn remove_default_route(batch: &mut Batch, version: Version) -> usize {
    // Of any scope.
    const RT_SCOPE_NOWHERE: u8 = 255;
    let scope = match version {
        Version::Four => RT_SCOPE_NOWHERE,
        Version::Six => RT_SCOPE_UNIVERSE,
    };
    batch.message(RTM_DELROUTE, ACK, &default_route(version, scope), |_| {})
}

/// Returns `struct rtmsg` of the default route.
fn default_route(version: Version, scope: u8) -> [u8; ROUTE_HEADER] {
    [
        version.family(),
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        scope,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

/// Lists the addresses of one link, or with index 0 of all, with their prefix lengths.
pub(crate) fn addresses(
    socket: &mut Socket,
    version: Version,
    index: u32,
) -> Result<Vec<IpNet>, NetworkError> {
    let replies = socket
        .dump(RTM_GETADDR, &address_header(version, 0, 0, index), |_| {})?
        .map_err(NetworkError::refused(
            "list addresses of link",
            &index.to_string(),
        ))?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let header = reply.payload.get(..ADDRESS_HEADER)?;
            let link = u32::from_ne_bytes(header[4..].try_into().ok()?);
            let list = attributes(&reply.payload[ADDRESS_HEADER..]);
            // Without a peer there is only the one in IPv6, and both are the same in IPv4.
            let local = list
                .clone()
                .first(IFA_LOCAL)
                .or_else(|| list.first(IFA_ADDRESS))?;
            let address = IpNet::new(read_address(local.value)?, header[1]).ok()?;
            (header[0] == version.family() && (index == 0 || link == index)).then_some(address)
        })
        .collect())
}

/// Waits until others on a link can find an IPv6 address there. The kernel joins the group on which it is asked for the
/// address in the background, once the link has its carrier; who asks earlier hears nothing, and asks again after a
/// second (RFC 4861, 7.2.2). An address that is not found in the end is no error here.
pub(crate) fn wait_until_found(
    socket: &mut Socket,
    index: u32,
    address: Ipv6Addr,
) -> Result<(), NetworkError> {
    let group = solicited_node(address).octets();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let header = address_header(Version::Six, 0, 0, index);
        let groups = socket
            .dump(RTM_GETMULTICAST, &header, |_| {})?
            .map_err(NetworkError::refused("list groups of link", &index.to_string()))?;
        let joined = groups.iter().any(|reply| {
            let link = reply.payload.get(4..ADDRESS_HEADER);
            let list = attributes(reply.payload.get(ADDRESS_HEADER..).unwrap_or_default());
            link == Some(&index.to_ne_bytes()[..])
                && list
                    .first(IFA_MULTICAST)
                    .is_some_and(|found| found.value == group)
        });
        if joined {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Returns the group on which an address is asked for (RFC 4291, 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Lists the routes of all tables.
pub(crate) fn routes(socket: &mut Socket, version: Version) -> Result<Vec<Route>, NetworkError> {
    let mut header = [0; ROUTE_HEADER];
    header[0] = version.family();
    let replies = socket
        .dump(RTM_GETROUTE, &header, |_| {})?
        .map_err(NetworkError::refused("list", "routes"))?;
    Ok(replies
        .iter()
        .filter_map(|reply| read_route(&reply.payload, version))
        .collect())
}

fn read_route(payload: &[u8], version: Version) -> Option<Route> {
    let header = payload.get(..ROUTE_HEADER)?;
    if header[0] != version.family() {
        return None;
    }
    let mut destination = version.unspecified();
    let (mut metric, mut link) = (0, None);
    for attribute in attributes(&payload[ROUTE_HEADER..]) {
        match attribute.kind {
            RTA_DST => destination = read_address(attribute.value)?,
            RTA_PRIORITY => metric = attribute.number()?,
            RTA_OIF => link = attribute.number(),
            // `struct rtnexthop`: length, flags, hops, and the link's index at offset 4.
            RTA_MULTIPATH => {
                let first = attribute.value.get(4..8)?.try_into().ok()?;
                link = Some(u32::from_ne_bytes(first));
            }
            _ => {}
        }
    }
    Some(Route {
        destination: IpNet::new(destination, header[1]).ok()?,
        main_table: header[4] == RT_TABLE_MAIN,
        metric,
        link,
    })
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_by_its_last_bytes() {
        let group = solicited_node("fd17::1:2:345:6789".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff45:6789");
    }
}
