//! Links, addresses and routes as rtnetlink(7) messages: the numbers of `linux/rtnetlink.h` and what is read and
//! written with them here. What they are for is told in `bridge.rs`, `lan.rs` and `host.rs`.

mod paths;

pub(crate) use paths::{
    Version, add_address, add_way_to_loopback6, addresses, remove_address, remove_default_route, routes,
    set_default_route, wait_until_found,
};

use crate::NetworkError;
use std::time::{Duration, Instant};
use sys::netlink::{ACK, Answer, Attributes, Batch, CREATE, EXCLUSIVE, Reply, Socket, attributes};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
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
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IPV4_DEVCONF_FORWARDING: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const DEVCONF_FORWARDING: usize = 0;
const DEVCONF_ACCEPT_RA: usize = 3;
const DEVCONF_DISABLE_IPV6: usize = 26;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IF_OPER_UP: u8 = 6;
/// The loopback link has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

/// What is asked about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// It has a carrier, and the kernel has acted on that.
    pub(crate) running: bool,
    pub(crate) loopback: bool,
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
    pub(crate) master: Option<u32>,
    pub(crate) kind: Option<String>,
    /// `forwarding` and `route_localnet` of IPv4.
    pub(crate) forwarding: bool,
    pub(crate) route_localnet: bool,
    pub(crate) ipv6: Option<Ipv6Settings>,
}

/// A link's settings for IPv6; it has none if the kernel was told to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ipv6Settings {
    /// `disable_ipv6`.
    pub(crate) disabled: bool,
    /// `accept_ra`.
    pub(crate) advertised: bool,
    pub(crate) forwarding: bool,
}

fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
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
    let flags = u32::from_ne_bytes(header[8..12].try_into().ok()?);
    let mut link = Link {
        index: u32::from_ne_bytes(header[4..8].try_into().ok()?),
        name: String::new(),
        up: flags & IFF_UP != 0,
        running: false,
        loopback: flags & IFF_LOOPBACK != 0,
        mtu: 0,
        mac: Vec::new(),
        master: None,
        kind: None,
        forwarding: false,
        route_localnet: false,
        ipv6: None,
    };
    for attribute in attributes(&reply.payload[LINK_HEADER..]) {
        match attribute.kind {
            IFLA_IFNAME => attribute.text()?.clone_into(&mut link.name),
            IFLA_MTU => link.mtu = attribute.number()?,
            IFLA_ADDRESS => link.mac = attribute.value.to_vec(),
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
            link.ipv6 = Some(Ipv6Settings {
                disabled: setting(conf.value, DEVCONF_DISABLE_IPV6),
                advertised: setting(conf.value, DEVCONF_ACCEPT_RA),
                forwarding: setting(conf.value, DEVCONF_FORWARDING),
            });
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

/// A link that stands on another.
#[derive(Debug)]
pub(crate) struct Upper<'a> {
    pub(crate) name: &'a str,
    /// The index of the link below.
    pub(crate) parent: u32,
    pub(crate) kind: UpperKind,
    /// `None` takes the parent's.
    pub(crate) mtu: Option<u32>,
    /// A descriptor of the namespace that it is made in, if that is not this one.
    pub(crate) netns: Option<u32>,
}

/// What such a link is; numbers of `linux/if_link.h`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UpperKind {
    /// With a mode and a hardware address.
    Macvlan(u32, [u8; 6]),
    /// With a mode and flags.
    Ipvlan(u16, u16),
    /// With a tag.
    Vlan(u16),
}

impl UpperKind {
    /// Returns the kernel's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Macvlan(..) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
            Self::Vlan(_) => "vlan",
        }
    }
}

/// Adds a message that makes a link on another one, down.
pub(crate) fn make_upper(batch: &mut Batch, upper: &Upper<'_>) -> usize {
    batch.message(
        RTM_NEWLINK,
        ACK | CREATE | EXCLUSIVE,
        &link_header(0, 0, 0),
        |list| {
            list.text(IFLA_IFNAME, upper.name).number(IFLA_LINK, upper.parent);
            if let Some(mtu) = upper.mtu {
                list.number(IFLA_MTU, mtu);
            }
            if let Some(netns) = upper.netns {
                list.number(IFLA_NET_NS_FD, netns);
            }
            if let UpperKind::Macvlan(_, mac) = &upper.kind {
                list.bytes(IFLA_ADDRESS, mac);
            }
            list.nest(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, upper.kind.name())
                    .nest(IFLA_INFO_DATA, |data| {
                        match upper.kind {
                            UpperKind::Macvlan(mode, _) => data.number(IFLA_MACVLAN_MODE, mode),
                            UpperKind::Ipvlan(mode, flags) => data
                                .bytes(IFLA_IPVLAN_MODE, &mode.to_ne_bytes())
                                .bytes(IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes()),
                            UpperKind::Vlan(tag) => data.bytes(IFLA_VLAN_ID, &tag.to_ne_bytes()),
                        };
                    });
            });
        },
    )
}

/// Adds a message that makes a link of a kind that needs nothing to stand on, down.
pub(crate) fn make_lone(batch: &mut Batch, name: &str, kind: &str) -> usize {
    batch.message(
        RTM_NEWLINK,
        ACK | CREATE | EXCLUSIVE,
        &link_header(0, 0, 0),
        |list| {
            list.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, kind);
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
