//! The constant part: sets, chains and their rules.

use crate::nftables::{self as nft, Meta, Register, Rule};

/// Changes whenever a chain, rule or set does, so that another version's table is replaced.
pub(super) const LAYOUT: &str = "Coracle, layout 2";

pub(super) const BRIDGES: &str = "bridges";
pub(super) const WITHIN: &str = "within";
pub(super) const SUBNETS: &str = "subnets";
pub(super) const INTERNAL: &str = "internal";
pub(super) const PUBLISHED: &str = "published";
pub(super) const PUBLISHED_AT: &str = "published_at";

/// nft(8)'s numbers of data types; they only tell it how to print. A concatenation shifts by 6 bits.
const TYPE_IPV4: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_LINK: u32 = 41;
const TYPE_TARGET: u32 = (TYPE_IPV4 << 6) | TYPE_PORT;

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

pub(super) const SETS: [Set; 6] = [
    Set {
        name: BRIDGES,
        id: 1,
        flags: 0,
        key_type: TYPE_LINK,
        key_length: 16,
        data: None,
        big_endian: false,
    },
    Set {
        name: WITHIN,
        id: 2,
        flags: 0,
        key_type: (TYPE_LINK << 6) | TYPE_LINK,
        key_length: 32,
        data: None,
        big_endian: false,
    },
    Set {
        name: SUBNETS,
        id: 3,
        flags: nft::SET_INTERVAL,
        key_type: TYPE_IPV4,
        key_length: 4,
        data: None,
        big_endian: true,
    },
    Set {
        name: PUBLISHED,
        id: 4,
        flags: nft::SET_MAP,
        key_type: (TYPE_PROTOCOL << 6) | TYPE_PORT,
        key_length: 8,
        data: Some((TYPE_TARGET, 8)),
        big_endian: true,
    },
    Set {
        name: PUBLISHED_AT,
        id: 5,
        flags: nft::SET_MAP,
        key_type: (TYPE_IPV4 << 12) | (TYPE_PROTOCOL << 6) | TYPE_PORT,
        key_length: 12,
        data: Some((TYPE_TARGET, 8)),
        big_endian: true,
    },
    Set {
        name: INTERNAL,
        id: 6,
        flags: 0,
        key_type: TYPE_LINK,
        key_length: 16,
        data: None,
        big_endian: false,
    },
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
        rules: &[no_loopback_from_bridges],
    },
    Chain {
        name: "prerouting",
        kind: "nat",
        hook: nft::PREROUTING,
        priority: -100,
        rules: &[to_published_at_from_outside, to_published_from_outside],
    },
    Chain {
        name: "output",
        kind: "nat",
        hook: nft::OUTPUT,
        priority: -100,
        rules: &[to_published_at, to_published],
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
            drop_rest,
        ],
    },
    Chain {
        name: "postrouting",
        kind: "nat",
        hook: nft::POSTROUTING,
        priority: 100,
        rules: &[masquerade_outwards, masquerade_hairpin, masquerade_loopback],
    },
];

/// The bridges have `route_localnet`, so that the host's 127.0.0.1 can talk to containers; without this rule
/// containers could talk to what listens on the host's 127.0.0.1 (CVE-2020-8558).
fn no_loopback_from_bridges(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::IncomingName, Register::at(0)).is_in(BRIDGES);
    rule.ipv4().destination(1, Register::at(0)).equals(&[127]).drop();
}

/// Packets to 127.0.0.0/8 that arrive by a link are nobody's who may use a port published there: translation comes
/// before the kernel's own check for such packets, and would hide them from it (moby CVE-2025-54410).
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

/// From another bridge, or routed from outside straight to an endpoint's address, to a port that is not published.
fn drop_rest(rule: &mut Rule<'_, '_>) {
    rule.drop();
}

fn masquerade_outwards(rule: &mut Rule<'_, '_>) {
    rule.ipv4().source(4, Register::at(0)).is_in(SUBNETS);
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
