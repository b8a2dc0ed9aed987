//! The one table of this root: a constant rule set, and sets and maps with an element per bridge and published port.
//!
//! ```text
//! table inet <table>
//!   set bridges      { ifname }                 our bridges
//!   set within       { ifname . ifname }        (b, b) for each of them
//!   set internal     { ifname }                 bridges that nothing leaves
//!   set routed       { ifname . family }        bridges whose endpoints are seen by their own addresses
//!   set unprotected  { ifname . family }        bridges that everything may enter
//!   set subnets(6)   { address, intervals }     subnets of our bridges
//!   set hidden(6)    { address, intervals }     those whose addresses are not seen outside
//!   map published(6)      { protocol . port -> address . port }              on all of the host's addresses
//!   map published(6)_at   { address . protocol . port -> address . port }    on one of them
//!   set opened(6)    { address . protocol . port }    ports of endpoints of routed bridges
//!   set answered     { ipv6_addr }              ::1, if answers reach it
//!   chain guard       raw prerouting   containers cannot reach the host's 127.0.0.0/8
//!   chain prerouting  dstnat           published ports, for packets that arrive
//!   chain output      dstnat           published ports, for the host's own packets
//!   chain forward     filter           out of an internal bridge: nothing;
//!                                      into a bridge: answers, translated, bridge to itself, opened; nothing else
//!   chain postrouting srcnat           masquerade
//! ```
//!
//! A set with `(6)` is there twice, for either version of IP. The rules are constant; what changes with networks and
//! containers are elements, so that who watches the rules ([`crate::FirewallWatch`]) is not woken by every start.
//!
//! Everything is one transaction, so there is no moment with half of the rules (compare moby CVE-2025-54388, where
//! isolation was lost while a host's firewall reloaded). Our chains only ever drop what goes *into* our bridges;
//! the host's other traffic passes them untouched. What the host's own chains drop stays dropped: see `passage.rs`.

mod elements;
mod published;
mod rules;

pub(crate) use elements::edit_consistently;
pub(crate) use published::{publish, published, unpublish};

use crate::nftables::{self as nft, Rule};
use crate::{Bridge, GatewayMode, NetworkError, host};
use elements::{ATTEMPTS, Element, RESTART, edit, elements, name_elements};
use ipnet::IpNet;
use published::{all_published, decode};
use rules::{
    ANSWERED, BRIDGES, CHAINS, Chain, HIDDEN, HIDDEN6, INTERNAL, LAYOUT, LOOPBACK6, OF_BRIDGES, ROUTED, SETS,
    SUBNETS, SUBNETS6, Set, UNPROTECTED, WITHIN,
};
use rustix::io::Errno;
use sys::netlink::{Attributes, Batch, Refusal, Reply, Socket, attributes};

/// Returns the elements that stand for a bridge, with their sets.
fn elements_of(bridge: &Bridge) -> Vec<(&'static str, Element)> {
    let traffic = bridge.traffic;
    let name = nft::link_name(&bridge.name);
    let mut elements = vec![
        (BRIDGES, Element::of(&name)),
        (WITHIN, Element::of(&[name, name].concat())),
    ];
    if traffic.internal {
        elements.push((INTERNAL, Element::of(&name)));
    }
    let versions = [
        (Some(IpNet::V4(bridge.subnet)), traffic.gateway_mode, nft::IPV4),
        (
            bridge.ipv6.map(|side| IpNet::V6(side.subnet)),
            traffic.gateway_mode6,
            nft::IPV6,
        ),
    ];
    for (subnet, mode, family) in versions {
        let Some(subnet) = subnet else {
            continue;
        };
        let (own, hidden) = match subnet {
            IpNet::V4(_) => (SUBNETS, HIDDEN),
            IpNet::V6(_) => (SUBNETS6, HIDDEN6),
        };
        let with_family = || Element::of(&[&name[..], &[family, 0, 0, 0]].concat());
        let translated = match mode {
            GatewayMode::Nat => true,
            GatewayMode::NatUnprotected => {
                elements.push((UNPROTECTED, with_family()));
                true
            }
            GatewayMode::Routed => {
                elements.push((ROUTED, with_family()));
                false
            }
            GatewayMode::Isolated => false,
        };
        let interval = interval(subnet);
        if translated && traffic.masquerade && !traffic.internal {
            elements.extend(interval.iter().map(|end| (hidden, end.clone())));
        }
        elements.extend(interval.into_iter().map(|end| (own, end)));
    }
    elements
}

/// Returns a subnet as the kernel keeps it: its first address, and the first behind it, unless there is none.
fn interval(subnet: IpNet) -> Vec<Element> {
    let (first, end) = match subnet {
        IpNet::V4(subnet) => (
            subnet.network().octets().to_vec(),
            u32::from(subnet.broadcast())
                .checked_add(1)
                .map(|end| end.to_be_bytes().to_vec()),
        ),
        IpNet::V6(subnet) => (
            subnet.network().octets().to_vec(),
            u128::from(subnet.broadcast())
                .checked_add(1)
                .map(|end| end.to_be_bytes().to_vec()),
        ),
    };
    let end = end.map(|key| Element {
        key,
        data: None,
        flags: nft::INTERVAL_END,
    });
    std::iter::once(Element::of(&first)).chain(end).collect()
}

/// What is wrong with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Whole,
    /// Elements of this bridge are missing.
    Unaware,
    /// Rules or chains are missing.
    Incomplete,
    /// There is none.
    Missing,
    /// It is another version's, or switched off.
    Foreign,
}

/// Makes the table, rules and the bridge's elements where they are not as they must be. Returns whether there is a
/// chain `DOCKER-USER`, and whether ports that were published may have been lost with the table.
///
/// After a flush every monitor of the host comes here. The rules are written only if nothing was changed since they
/// were looked at, so that one of them writes, and the others look again and add what is theirs.
pub(crate) fn ensure(socket: &mut Socket, bridge: &Bridge) -> Result<Ensured, NetworkError> {
    for _ in 0..ATTEMPTS {
        let found = inspect(socket, bridge)?;
        // What the kernel says if somebody was faster, or emptied the firewall meanwhile.
        let (refusal, overtaken) = match found.condition {
            Condition::Whole => (None, RESTART),
            Condition::Unaware => (introduce(socket, bridge)?, Errno::NOENT),
            condition => (rebuild(socket, bridge, condition, found.generation)?, RESTART),
        };
        match refusal {
            None => {
                return Ok(Ensured {
                    docker_user: found.docker_user,
                    rebuilt: found.condition != Condition::Whole,
                });
            }
            Some(refusal) if refusal.errno == overtaken => {}
            Some(refusal) => {
                return Err(NetworkError::refused("write firewall table", &bridge.table)(
                    refusal,
                ));
            }
        }
    }
    Err(NetworkError::Busy {
        table: bridge.table.clone(),
    })
}

/// What [`ensure`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ensured {
    pub(crate) docker_user: bool,
    pub(crate) rebuilt: bool,
}

/// What was seen of a table.
struct Found {
    condition: Condition,
    docker_user: bool,
    /// The number of the state that was seen, or of one before it.
    generation: u32,
}

/// Looks at everything with one call.
fn inspect(socket: &mut Socket, bridge: &Bridge) -> Result<Found, NetworkError> {
    let table = bridge.table.as_str();
    let mut batch = Batch::new();
    // First, so that whatever changes while the rest is looked at makes it outdated.
    nft::ask(&mut batch, 0, nft::GETGEN, |_| {});
    nft::ask(&mut batch, nft::INET, nft::GETTABLE, |list| {
        list.text(nft::TABLE_NAME, table);
    });
    for chain in &CHAINS {
        nft::ask(&mut batch, nft::INET, nft::GETCHAIN, |list| {
            list.text(nft::CHAIN_TABLE, table)
                .text(nft::CHAIN_NAME, chain.name);
        });
    }
    for (set, element) in elements_of(bridge) {
        nft::ask(&mut batch, nft::INET, nft::GETSETELEM, |list| {
            name_elements(list, table, set, std::slice::from_ref(&element));
        });
    }
    let answered = answered();
    if bridge.ipv6.is_some() {
        nft::ask(&mut batch, nft::INET, nft::GETSETELEM, |list| {
            name_elements(list, table, ANSWERED, std::slice::from_ref(&answered));
        });
    }
    let before = batch.len();
    let loopback = bridge.ipv6.map(|_| (before - 1, host::answers_reach_loopback6()));
    crate::passage::look_for_docker_user(&mut batch, bridge);
    let mut found = Found {
        condition: Condition::Whole,
        docker_user: false,
        generation: 0,
    };
    for (place, answer) in socket.exchange(batch)?.into_iter().enumerate() {
        let there = match answer.refusal {
            None => true,
            Some(refusal) if refusal.errno == Errno::NOENT => false,
            Some(refusal) => return Err(NetworkError::refused("read firewall table", table)(refusal)),
        };
        if place >= before {
            found.docker_user |= there;
            continue;
        }
        let reply = answer.replies.first();
        found.condition = match (place, found.condition) {
            (0, condition) => {
                found.generation = elements::generation_in(reply)?;
                condition
            }
            (1, _) => match reply {
                Some(reply) if is_ours(reply) => Condition::Whole,
                Some(_) => Condition::Foreign,
                None => Condition::Missing,
            },
            (_, condition @ (Condition::Whole | Condition::Unaware)) => match CHAINS.get(place - 2) {
                Some(chain) if !reply.is_some_and(|reply| has_its_rules(reply, chain)) => {
                    Condition::Incomplete
                }
                None if there != loopback.is_none_or(|(last, wanted)| place != last || wanted) => {
                    Condition::Unaware
                }
                _ => condition,
            },
            (_, condition) => condition,
        };
    }
    Ok(found)
}

fn is_ours(table: &Reply) -> bool {
    let mut list = attributes(table.payload.get(nft::HEADER..).unwrap_or_default());
    let stamp = list.clone().first(nft::TABLE_USERDATA);
    let flags = list.find(|attribute| attribute.kind == nft::TABLE_FLAGS);
    stamp.is_some_and(|stamp| stamp.value == nft::comment(LAYOUT))
        && flags.and_then(|flags| flags.big_endian()).unwrap_or(0) == 0
}

/// A chain counts its rules, which is enough to notice that they were flushed.
fn has_its_rules(reply: &Reply, chain: &Chain) -> bool {
    let used = attributes(reply.payload.get(nft::HEADER..).unwrap_or_default()).first(nft::CHAIN_USE);
    used.and_then(|count| count.big_endian()) == u32::try_from(chain.rules.len()).ok()
}

/// Adds the elements of a bridge. Those that are there stay, so that several processes may do this at once.
fn introduce(socket: &mut Socket, bridge: &Bridge) -> Result<Option<Refusal>, NetworkError> {
    let mut batch = Batch::transaction(nft::SUBSYSTEM, None);
    add_elements(&mut batch, bridge);
    if bridge.ipv6.is_some()
        && !host::answers_reach_loopback6()
        && elements(socket, &bridge.table, ANSWERED)?.contains(&answered())
    {
        edit(
            &mut batch,
            nft::DELSETELEM,
            &bridge.table,
            ANSWERED,
            &[answered()],
        );
    }
    batch.commit(nft::SUBSYSTEM);
    Ok(socket.transact(batch)?.err())
}

/// ::1 as an element.
fn answered() -> Element {
    Element::of(&LOOPBACK6)
}

fn add_elements(batch: &mut Batch, bridge: &Bridge) {
    if bridge.ipv6.is_some() && host::answers_reach_loopback6() {
        edit(batch, nft::NEWSETELEM, &bridge.table, ANSWERED, &[answered()]);
    }
    for set in OF_BRIDGES {
        let elements: Vec<_> = elements_of(bridge)
            .into_iter()
            .filter(|(owner, _)| *owner == set)
            .map(|(_, element)| element)
            .collect();
        edit(batch, nft::NEWSETELEM, &bridge.table, set, &elements);
    }
}

/// Writes everything anew in one transaction, if nothing has changed since `generation`. Elements that are there stay,
/// except those of a table that has to be replaced.
fn rebuild(
    socket: &mut Socket,
    bridge: &Bridge,
    condition: Condition,
    generation: u32,
) -> Result<Option<Refusal>, NetworkError> {
    let table = bridge.table.as_str();
    let mut batch = Batch::transaction(nft::SUBSYSTEM, Some(generation));
    let name_table = |list: &mut Attributes<'_>| {
        list.text(nft::TABLE_NAME, table);
    };
    if condition == Condition::Foreign {
        // Made first, so that it is no error if another process has just deleted it.
        nft::make(&mut batch, nft::INET, nft::NEWTABLE, name_table);
        nft::delete(&mut batch, nft::INET, nft::DELTABLE, name_table);
    }
    nft::make(&mut batch, nft::INET, nft::NEWTABLE, |list| {
        list.text(nft::TABLE_NAME, table)
            .big_endian(nft::TABLE_FLAGS, 0)
            .bytes(nft::TABLE_USERDATA, &nft::comment(LAYOUT));
    });
    for set in &SETS {
        nft::make(&mut batch, nft::INET, nft::NEWSET, |list| {
            describe_set(list, table, set);
        });
    }
    for chain in &CHAINS {
        nft::make(&mut batch, nft::INET, nft::NEWCHAIN, |list| {
            list.text(nft::CHAIN_TABLE, table)
                .text(nft::CHAIN_NAME, chain.name)
                .text(nft::CHAIN_TYPE, chain.kind)
                .nest(nft::CHAIN_HOOK, |hook| {
                    hook.big_endian(nft::HOOK_NUMBER, chain.hook)
                        .bytes(nft::HOOK_PRIORITY, &chain.priority.to_be_bytes());
                });
        });
        nft::delete(&mut batch, nft::INET, nft::DELRULE, |list| {
            list.text(nft::RULE_TABLE, table)
                .text(nft::RULE_CHAIN, chain.name);
        });
        for rule in chain.rules {
            batch.message(
                nft::kind(nft::NEWRULE),
                sys::netlink::CREATE | sys::netlink::APPEND,
                &nft::header(nft::INET),
                |list| {
                    list.text(nft::RULE_TABLE, table)
                        .text(nft::RULE_CHAIN, chain.name)
                        .nest(nft::RULE_EXPRESSIONS, |expressions| rule(&mut Rule(expressions)));
                },
            );
        }
    }
    add_elements(&mut batch, bridge);
    batch.commit(nft::SUBSYSTEM);
    Ok(socket.transact(batch)?.err())
}

fn describe_set(list: &mut Attributes<'_>, table: &str, set: &Set) {
    list.text(nft::SET_TABLE, table)
        .text(nft::SET_NAME, set.name)
        .big_endian(nft::SET_FLAGS, set.flags)
        .big_endian(nft::SET_KEY_TYPE, set.key_type)
        .big_endian(nft::SET_KEY_LENGTH, set.key_length)
        .big_endian(nft::SET_ID, set.id);
    if let Some((kind, length)) = set.data {
        list.big_endian(nft::SET_DATA_TYPE, kind)
            .big_endian(nft::SET_DATA_LENGTH, length);
    }
    // For nft(8), which prints keys by it: byte order of the key (type 0), of the data (type 1); 1 is the machine's,
    // 2 is the network's.
    let order = if set.big_endian { 2 } else { 1 };
    let mut note = vec![0, 4, order, 0, 0, 0];
    if set.data.is_some() {
        note.extend_from_slice(&[1, 4, 2, 0, 0, 0]);
    }
    list.bytes(nft::SET_USERDATA, &note);
}

/// Removes what belongs to a bridge; the table too, if no other bridge is in it.
pub(crate) fn remove(socket: &mut Socket, bridge: &Bridge) -> Result<(), NetworkError> {
    let table = bridge.table.as_str();
    edit_consistently(socket, table, |socket, batch| {
        if !table_exists(socket, table)? {
            return Ok(false);
        }
        let own = elements_of(bridge);
        let bridges = elements(socket, table, BRIDGES)?;
        if bridges
            .iter()
            .all(|element| own.iter().any(|(set, mine)| *set == BRIDGES && mine == element))
        {
            nft::delete(batch, nft::INET, nft::DELTABLE, |list| {
                list.text(nft::TABLE_NAME, table);
            });
            return Ok(true);
        }
        let mut leaving = Vec::new();
        for set in OF_BRIDGES {
            let there = elements(socket, table, set)?;
            leaving.extend(
                own.iter()
                    .filter(|(owner, mine)| *owner == set && there.contains(mine))
                    .cloned(),
            );
        }
        for (map, element) in all_published(socket, table)? {
            if decode(map, &element).is_some_and(|published| bridge.holds(published.address)) {
                leaving.push((map, element));
            }
        }
        for (set, element) in &leaving {
            edit(batch, nft::DELSETELEM, table, set, std::slice::from_ref(element));
        }
        Ok(!leaving.is_empty())
    })
}

fn table_exists(socket: &mut Socket, table: &str) -> Result<bool, NetworkError> {
    let mut batch = Batch::new();
    nft::get(&mut batch, nft::INET, nft::GETTABLE, |list| {
        list.text(nft::TABLE_NAME, table);
    });
    Ok(socket
        .exchange(batch)?
        .iter()
        .all(|answer| answer.refusal.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side6;
    use std::net::Ipv4Addr;

    #[test]
    fn a_subnet_is_an_interval_whose_end_may_be_missing() {
        let mut bridge = Bridge {
            name: "b".to_owned(),
            subnet: "10.1.0.0/16".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 1, 0, 1),
            ipv6: None,
            mtu: 1500,
            table: "t".to_owned(),
            traffic: crate::Traffic::default(),
        };
        let ends = |bridge: &Bridge, wanted: &str| -> Vec<_> {
            elements_of(bridge)
                .into_iter()
                .filter(|(set, _)| *set == wanted)
                .map(|(_, element)| (element.key, element.flags))
                .collect()
        };
        let expected = [(vec![10, 1, 0, 0], 0), (vec![10, 2, 0, 0], nft::INTERVAL_END)];
        assert_eq!(ends(&bridge, HIDDEN), expected);
        assert_eq!(ends(&bridge, SUBNETS), expected);
        assert_eq!(ends(&bridge, SUBNETS6), []);
        bridge.subnet = "255.255.255.0/24".parse().unwrap();
        assert_eq!(ends(&bridge, HIDDEN), [(vec![255, 255, 255, 0], 0)]);
        bridge.ipv6 = Some(Side6 {
            subnet: "ffff:ffff:ffff:ffff::/64".parse().unwrap(),
            gateway: "ffff:ffff:ffff:ffff::1".parse().unwrap(),
        });
        assert_eq!(ends(&bridge, HIDDEN6).len(), 1);
        bridge.traffic.masquerade = false;
        assert_eq!(ends(&bridge, HIDDEN), []);
        assert_eq!(ends(&bridge, HIDDEN6), []);
        assert_eq!(ends(&bridge, SUBNETS).len(), 1);
    }

    #[test]
    fn modes_are_each_versions_own() {
        let bridge = Bridge {
            name: "b".to_owned(),
            subnet: "10.1.0.0/16".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 1, 0, 1),
            ipv6: Some(Side6 {
                subnet: "fd00:1::/64".parse().unwrap(),
                gateway: "fd00:1::1".parse().unwrap(),
            }),
            mtu: 1500,
            table: "t".to_owned(),
            traffic: crate::Traffic {
                gateway_mode: GatewayMode::NatUnprotected,
                gateway_mode6: GatewayMode::Routed,
                ..crate::Traffic::default()
            },
        };
        let sets: Vec<_> = elements_of(&bridge).into_iter().map(|(set, _)| set).collect();
        for (set, count) in [
            (HIDDEN, 2),
            (HIDDEN6, 0),
            (ROUTED, 1),
            (UNPROTECTED, 1),
            (INTERNAL, 0),
        ] {
            assert_eq!(sets.iter().filter(|other| **other == set).count(), count, "{set}");
        }
    }
}
