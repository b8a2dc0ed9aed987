//! Elements of sets: listing and editing them.

use crate::NetworkError;
use crate::nftables as nft;
use rustix::io::Errno;
use sys::netlink::{Attributes, Batch, NetlinkError, Reply, Socket, attributes};

/// Elements in one message: an attribute holds 64 KiB, an element takes about 60 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;
/// How often an edit starts over because somebody else's came between reading and writing.
pub(super) const ATTEMPTS: usize = 200;

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) flags: u32,
}

impl Element {
    pub(super) fn of(key: &[u8]) -> Self {
        Self {
            key: key.to_vec(),
            data: None,
            flags: 0,
        }
    }
}

/// Adds messages that add or delete elements of one set.
pub(super) fn edit(batch: &mut Batch, message: u8, table: &str, set: &str, elements: &[Element]) {
    for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
        let fill = |list: &mut Attributes<'_>| name_elements(list, table, set, some);
        if message == nft::NEWSETELEM {
            nft::make(batch, nft::INET, message, fill);
        } else {
            nft::delete(batch, nft::INET, message, fill);
        }
    }
}

pub(super) fn name_elements(list: &mut Attributes<'_>, table: &str, set: &str, elements: &[Element]) {
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
pub(super) fn elements(socket: &mut Socket, table: &str, set: &str) -> Result<Vec<Element>, NetworkError> {
    let listed = socket.dump(nft::kind(nft::GETSETELEM), &nft::header(nft::INET), |list| {
        list.text(nft::ELEMENTS_TABLE, table).text(nft::ELEMENTS_SET, set);
    })?;
    let replies = match listed {
        Ok(replies) => replies,
        Err(refusal) if refusal.errno == Errno::NOENT => return Ok(Vec::new()),
        Err(refusal) => return Err(NetworkError::refused("list firewall set", set)(refusal)),
    };
    let mut all: Vec<Element> = replies
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
        .collect();
    // The kernel's walk begins anew when the hash table behind a set is resized under it, and lists some twice.
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Returns the number that every change of any table increases.
fn generation(socket: &mut Socket) -> Result<u32, NetworkError> {
    let mut batch = Batch::new();
    nft::get(&mut batch, 0, nft::GETGEN, |_| {});
    let answers = socket.exchange(batch)?;
    for answer in answers {
        if let Some(refusal) = answer.refusal {
            return Err(NetworkError::refused("read generation of", "nf_tables")(refusal));
        }
        if let Some(reply) = answer.replies.first() {
            return generation_in(Some(reply));
        }
    }
    generation_in(None)
}

/// Reads that number from an answer.
pub(super) fn generation_in(reply: Option<&Reply>) -> Result<u32, NetworkError> {
    reply
        .and_then(|reply| {
            attributes(reply.payload.get(nft::HEADER..)?)
                .first(nft::GENERATION_ID)?
                .big_endian()
        })
        .ok_or(NetworkError::Netlink(NetlinkError::Malformed))
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
pub(super) const RESTART: Errno = Errno::from_raw_os_error(85);
