//! The one table of this root: a constant rule set, and sets and maps with an element per bridge and published port.
//!
//! ```text
//! table inet <table>
//!   set bridges      { ifname }                 our bridges
//!   set within       { ifname . ifname }        (b, b) for each of them
//!   set subnets      { ipv4_addr, intervals }   their subnets
//!   map published    { protocol . port -> address . port }              on all of the host's addresses
//!   map published_at { address . protocol . port -> address . port }    on one of them
//!   chain guard       raw prerouting   containers cannot reach the host's 127.0.0.0/8
//!   chain prerouting  dstnat           published ports, for packets that arrive
//!   chain output      dstnat           published ports, for the host's own packets
//!   chain forward     filter           into a bridge: answers, translated, bridge to itself; nothing else
//!   chain postrouting srcnat           masquerade
//! ```
//!
//! Everything is one transaction, so there is no moment with half of the rules (compare moby CVE-2025-54388, where
//! isolation was lost while a host's firewall reloaded). Our chains only ever drop what goes *into* our bridges;
//! the host's other traffic passes them untouched. What the host's own chains drop stays dropped: see `passage.rs`.

use crate::nftables::{self as nft, Meta, Register, Rule};
use crate::{Bridge, NetworkError, Protocol, Published, PublishedPort};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};
use sys::netlink::{Attributes, Batch, Refusal, Reply, Socket, attributes};

/// Changes whenever a chain, rule or set does, so that another version's table is replaced.
const LAYOUT: &str = "Coracle, layout 1";

const BRIDGES: &str = "bridges";
const WITHIN: &str = "within";
const SUBNETS: &str = "subnets";
const PUBLISHED: &str = "published";
const PUBLISHED_AT: &str = "published_at";

/// nft(8)'s numbers of data types; they only tell it how to print. A concatenation shifts by 6 bits.
const TYPE_IPV4: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_LINK: u32 = 41;
const TYPE_TARGET: u32 = (TYPE_IPV4 << 6) | TYPE_PORT;

/// Elements in one message: an attribute holds 64 KiB, an element takes about 60 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;
/// How often an edit starts over because somebody else's came between reading and writing.
const ATTEMPTS: usize = 200;

/// `NFT_SET_*` and sizes of one set.
struct Set {
    name: &'static str,
    id: u32,
    flags: u32,
    key_type: u32,
    key_length: u32,
    /// Type and length of what a map leads to.
    data: Option<(u32, u32)>,
    /// Keys are in network order; otherwise in the machine's.
    big_endian: bool,
}

const SETS: [Set; 5] = [
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
];

/// A chain, where it hooks in, and its rules.
struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
    rules: &'static [fn(&mut Rule<'_, '_>)],
}

const CHAINS: [Chain; 5] = [
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
        rules: &[pass_others, pass_known, pass_translated, pass_within, drop_rest],
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

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    key: Vec<u8>,
    data: Option<Vec<u8>>,
    flags: u32,
}

impl Element {
    fn of(key: &[u8]) -> Self {
        Self {
            key: key.to_vec(),
            data: None,
            flags: 0,
        }
    }
}

/// Returns the elements that stand for a bridge, with their sets.
fn elements_of(bridge: &Bridge) -> Vec<(&'static str, Element)> {
    let name = nft::link_name(&bridge.name);
    let mut elements = vec![
        (BRIDGES, Element::of(&name)),
        (WITHIN, Element::of(&[name, name].concat())),
        (SUBNETS, Element::of(&bridge.subnet.network().octets())),
    ];
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
    for set in [BRIDGES, WITHIN, SUBNETS] {
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

/// Adds messages that add or delete elements of one set.
fn edit(batch: &mut Batch, message: u8, table: &str, set: &str, elements: &[Element]) {
    for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
        let fill = |list: &mut Attributes<'_>| name_elements(list, table, set, some);
        if message == nft::NEWSETELEM {
            nft::make(batch, nft::INET, message, fill);
        } else {
            nft::delete(batch, nft::INET, message, fill);
        }
    }
}

fn name_elements(list: &mut Attributes<'_>, table: &str, set: &str, elements: &[Element]) {
    list.text(nft::ELEMENTS_TABLE, table)
        .text(nft::ELEMENTS_SET, set)
        .nest(nft::ELEMENTS_LIST, |all| {
            for element in elements {
                all.nest(nft::LIST_ELEMENT, |one| {
                    one.nest(nft::ELEMENT_KEY, |key| {
                        key.bytes(nft::DATA_VALUE, &element.key);
                    });
                    if let Some(value) = &element.data {
                        one.nest(nft::ELEMENT_DATA, |data| {
                            data.bytes(nft::DATA_VALUE, value);
                        });
                    }
                    if element.flags != 0 {
                        one.big_endian(nft::ELEMENT_FLAGS, element.flags);
                    }
                });
            }
        });
}

/// Lists the elements of a set; none if there is no such table.
fn elements(socket: &mut Socket, table: &str, set: &str) -> Result<Vec<Element>, NetworkError> {
    let listed = socket.dump(nft::kind(nft::GETSETELEM), &nft::header(nft::INET), |list| {
        list.text(nft::ELEMENTS_TABLE, table).text(nft::ELEMENTS_SET, set);
    })?;
    let replies = match listed {
        Ok(replies) => replies,
        Err(refusal) if refusal.errno == Errno::NOENT => return Ok(Vec::new()),
        Err(refusal) => return Err(NetworkError::refused("list firewall set", set)(refusal)),
    };
    Ok(replies
        .iter()
        .filter_map(|reply| attributes(reply.payload.get(nft::HEADER..)?).first(nft::ELEMENTS_LIST))
        .flat_map(|list| list.nested())
        .filter_map(|element| {
            let value = |kind| {
                Some(
                    element
                        .nested()
                        .first(kind)?
                        .nested()
                        .first(nft::DATA_VALUE)?
                        .value
                        .to_vec(),
                )
            };
            Some(Element {
                key: value(nft::ELEMENT_KEY)?,
                data: value(nft::ELEMENT_DATA),
                flags: element
                    .nested()
                    .first(nft::ELEMENT_FLAGS)
                    .and_then(|flags| flags.big_endian())
                    .unwrap_or(0),
            })
        })
        .collect())
}

/// Returns the number that every change of any table increases.
pub(crate) fn generation(socket: &mut Socket) -> Result<u32, NetworkError> {
    let mut batch = Batch::new();
    nft::get(&mut batch, 0, nft::GETGEN, |_| {});
    let answers = socket.exchange(batch)?;
    for answer in answers {
        if let Some(refusal) = answer.refusal {
            return Err(NetworkError::refused("read generation of", "nf_tables")(refusal));
        }
        let number = answer.replies.first().and_then(|reply| {
            attributes(reply.payload.get(nft::HEADER..)?)
                .first(nft::GENERATION_ID)?
                .big_endian()
        });
        if let Some(number) = number {
            return Ok(number);
        }
    }
    Err(NetworkError::Netlink(sys::netlink::NetlinkError::Malformed))
}

/// Reads, decides and writes as if at once: `plan` adds what is to be done to a transaction that is refused if
/// anything was changed since it began to read, and then it starts over. Nothing is sent if it says `false`.
pub(crate) fn edit_consistently(
    socket: &mut Socket,
    table: &str,
    mut plan: impl FnMut(&mut Socket, &mut Batch) -> Result<bool, NetworkError>,
) -> Result<(), NetworkError> {
    for _ in 0..ATTEMPTS {
        let generation = generation(socket)?;
        let mut batch = Batch::transaction(nft::SUBSYSTEM, Some(generation));
        if !plan(socket, &mut batch)? {
            return Ok(());
        }
        batch.commit(nft::SUBSYSTEM);
        match socket.transact(batch)? {
            Ok(()) => return Ok(()),
            Err(refusal) if refusal.errno == RESTART => {}
            Err(refusal) => return Err(NetworkError::refused("write firewall table", table)(refusal)),
        }
    }
    Err(NetworkError::Busy {
        table: table.to_owned(),
    })
}

/// `ERESTART`: the rules are not those of the generation that was named.
const RESTART: Errno = Errno::from_raw_os_error(85);

/// Publishes ports. One that is published already belongs to a dead endpoint, since the caller holds the port, and
/// is led to the new one.
pub(crate) fn publish(socket: &mut Socket, table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    let wanted = ports.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    if wanted.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::transaction(nft::SUBSYSTEM, None);
    edit_maps(&mut batch, nft::NEWSETELEM, table, &wanted);
    batch.commit(nft::SUBSYSTEM);
    match socket.transact(batch)? {
        Ok(()) => return Ok(()),
        Err(refusal) if is_clash(&refusal) => {}
        Err(refusal) => return Err(NetworkError::refused("publish ports in table", table)(refusal)),
    }
    edit_consistently(socket, table, |socket, batch| {
        let there = all_published(socket, table)?;
        let clashing: Vec<_> = there
            .into_iter()
            .filter(|(map, element)| {
                wanted
                    .iter()
                    .any(|(other, want)| map == other && element.key == want.key)
            })
            .collect();
        edit_maps(batch, nft::DELSETELEM, table, &clashing);
        edit_maps(batch, nft::NEWSETELEM, table, &wanted);
        Ok(true)
    })
}

/// The kernel says one or the other, by version.
fn is_clash(refusal: &Refusal) -> bool {
    refusal.errno == Errno::EXIST || refusal.errno == Errno::BUSY
}

/// Takes ports back, those of them that still lead where they are said to: a port may have been published again for
/// another endpoint.
pub(crate) fn unpublish(socket: &mut Socket, table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    // A port that could not be encoded was never published.
    let unwanted: Vec<_> = ports.iter().filter_map(|port| encode(port).ok()).collect();
    if unwanted.is_empty() {
        return Ok(());
    }
    edit_consistently(socket, table, |socket, batch| {
        let mut there = all_published(socket, table)?;
        there.retain(|element| unwanted.contains(element));
        edit_maps(batch, nft::DELSETELEM, table, &there);
        Ok(!there.is_empty())
    })
}

/// Lists all published ports of a table.
pub(crate) fn published(socket: &mut Socket, table: &str) -> Result<Vec<Published>, NetworkError> {
    Ok(all_published(socket, table)?
        .iter()
        .filter_map(|(_, element)| decode(element))
        .collect())
}

fn all_published(socket: &mut Socket, table: &str) -> Result<Vec<(&'static str, Element)>, NetworkError> {
    let mut all = Vec::new();
    for map in [PUBLISHED, PUBLISHED_AT] {
        all.extend(
            elements(socket, table, map)?
                .into_iter()
                .map(|element| (map, element)),
        );
    }
    Ok(all)
}

fn edit_maps(batch: &mut Batch, message: u8, table: &str, elements: &[(&'static str, Element)]) {
    for map in [PUBLISHED, PUBLISHED_AT] {
        let of_map: Vec<_> = elements
            .iter()
            .filter(|(owner, _)| *owner == map)
            .map(|(_, element)| element.clone())
            .collect();
        edit(batch, message, table, map, &of_map);
    }
}

/// Returns a port's map and element. Each field takes a multiple of 4 bytes.
fn encode(published: &Published) -> Result<(&'static str, Element), NetworkError> {
    let PublishedPort {
        host,
        host_port,
        port,
        protocol,
    } = published.port;
    let IpAddr::V4(host) = host else {
        return Err(NetworkError::Ipv6Port {
            host,
            port: host_port,
        });
    };
    let mut key = Vec::with_capacity(12);
    if !host.is_unspecified() {
        key.extend_from_slice(&host.octets());
    }
    key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    key.extend_from_slice(&port_field(host_port));
    let data = [published.address.octets(), port_field(port)].concat();
    let map = if host.is_unspecified() {
        PUBLISHED
    } else {
        PUBLISHED_AT
    };
    Ok((
        map,
        Element {
            key,
            data: Some(data),
            flags: 0,
        },
    ))
}

fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn decode(element: &Element) -> Option<Published> {
    let (host, rest) = match element.key.as_slice() {
        [a, b, c, d, rest @ ..] if rest.len() == 8 => (Ipv4Addr::new(*a, *b, *c, *d), rest),
        rest => (Ipv4Addr::UNSPECIFIED, rest),
    };
    let [protocol, _, _, _, high, low, _, _] = *rest else {
        return None;
    };
    let [a, b, c, d, port_high, port_low, _, _] = *element.data.as_deref()? else {
        return None;
    };
    Some(Published {
        port: PublishedPort {
            host: IpAddr::V4(host),
            host_port: u16::from_be_bytes([high, low]),
            port: u16::from_be_bytes([port_high, port_low]),
            protocol: Protocol::from_number(protocol)?,
        },
        address: Ipv4Addr::new(a, b, c, d),
    })
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
        for set in [BRIDGES, WITHIN, SUBNETS] {
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

    fn published(host: &str, host_port: u16, protocol: Protocol) -> Published {
        Published {
            port: PublishedPort {
                host: host.parse().unwrap(),
                host_port,
                port: 8080,
                protocol,
            },
            address: Ipv4Addr::new(172, 17, 0, 2),
        }
    }

    #[test]
    fn elements_of_ports_are_read_back_as_written() {
        for (host, map, length) in [("0.0.0.0", PUBLISHED, 8), ("127.0.0.1", PUBLISHED_AT, 12)] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let port = published(host, 80, protocol);
                let (owner, element) = encode(&port).unwrap();
                assert_eq!((owner, element.key.len()), (map, length));
                assert_eq!(decode(&element), Some(port));
            }
        }
    }

    /// As nft(8) writes `127.0.0.1 . tcp . 80 : 172.17.0.2 . 8080`.
    #[test]
    fn fields_are_in_network_order_and_padded() {
        let (_, element) = encode(&published("127.0.0.1", 80, Protocol::Tcp)).unwrap();
        assert_eq!(element.key, [127, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(element.data.unwrap(), [172, 17, 0, 2, 0x1f, 0x90, 0, 0]);
    }

    #[test]
    fn ipv6_is_refused_by_name() {
        let error = encode(&published("::", 80, Protocol::Tcp)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot publish port 80 on ::: ports are published on IPv4 addresses only"
        );
    }

    #[test]
    fn a_subnet_is_an_interval_whose_end_may_be_missing() {
        let mut bridge = Bridge {
            name: "b".to_owned(),
            subnet: "10.1.0.0/16".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 1, 0, 1),
            mtu: 1500,
            table: "t".to_owned(),
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
    }
}
