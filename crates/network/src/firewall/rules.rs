//! The constant part: sets, chains and their rules. Those for IPv6 say the same as those for IPv4.

use crate::nftables::{self as nft, Meta, Register, Rule};

/// Changes whenever a chain, rule or set does, so that another version's table is replaced.
pub(super) const LAYOUT: &str = "Coracle, layout 3";

pub(super) const BRIDGES: &str = "bridges";
pub(super) const WITHIN: &str = "within";
pub(super) const SUBNETS: &str = "subnets";
pub(super) const SUBNETS6: &str = "subnets6";
pub(super) const HIDDEN: &str = "hidden";
pub(super) const HIDDEN6: &str = "hidden6";
pub(super) const INTERNAL: &str = "internal";
pub(super) const ROUTED: &str = "routed";
pub(super) const UNPROTECTED: &str = "unprotected";
pub(super) const PUBLISHED: &str = "published";
pub(super) const PUBLISHED6: &str = "published6";
pub(super) const PUBLISHED_AT: &str = "published_at";
pub(super) const PUBLISHED6_AT: &str = "published6_at";
pub(super) const OPENED: &str = "opened";
pub(super) const OPENED6: &str = "opened6";
pub(super) const ANSWERED: &str = "answered";

/// The sets whose elements stand for bridges.
pub(super) const OF_BRIDGES: [&str; 9] = [
    BRIDGES,
    WITHIN,
    SUBNETS,
    SUBNETS6,
    HIDDEN,
    HIDDEN6,
    INTERNAL,
    ROUTED,
    UNPROTECTED,
];

/// The maps and sets whose elements stand for published ports.
pub(super) const OF_PORTS: [&str; 6] = [
    PUBLISHED,
    PUBLISHED6,
    PUBLISHED_AT,
    PUBLISHED6_AT,
    OPENED,
    OPENED6,
];

/// nft(8)'s numbers of data types; they only tell it how to print. A concatenation shifts by 6 bits.
const TYPE_FAMILY: u32 = 2;
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_LINK: u32 = 41;
const TYPE_SERVICE: u32 = (TYPE_PROTOCOL << 6) | TYPE_PORT;

/// `NFT_SET_*` and sizes of one set.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) flags: u32,
    pub(super) key_type: u32,
    pub(super) key_length: u32,
    /// Type and length of what a map leads to.
    pub(super) data: Option<(u32, u32)>,
    /// Keys are in network order; otherwise in the machine's.
    pub(super) big_endian: bool,
}

impl Set {
    const fn of_links(name: &'static str, id: u32, key_type: u32, key_length: u32) -> Self {
        Self {
            name,
            id,
            flags: 0,
            key_type,
            key_length,
            data: None,
            big_endian: false,
        }
    }

    const fn of_subnets(name: &'static str, id: u32, key_type: u32, key_length: u32) -> Self {
        Self {
            name,
            id,
            flags: nft::SET_INTERVAL,
            key_type,
            key_length,
            data: None,
            big_endian: true,
        }
    }

    const fn of_ports(name: &'static str, id: u32, key: (u32, u32), data: Option<(u32, u32)>) -> Self {
        Self {
            name,
            id,
            flags: if data.is_some() { nft::SET_MAP } else { 0 },
            key_type: key.0,
            key_length: key.1,
            data,
            big_endian: true,
        }
    }
}

const SERVICE: (u32, u32) = (TYPE_SERVICE, 8);
const SERVICE_AT: (u32, u32) = ((TYPE_IPV4 << 12) | TYPE_SERVICE, 12);
const SERVICE6_AT: (u32, u32) = ((TYPE_IPV6 << 12) | TYPE_SERVICE, 24);
const TARGET: Option<(u32, u32)> = Some(((TYPE_IPV4 << 6) | TYPE_PORT, 8));
const TARGET6: Option<(u32, u32)> = Some(((TYPE_IPV6 << 6) | TYPE_PORT, 20));
const LINK_AND_FAMILY: u32 = (TYPE_LINK << 6) | TYPE_FAMILY;

pub(super) const SETS: [Set; 16] = [
    Set::of_links(BRIDGES, 1, TYPE_LINK, 16),
    Set::of_links(WITHIN, 2, (TYPE_LINK << 6) | TYPE_LINK, 32),
    Set::of_links(INTERNAL, 3, TYPE_LINK, 16),
    Set::of_links(ROUTED, 4, LINK_AND_FAMILY, 20),
    Set::of_links(UNPROTECTED, 5, LINK_AND_FAMILY, 20),
    Set::of_subnets(SUBNETS, 6, TYPE_IPV4, 4),
    Set::of_subnets(SUBNETS6, 7, TYPE_IPV6, 16),
    Set::of_subnets(HIDDEN, 8, TYPE_IPV4, 4),
    Set::of_subnets(HIDDEN6, 9, TYPE_IPV6, 16),
    Set::of_ports(PUBLISHED, 10, SERVICE, TARGET),
    Set::of_ports(PUBLISHED6, 11, SERVICE, TARGET6),
    Set::of_ports(PUBLISHED_AT, 12, SERVICE_AT, TARGET),
    Set::of_ports(PUBLISHED6_AT, 13, SERVICE6_AT, TARGET6),
    Set::of_ports(OPENED, 14, SERVICE_AT, None),
    Set::of_ports(OPENED6, 15, SERVICE6_AT, None),
    Set::of_ports(ANSWERED, 16, (TYPE_IPV6, 16), None),
];

/// A chain, where it hooks in, and its rules.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) rules: &'static [fn(&mut Rule<'_, '_>)],
}

pub(super) const CHAINS: [Chain; 5] = [
    Chain {
        name: "guard",
        kind: "filter",
        hook: nft::PREROUTING,
        priority: -300,
        rules: &[no_loopback_from_bridges, no_loopback6_from_bridges],
    },
    Chain {
        name: "prerouting",
        kind: "nat",
        hook: nft::PREROUTING,
        priority: -100,
        rules: &[
            to_published_at_from_outside,
            to_published_from_outside,
            to_published6_at,
            to_published6,
        ],
    },
    Chain {
        name: "output",
        kind: "nat",
        hook: nft::OUTPUT,
        priority: -100,
        rules: &[
            to_published_at,
            to_published,
            leave_loopback6,
            to_published6_at,
            to_published6,
        ],
    },
    Chain {
        name: "forward",
        kind: "filter",
        hook: nft::FORWARD,
        priority: 0,
        rules: &[
            keep_inside,
            pass_others,
            pass_known,
            pass_translated,
            pass_within,
            pass_opened,
            pass_opened6,
            pass_ping,
            pass_ping6,
            pass_to_unprotected,
            drop_rest,
        ],
    },
    Chain {
        name: "postrouting",
        kind: "nat",
        hook: nft::POSTROUTING,
        priority: 100,
        rules: &[
            masquerade_outwards,
            masquerade_hairpin,
            masquerade_loopback,
            masquerade6_outwards,
            masquerade6_hairpin,
            masquerade6_loopback,
        ],
    },
];

pub(super) const LOOPBACK6: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// The bridges have `route_localnet`, so that the host's 127.0.0.1 can talk to containers; without this rule
/// containers could talk to what listens on the host's 127.0.0.1 (CVE-2020-8558). The address is looked at first:
/// this is asked of every packet that the host receives.
fn no_loopback_from_bridges(rule: &mut Rule<'_, '_>) {
    rule.ipv4().destination(1, Register::at(0)).equals(&[127]);
    rule.meta(Meta::IncomingName, Register::at(0))
        .is_in(BRIDGES)
        .drop();
}

/// The kernel drops them too. It would be the only one to.
fn no_loopback6_from_bridges(rule: &mut Rule<'_, '_>) {
    rule.ipv6().destination6(Register::at(0)).equals(&LOOPBACK6);
    rule.meta(Meta::IncomingName, Register::at(0))
        .is_in(BRIDGES)
        .drop();
}

/// Packets to 127.0.0.0/8 that arrive by a link are nobody's who may use a port published there: translation comes
/// before the kernel's own check for such packets, and would hide them from it (moby CVE-2025-54410). For ::1 the
/// check comes first.
fn arrives_for_this_host(rule: &mut Rule<'_, '_>) {
    rule.destination_is_local()
        .ipv4()
        .destination(1, Register::at(0))
        .differs(&[127]);
}

fn translate_one_address(rule: &mut Rule<'_, '_>) {
    rule.destination(4, Register::at(0))
        .meta(Meta::Transport, Register::at(1))
        .destination_port(Register::at(2))
        .mapped_by(PUBLISHED_AT)
        .translate_destination();
}

fn translate_any_address(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::Transport, Register::at(0))
        .destination_port(Register::at(1))
        .mapped_by(PUBLISHED)
        .translate_destination();
}

fn to_published_at_from_outside(rule: &mut Rule<'_, '_>) {
    arrives_for_this_host(rule);
    translate_one_address(rule);
}

fn to_published_from_outside(rule: &mut Rule<'_, '_>) {
    arrives_for_this_host(rule);
    translate_any_address(rule);
}

fn to_published_at(rule: &mut Rule<'_, '_>) {
    rule.destination_is_local().ipv4();
    translate_one_address(rule);
}

fn to_published(rule: &mut Rule<'_, '_>) {
    rule.destination_is_local().ipv4();
    translate_any_address(rule);
}

/// Where answers to ::1 are lost, nothing is sent from there: who tries is refused at once, and tries 127.0.0.1.
fn leave_loopback6(rule: &mut Rule<'_, '_>) {
    rule.ipv6()
        .destination6(Register::at(0))
        .equals(&LOOPBACK6)
        .is_not_in(ANSWERED)
        .accept();
}

fn to_published6_at(rule: &mut Rule<'_, '_>) {
    rule.destination_is_local().ipv6();
    rule.destination6(Register::at(0))
        .meta(Meta::Transport, Register::at(4))
        .destination_port(Register::at(5))
        .mapped_by(PUBLISHED6_AT)
        .translate_destination6();
}

fn to_published6(rule: &mut Rule<'_, '_>) {
    rule.destination_is_local().ipv6();
    rule.meta(Meta::Transport, Register::at(0))
        .destination_port(Register::at(1))
        .mapped_by(PUBLISHED6)
        .translate_destination6();
}

/// What comes from an internal bridge goes back into it or nowhere. First, because an endpoint may make routes of its
/// own, and because not even what another chain would let pass may pass.
fn keep_inside(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::IncomingName, Register::at(0)).is_in(INTERNAL);
    rule.meta(Meta::IncomingName, Register::at(0))
        .meta(Meta::OutgoingName, Register::at(4))
        .is_not_in(WITHIN)
        .drop();
}

/// What does not go into one of our bridges is not ours to judge.
fn pass_others(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::OutgoingName, Register::at(0))
        .is_not_in(BRIDGES)
        .accept();
}

fn pass_known(rule: &mut Rule<'_, '_>) {
    rule.established_or_related().accept();
}

fn pass_translated(rule: &mut Rule<'_, '_>) {
    rule.destination_was_translated().accept();
}

/// Only with `net.bridge.bridge-nf-call-iptables` do packets from a bridge to itself come by here.
fn pass_within(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::IncomingName, Register::at(0))
        .meta(Meta::OutgoingName, Register::at(4))
        .is_in(WITHIN)
        .accept();
}

/// On a routed bridge a port is published under the endpoint's own address.
fn pass_opened(rule: &mut Rule<'_, '_>) {
    rule.ipv4()
        .destination(4, Register::at(0))
        .meta(Meta::Transport, Register::at(1))
        .destination_port(Register::at(2))
        .is_in(OPENED)
        .accept();
}

fn pass_opened6(rule: &mut Rule<'_, '_>) {
    rule.ipv6()
        .destination6(Register::at(0))
        .meta(Meta::Transport, Register::at(4))
        .destination_port(Register::at(5))
        .is_in(OPENED6)
        .accept();
}

/// Who is routed to can be asked whether he is there, as with Docker.
fn pass_ping(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::Transport, Register::at(0)).equals(&[ICMP]);
    out_of_a_link_in(rule, ROUTED);
    rule.accept();
}

fn pass_ping6(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::Transport, Register::at(0)).equals(&[ICMP6]);
    out_of_a_link_in(rule, ROUTED);
    rule.accept();
}

fn out_of_a_link_in(rule: &mut Rule<'_, '_>, set: &str) {
    rule.meta(Meta::OutgoingName, Register::at(0))
        .meta(Meta::Family, Register::at(4))
        .is_in(set);
}

/// From outside, that is: another bridge is kept away in any case.
fn pass_to_unprotected(rule: &mut Rule<'_, '_>) {
    out_of_a_link_in(rule, UNPROTECTED);
    rule.meta(Meta::IncomingName, Register::at(0))
        .is_not_in(BRIDGES)
        .accept();
}

/// From another bridge, or routed from outside straight to an endpoint's address, to a port that is not published.
fn drop_rest(rule: &mut Rule<'_, '_>) {
    rule.drop();
}

fn masquerade_outwards(rule: &mut Rule<'_, '_>) {
    rule.ipv4().source(4, Register::at(0)).is_in(HIDDEN);
    rule.meta(Meta::OutgoingName, Register::at(0))
        .is_not_in(BRIDGES)
        .masquerade();
}

/// From an endpoint by way of a published port to one on the same bridge: the answer would go straight back, from an
/// address that nobody asked, were it not for the gateway's as the source.
fn masquerade_hairpin(rule: &mut Rule<'_, '_>) {
    rule.ipv4().source(4, Register::at(0)).is_in(SUBNETS);
    rule.destination_was_translated().masquerade();
}

fn masquerade_loopback(rule: &mut Rule<'_, '_>) {
    rule.ipv4().source(1, Register::at(0)).equals(&[127]);
    rule.meta(Meta::OutgoingName, Register::at(0))
        .is_in(BRIDGES)
        .masquerade();
}

fn masquerade6_outwards(rule: &mut Rule<'_, '_>) {
    rule.ipv6().source6(Register::at(0)).is_in(HIDDEN6);
    rule.meta(Meta::OutgoingName, Register::at(0))
        .is_not_in(BRIDGES)
        .masquerade();
}

fn masquerade6_hairpin(rule: &mut Rule<'_, '_>) {
    rule.ipv6().source6(Register::at(0)).is_in(SUBNETS6);
    rule.destination_was_translated().masquerade();
}

fn masquerade6_loopback(rule: &mut Rule<'_, '_>) {
    rule.ipv6().source6(Register::at(0)).equals(&LOOPBACK6);
    rule.meta(Meta::OutgoingName, Register::at(0))
        .is_in(BRIDGES)
        .masquerade();
}
