//! The one table of this root: a constant rule set, and sets and maps with an element per bridge and published port.
//!
//! ```text
//! table inet <table>
//!   set bridges      { ifname }                 our bridges
//!   set within       { ifname . ifname }        (b, b) for each of them
//!   set subnets      { ipv4_addr, intervals }   subnets whose addresses are not seen outside
//!   set internal     { ifname }                 bridges that nothing leaves
//!   map published    { protocol . port -> address . port }              on all of the host's addresses
//!   map published_at { address . protocol . port -> address . port }    on one of them
//!   chain guard       raw prerouting   containers cannot reach the host's 127.0.0.0/8
//!   chain prerouting  dstnat           published ports, for packets that arrive
//!   chain output      dstnat           published ports, for the host's own packets
//!   chain forward     filter           out of an internal bridge: nothing;
//!                                      into a bridge: answers, translated, bridge to itself; nothing else
//!   chain postrouting srcnat           masquerade
//! ```
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
use crate::{Bridge, NetworkError};
use elements::{Element, edit, elements, name_elements};
use published::{all_published, decode};
use rules::{BRIDGES, CHAINS, Chain, INTERNAL, LAYOUT, SETS, SUBNETS, Set, WITHIN};
use rustix::io::Errno;
use sys::netlink::{Attributes, Batch, Reply, Socket, attributes};

/// Returns the elements that stand for a bridge, with their sets.
fn elements_of(bridge: &Bridge) -> Vec<(&'static str, Element)> {
    let name = nft::link_name(&bridge.name);
    let mut elements = vec![
        (BRIDGES, Element::of(&name)),
        (WITHIN, Element::of(&[name, name].concat())),
    ];
    if bridge.traffic.internal {
        elements.push((INTERNAL, Element::of(&name)));
        return elements;
    }
    if !bridge.traffic.masquerade {
        return elements;
    }
    elements.push((SUBNETS, Element::of(&bridge.subnet.network().octets())));
    // An interval ends before the next address, unless there is none.
    if let Some(end) = u32::from(bridge.subnet.broadcast()).checked_add(1) {
        elements.push((
            SUBNETS,
            Element {
                key: end.to_be_bytes().to_vec(),
                data: None,
                flags: nft::INTERVAL_END,
            },
        ));
    }
    elements
}

/// What is wrong with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Whole,
    /// Rules, chains or this bridge's elements are missing.
    Incomplete,
    /// There is none.
    Missing,
    /// It is another version's, or switched off.
    Foreign,
}

/// Makes the table, rules and the bridge's elements where they are not as they must be. Returns whether there is a
/// chain `DOCKER-USER`, and whether ports that were published may have been lost with the table.
pub(crate) fn ensure(socket: &mut Socket, bridge: &Bridge) -> Result<Ensured, NetworkError> {
    let (condition, docker_user) = inspect(socket, bridge)?;
    if condition != Condition::Whole {
        rebuild(socket, bridge, condition)?;
    }
    Ok(Ensured {
        docker_user,
        rebuilt: condition != Condition::Whole,
    })
}

/// What [`ensure`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ensured {
    pub(crate) docker_user: bool,
    pub(crate) rebuilt: bool,
}

/// Looks at everything with one call.
fn inspect(socket: &mut Socket, bridge: &Bridge) -> Result<(Condition, bool), NetworkError> {
    let table = bridge.table.as_str();
    let mut batch = Batch::new();
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
    crate::passage::look_for_docker_user(&mut batch);
    let mut condition = Condition::Whole;
    let mut docker_user = true;
    let answers = socket.exchange(batch)?;
    let last = answers.len() - 1;
    for (place, answer) in answers.into_iter().enumerate() {
        let there = match answer.refusal {
            None => true,
            Some(refusal) if refusal.errno == Errno::NOENT => false,
            Some(refusal) => return Err(NetworkError::refused("read firewall table", table)(refusal)),
        };
        if place == last {
            docker_user = there;
        } else if place == 0 {
            condition = match answer.replies.first() {
                Some(reply) if is_ours(reply) => Condition::Whole,
                Some(_) => Condition::Foreign,
                None => Condition::Missing,
            };
        } else if condition == Condition::Whole {
            let whole = match CHAINS.get(place - 1) {
                Some(chain) => answer
                    .replies
                    .first()
                    .is_some_and(|reply| has_its_rules(reply, chain)),
                None => there,
            };
            if !whole {
                condition = Condition::Incomplete;
            }
        }
    }
    Ok((condition, docker_user))
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

/// Writes everything anew in one transaction. Elements that are there stay, except those of a table that has to be
/// replaced. Several processes may do this at once: each leaves the same behind.
fn rebuild(socket: &mut Socket, bridge: &Bridge, condition: Condition) -> Result<(), NetworkError> {
    let table = bridge.table.as_str();
    let mut batch = Batch::transaction(nft::SUBSYSTEM, None);
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
    for set in [BRIDGES, WITHIN, SUBNETS, INTERNAL] {
        let elements: Vec<_> = elements_of(bridge)
            .into_iter()
            .filter(|(owner, _)| *owner == set)
            .map(|(_, element)| element)
            .collect();
        edit(&mut batch, nft::NEWSETELEM, table, set, &elements);
    }
    batch.commit(nft::SUBSYSTEM);
    socket
        .transact(batch)?
        .map_err(NetworkError::refused("write firewall table", table))
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
        for set in [BRIDGES, WITHIN, SUBNETS, INTERNAL] {
            let there = elements(socket, table, set)?;
            leaving.extend(
                own.iter()
                    .filter(|(owner, mine)| *owner == set && there.contains(mine))
                    .cloned(),
            );
        }
        for (map, element) in all_published(socket, table)? {
            if decode(&element).is_some_and(|published| bridge.subnet.contains(&published.address)) {
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
        let ends = |bridge: &Bridge| -> Vec<_> {
            elements_of(bridge)
                .into_iter()
                .filter(|(set, _)| *set == SUBNETS)
                .map(|(_, element)| (element.key, element.flags))
                .collect()
        };
        assert_eq!(
            ends(&bridge),
            [(vec![10, 1, 0, 0], 0), (vec![10, 2, 0, 0], nft::INTERVAL_END)]
        );
        bridge.subnet = "255.255.255.0/24".parse().unwrap();
        assert_eq!(ends(&bridge), [(vec![255, 255, 255, 0], 0)]);
        bridge.traffic.masquerade = false;
        assert_eq!(ends(&bridge), []);
    }
}
