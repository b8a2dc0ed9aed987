//! Links, addresses and routes as rtnetlink(7) messages: the numbers of `linux/rtnetlink.h` and what is read and
//! written with them here. What they are for is told in `bridge.rs` and `host.rs`.

use crate::NetworkError;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use sys::netlink::{ACK, Answer, Attributes, Batch, CREATE, EXCLUSIVE, REPLACE, Reply, Socket, attributes};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IPV4_DEVCONF_FORWARDING: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const DEVCONF_ACCEPT_RA: usize = 3;
const DEVCONF_DISABLE_IPV6: usize = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;
/// The loopback link has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Bytes of `struct ifinfomsg`, `struct ifaddrmsg`, `struct rtmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

/// What is asked about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// It has a carrier, and the kernel has acted on that.
    pub(crate) running: bool,
    pub(crate) mtu: u32,
    pub(crate) master: Option<u32>,
    pub(crate) kind: Option<String>,
    /// `forwarding` and `route_localnet` of IPv4.
    pub(crate) forwarding: bool,
    pub(crate) route_localnet: bool,
    /// IPv6 is off and would not listen to router advertisements, or the kernel has none.
    pub(crate) without_ipv6: bool,
}

/// An IPv4 route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) main_table: bool,
    pub(crate) metric: u32,
    /// The index of the link that it goes through; of the first of several.
    pub(crate) link: Option<u32>,
}

fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

fn address_header(prefix: u8, index: u32) -> [u8; ADDRESS_HEADER] {
    let mut header = [AF_INET, prefix, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Returns the link of this name, `None` if there is none.
pub(crate) fn link(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetworkError> {
    one_link(socket, name, 0, |list| {
        list.text(IFLA_IFNAME, name);
    })
}

/// Returns the link of this index.
pub(crate) fn link_by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>, NetworkError> {
    one_link(socket, &index.to_string(), index, |_| {})
}

fn one_link(
    socket: &mut Socket,
    subject: &str,
    index: u32,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> Result<Option<Link>, NetworkError> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, ACK, &link_header(index, 0, 0), fill);
    let Some(answer) = socket.exchange(batch)?.pop() else {
        return Ok(None);
    };
    match answer.refusal {
        Some(refusal) if refusal.errno == rustix::io::Errno::NODEV => Ok(None),
        Some(refusal) => Err(NetworkError::refused("read link", subject)(refusal)),
        None => Ok(answer.replies.first().and_then(read_link)),
    }
}

/// Waits until a link that has just got its carrier passes packets. The kernel acts on a carrier in the background
/// (`net/core/link_watch.c`), and until then drops what is sent: a container's first packet would be lost, and a second
/// with it until the sender tries again. Since 6.8 asking for the link makes the kernel act at once; before, it does so
/// within a moment. A link that does not come up is no error here.
pub(crate) fn wait_until_running(socket: &mut Socket, name: &str) -> Result<(), NetworkError> {
    let start = Instant::now();
    while link(socket, name)?.is_some_and(|link| !link.running) && start.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// How long a link's carrier is waited for, and how often looked for. Usually it is there at the first look.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(100);

/// Lists the links on a bridge.
pub(crate) fn links_of(socket: &mut Socket, bridge: &Link) -> Result<Vec<Link>, NetworkError> {
    let replies = socket
        .dump(RTM_GETLINK, &link_header(0, 0, 0), |list| {
            list.number(IFLA_MASTER, bridge.index);
        })?
        .map_err(NetworkError::refused("list links of", &bridge.name))?;
    // The kernel's filter is a hint (5.15 ignores it for links that it lists in several parts), so look again.
    Ok(replies
        .iter()
        .filter_map(read_link)
        .filter(|link| link.master == Some(bridge.index))
        .collect())
}

fn read_link(reply: &Reply) -> Option<Link> {
    let header = reply.payload.get(..LINK_HEADER)?;
    let mut link = Link {
        index: u32::from_ne_bytes(header[4..8].try_into().ok()?),
        name: String::new(),
        up: u32::from_ne_bytes(header[8..12].try_into().ok()?) & IFF_UP != 0,
        running: false,
        mtu: 0,
        master: None,
        kind: None,
        forwarding: false,
        route_localnet: false,
        without_ipv6: true,
    };
    for attribute in attributes(&reply.payload[LINK_HEADER..]) {
        match attribute.kind {
            IFLA_IFNAME => attribute.text()?.clone_into(&mut link.name),
            IFLA_MTU => link.mtu = attribute.number()?,
            IFLA_OPERSTATE => link.running = attribute.value.first() == Some(&IF_OPER_UP),
            IFLA_MASTER => link.master = attribute.number(),
            IFLA_LINKINFO => {
                link.kind = attribute
                    .nested()
                    .first(IFLA_INFO_KIND)
                    .and_then(|kind| kind.text())
                    .map(str::to_owned);
            }
            IFLA_AF_SPEC => read_settings(&mut link, attribute.value),
            _ => {}
        }
    }
    Some(link)
}

/// Reads the per-link sysctls that the kernel reports along with a link, as arrays of 32-bit numbers.
fn read_settings(link: &mut Link, families: &[u8]) {
    let setting = |values: &[u8], place: usize| {
        values
            .get(place * 4..place * 4 + 4)
            .is_some_and(|value| value.iter().any(|&byte| byte != 0))
    };
    for family in attributes(families) {
        if family.kind == u16::from(AF_INET)
            && let Some(conf) = family.nested().first(IFLA_INET_CONF)
        {
            link.forwarding = setting(conf.value, usize::from(IPV4_DEVCONF_FORWARDING) - 1);
            link.route_localnet = setting(conf.value, usize::from(IPV4_DEVCONF_ROUTE_LOCALNET) - 1);
        }
        if family.kind == u16::from(AF_INET6)
            && let Some(conf) = family.nested().first(IFLA_INET6_CONF)
        {
            link.without_ipv6 =
                setting(conf.value, DEVCONF_DISABLE_IPV6) && !setting(conf.value, DEVCONF_ACCEPT_RA);
        }
    }
}

/// Adds a message that makes a bridge, down and without addresses. Its hardware address is fixed from the start:
/// otherwise a bridge takes the lowest of its ports', and changes as they come and go.
pub(crate) fn make_bridge(batch: &mut Batch, name: &str, mac: [u8; 6]) -> usize {
    batch.message(
        RTM_NEWLINK,
        ACK | CREATE | EXCLUSIVE,
        &link_header(0, 0, 0),
        |list| {
            list.text(IFLA_IFNAME, name)
                .bytes(IFLA_ADDRESS, &mac)
                .nest(IFLA_LINKINFO, |info| {
                    info.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, |data| {
                        // A port forwards at once: there is no loop to look for.
                        data.number(IFLA_BR_FORWARD_DELAY, 0).number(IFLA_BR_STP_STATE, 0);
                    });
                });
        },
    )
}

/// Adds a message that brings a bridge into its working state. Its MTU is set here, not when it is made: only then does
/// the kernel take it as decided, and not set it by the links that come and go. `route_localnet` lets packets from and to 127.0.0.0/8
/// pass it, which is how the host's own 127.0.0.1 reaches a published port; the firewall keeps containers out of it.
pub(crate) fn raise_bridge(batch: &mut Batch, index: u32, mtu: u32) -> usize {
    batch.message(RTM_SETLINK, ACK, &link_header(index, IFF_UP, IFF_UP), |list| {
        list.number(IFLA_MTU, mtu).nest(IFLA_AF_SPEC, |families| {
            families.nest(u16::from(AF_INET), |family| {
                family.nest(IFLA_INET_CONF, |conf| {
                    conf.number(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
                });
            });
        });
    })
}

/// The two ends of a virtual cable.
#[derive(Debug)]
pub(crate) struct Cable<'a> {
    pub(crate) host_link: &'a str,
    pub(crate) link: &'a str,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    /// A descriptor of the namespace of the far end.
    pub(crate) netns: u32,
}

/// Adds a message that makes a pair of links: one here, one in the namespace, which never appears here. Both down.
pub(crate) fn make_cable(batch: &mut Batch, cable: &Cable<'_>) -> usize {
    batch.message(
        RTM_NEWLINK,
        ACK | CREATE | EXCLUSIVE,
        &link_header(0, 0, 0),
        |list| {
            list.text(IFLA_IFNAME, cable.host_link)
                .number(IFLA_MTU, cable.mtu)
                .nest(IFLA_LINKINFO, |info| {
                    info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                        data.nest_behind(VETH_INFO_PEER, &link_header(0, 0, 0), |peer| {
                            peer.text(IFLA_IFNAME, cable.link)
                                .number(IFLA_MTU, cable.mtu)
                                .bytes(IFLA_ADDRESS, &cable.mac)
                                .number(IFLA_NET_NS_FD, cable.netns);
                        });
                    });
                });
        },
    )
}

/// Adds a message that plugs a link into a bridge and brings it up, without an IPv6 address of its own.
pub(crate) fn plug(batch: &mut Batch, name: &str, bridge: u32, ipv6: bool) -> usize {
    batch.message(RTM_SETLINK, ACK, &link_header(0, IFF_UP, IFF_UP), |list| {
        list.text(IFLA_IFNAME, name).number(IFLA_MASTER, bridge);
        if ipv6 {
            list.nest(IFLA_AF_SPEC, |families| {
                families.nest(u16::from(AF_INET6), |family| {
                    family.byte(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                });
            });
        }
    })
}

/// Adds a message that says what a bridge does with a link on it. It may send a packet back by the link that it came
/// from: with `net.bridge.bridge-nf-call-iptables` an endpoint's packet to its own published port is translated on the
/// bridge and has to go that way. `isolated` links reach the bridge itself and no other isolated link.
pub(crate) fn set_port(batch: &mut Batch, name: &str, isolated: bool) -> usize {
    batch.message(RTM_NEWLINK, ACK, &link_header(0, 0, 0), |list| {
        list.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_SLAVE_KIND, "bridge")
                .nest(IFLA_INFO_SLAVE_DATA, |data| {
                    data.byte(IFLA_BRPORT_MODE, 1);
                    if isolated {
                        data.byte(IFLA_BRPORT_ISOLATED, 1);
                    }
                });
        });
    })
}

/// Adds a message that brings a link up.
pub(crate) fn raise(batch: &mut Batch, index: u32) -> usize {
    batch.message(RTM_SETLINK, ACK, &link_header(index, IFF_UP, IFF_UP), |_| {})
}

/// Adds a message that brings `lo` up, which also gives it 127.0.0.1.
pub(crate) fn raise_loopback(batch: &mut Batch) -> usize {
    raise(batch, LOOPBACK)
}

/// Adds a message that removes a link, and with one end of a cable the other.
pub(crate) fn remove_link(batch: &mut Batch, name: &str) -> usize {
    batch.message(RTM_DELLINK, ACK, &link_header(0, 0, 0), |list| {
        list.text(IFLA_IFNAME, name);
    })
}

/// Adds a message that gives a link an address; it fails with `EEXIST` if the link has it.
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: Ipv4Addr, subnet: ipnet::Ipv4Net) -> usize {
    let header = address_header(subnet.prefix_len(), index);
    batch.message(RTM_NEWADDR, ACK | CREATE | EXCLUSIVE, &header, |list| {
        list.bytes(IFA_LOCAL, &address.octets())
            .bytes(IFA_ADDRESS, &address.octets())
            .bytes(IFA_BROADCAST, &subnet.broadcast().octets());
    })
}

/// Adds a message that takes an address away.
pub(crate) fn remove_address(batch: &mut Batch, index: u32, address: Ipv4Addr, prefix: u8) -> usize {
    batch.message(RTM_DELADDR, ACK, &address_header(prefix, index), |list| {
        list.bytes(IFA_LOCAL, &address.octets());
    })
}

/// Adds a message that makes the default route, in place of one that is there.
pub(crate) fn set_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) -> usize {
    batch.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, &DEFAULT_ROUTE, |list| {
        list.bytes(RTA_GATEWAY, &gateway.octets()).number(RTA_OIF, index);
    })
}

/// Adds a message that takes the default route away; it fails with `ESRCH` if there is none.
pub(crate) fn remove_default_route(batch: &mut Batch) -> usize {
    batch.message(RTM_DELROUTE, ACK, &DEFAULT_ROUTE, |_| {})
}

/// `struct rtmsg` of the default route.
const DEFAULT_ROUTE: [u8; 12] = [
    AF_INET,
    0,
    0,
    0,
    RT_TABLE_MAIN,
    RTPROT_BOOT,
    0,
    RTN_UNICAST,
    0,
    0,
    0,
    0,
];

/// Lists the IPv4 addresses of one link, or with index 0 of all, each with its prefix length.
pub(crate) fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<(Ipv4Addr, u8)>, NetworkError> {
    let replies = socket
        .dump(RTM_GETADDR, &address_header(0, index), |_| {})?
        .map_err(NetworkError::refused(
            "list addresses of link",
            &index.to_string(),
        ))?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let header = reply.payload.get(..ADDRESS_HEADER)?;
            let link = u32::from_ne_bytes(header[4..].try_into().ok()?);
            let local = attributes(&reply.payload[ADDRESS_HEADER..]).first(IFA_LOCAL)?;
            (index == 0 || link == index).then_some((ipv4(local.value)?, header[1]))
        })
        .collect())
}

/// Lists the IPv4 routes of all tables.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, NetworkError> {
    let mut header = [0; ROUTE_HEADER];
    header[0] = AF_INET;
    let replies = socket
        .dump(RTM_GETROUTE, &header, |_| {})?
        .map_err(NetworkError::refused("list", "routes"))?;
    Ok(replies
        .iter()
        .filter_map(|reply| read_route(&reply.payload))
        .collect())
}

fn read_route(payload: &[u8]) -> Option<Route> {
    let header = payload.get(..ROUTE_HEADER)?;
    let mut route = Route {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: header[1],
        main_table: header[4] == RT_TABLE_MAIN,
        metric: 0,
        link: None,
    };
    for attribute in attributes(&payload[ROUTE_HEADER..]) {
        match attribute.kind {
            RTA_DST => route.destination = ipv4(attribute.value)?,
            RTA_PRIORITY => route.metric = attribute.number()?,
            RTA_OIF => route.link = attribute.number(),
            // `struct rtnexthop`: length, flags, hops, and the link's index at offset 4.
            RTA_MULTIPATH => {
                let first = attribute.value.get(4..8)?.try_into().ok()?;
                route.link = Some(u32::from_ne_bytes(first));
            }
            _ => {}
        }
    }
    Some(route)
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// Turns the first refusal among answers into an error, except for the error numbers that `allowed` names.
pub(crate) fn accept(
    answers: Vec<Answer>,
    action: &'static str,
    subject: &str,
    allowed: &[rustix::io::Errno],
) -> Result<(), NetworkError> {
    match answers
        .into_iter()
        .filter_map(|answer| answer.refusal)
        .find(|refusal| !allowed.contains(&refusal.errno))
    {
        Some(refusal) => Err(NetworkError::refused(action, subject)(refusal)),
        None => Ok(()),
    }
}
