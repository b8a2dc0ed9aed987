//! Getting along with the host's own firewall.
//!
//! A verdict of ours ends only our chain: where another chain drops what is forwarded, as `iptables -P FORWARD DROP`
//! does since Docker or ufw was started here, our containers reach nothing. There are two cases.
//!
//! - There is the chain `DOCKER-USER`, which Docker makes for an administrator's rules and never touches itself. We put
//!   two rules at its head that let our bridge's packets pass to the end (our own chain still judges them), marked with
//!   a comment so that they are found and taken away with the bridge. That is the least that helps: nothing of
//!   Docker's changes, and the host's policy stays.
//! - There is none: the policy is somebody's decision, and we change nothing. [`obstacles`] says which chain drops and
//!   what to type.
//!
//! Chains of iptables-legacy are not visible to `nf_tables` and so not to us.

use crate::firewall::edit_consistently;
use crate::nftables::{self as nft, Meta, Register, Rule};
use crate::{Bridge, NetworkError};
use rustix::io::Errno;
use sys::netlink::{Attributes, Batch, Socket, attributes};

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";

/// A chain of the host's that drops forwarded packets unless a rule in it lets them through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The table's family: `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

impl Obstacle {
    /// Returns what an administrator can type to let a bridge's packets through.
    pub fn remedy(&self, bridge: &Bridge) -> [String; 2] {
        ["iifname", "oifname"].map(|side| {
            format!(
                "nft insert rule {} {} {} {side} {} accept",
                self.family, self.table, self.chain, bridge.name
            )
        })
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "chain {} of the host's firewall table {} {} drops forwarded packets by default",
            self.chain, self.family, self.table
        )
    }
}

/// Returns the families in which a bridge's packets pass: Docker has a chain in each.
fn families(bridge: &Bridge) -> &'static [u8] {
    if bridge.ipv6.is_some() {
        &[nft::IPV4, nft::IPV6]
    } else {
        &[nft::IPV4]
    }
}

/// Adds the questions whether the chain is there, by family.
pub(crate) fn look_for_docker_user(batch: &mut Batch, bridge: &Bridge) {
    for &family in families(bridge) {
        look_in(batch, family);
    }
}

fn look_in(batch: &mut Batch, family: u8) {
    nft::get(batch, family, nft::GETCHAIN, |list| {
        list.text(nft::CHAIN_TABLE, TABLE).text(nft::CHAIN_NAME, CHAIN);
    });
}

/// Lets a bridge's packets through `DOCKER-USER`, if they are not let through yet.
pub(crate) fn open(socket: &mut Socket, bridge: &Bridge) -> Result<(), NetworkError> {
    edit_consistently(socket, TABLE, |socket, batch| {
        let sides = [Meta::IncomingName, Meta::OutgoingName];
        let mut changes = false;
        for &family in families(bridge) {
            let Some(there) = handles(socket, bridge, family)? else {
                continue;
            };
            if there.len() == sides.len() {
                continue;
            }
            changes = true;
            delete_rules(batch, family, &there);
            for side in sides {
                nft::make(batch, family, nft::NEWRULE, |list| {
                    name_chain(list);
                    list.nest(nft::RULE_EXPRESSIONS, |expressions| {
                        let mut rule = Rule(expressions);
                        rule.meta(side, Register::at(0))
                            .equals(&nft::link_name(&bridge.name))
                            .accept();
                    })
                    .bytes(nft::RULE_USERDATA, &mark(bridge));
                });
            }
        }
        Ok(changes)
    })
}

/// Takes the rules of [`open`] away, where there are any.
pub(crate) fn close(socket: &mut Socket, bridge: &Bridge) -> Result<(), NetworkError> {
    edit_consistently(socket, TABLE, |socket, batch| {
        let mut changes = false;
        for &family in families(bridge) {
            let there = handles(socket, bridge, family)?.unwrap_or_default();
            delete_rules(batch, family, &there);
            changes |= !there.is_empty();
        }
        Ok(changes)
    })
}

fn mark(bridge: &Bridge) -> Vec<u8> {
    nft::comment(&format!("coracle {} {}", bridge.table, bridge.name))
}

fn name_chain(list: &mut Attributes<'_>) {
    list.text(nft::RULE_TABLE, TABLE).text(nft::RULE_CHAIN, CHAIN);
}

fn delete_rules(batch: &mut Batch, family: u8, handles: &[u64]) {
    for &handle in handles {
        nft::delete(batch, family, nft::DELRULE, |list| {
            name_chain(list);
            list.big_endian_64(nft::RULE_HANDLE, handle);
        });
    }
}

/// Returns the numbers of our rules; `None` without the chain.
fn handles(socket: &mut Socket, bridge: &Bridge, family: u8) -> Result<Option<Vec<u64>>, NetworkError> {
    // Asked for first: a list of rules of a chain that does not exist is empty, not an error.
    let mut batch = Batch::new();
    look_in(&mut batch, family);
    for answer in socket.exchange(batch)? {
        match answer.refusal {
            Some(refusal) if refusal.errno == Errno::NOENT => return Ok(None),
            Some(refusal) => return Err(NetworkError::refused("read firewall chain", CHAIN)(refusal)),
            None => {}
        }
    }
    let replies = socket
        .dump(nft::kind(nft::GETRULE), &nft::header(family), name_chain)?
        .map_err(NetworkError::refused("list rules of chain", CHAIN))?;
    let mark = mark(bridge);
    Ok(Some(
        replies
            .iter()
            .filter_map(|reply| {
                let list = attributes(reply.payload.get(nft::HEADER..)?);
                let ours = list.clone().first(nft::RULE_USERDATA)?.value == mark;
                let handle = list.first(nft::RULE_HANDLE)?.big_endian_64()?;
                ours.then_some(handle)
            })
            .collect(),
    ))
}

/// Lists the chains of the host that drop forwarded packets of the bridge's versions of IP by default, and that we do not pass otherwise.
pub(crate) fn obstacles(socket: &mut Socket, bridge: &Bridge) -> Result<Vec<Obstacle>, NetworkError> {
    let replies = socket
        .dump(nft::kind(nft::GETCHAIN), &nft::header(0), |_| {})?
        .map_err(NetworkError::refused("list", "firewall chains"))?;
    let mut passed = Vec::new();
    for &family in families(bridge) {
        if handles(socket, bridge, family)?.is_some_and(|rules| !rules.is_empty()) {
            passed.push(family);
        }
    }
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let number = *reply.payload.first()?;
            let family = match number {
                nft::IPV4 => "ip",
                nft::IPV6 if bridge.ipv6.is_some() => "ip6",
                nft::INET => "inet",
                _ => return None,
            };
            let list = attributes(reply.payload.get(nft::HEADER..)?);
            let hook = list
                .clone()
                .first(nft::CHAIN_HOOK)?
                .nested()
                .first(nft::HOOK_NUMBER)?
                .big_endian()?;
            let policy = list.clone().first(nft::CHAIN_POLICY)?.big_endian()?;
            let table = list.clone().first(nft::CHAIN_TABLE)?.text()?.to_owned();
            let chain = list.first(nft::CHAIN_NAME)?.text()?.to_owned();
            let passable = passed.contains(&number) && table == TABLE;
            (hook == nft::FORWARD && policy == nft::POLICY_DROP && table != bridge.table && !passable)
                .then_some(Obstacle { family, table, chain })
        })
        .collect())
}
