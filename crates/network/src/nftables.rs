//! `nf_tables` messages and expressions: the numbers of `linux/netfilter/nf_tables.h` and a builder for rules. What
//! rules there are is told in `firewall.rs`.

use sys::netlink::{ACK, Attributes, Batch, CREATE};

/// `NFNL_SUBSYS_NFTABLES`.
pub(crate) const SUBSYSTEM: u8 = 10;
/// Families of tables.
pub(crate) const INET: u8 = 1;
pub(crate) const IPV4: u8 = 2;
pub(crate) const IPV6: u8 = 10;

pub(crate) const NEWTABLE: u8 = 0;
pub(crate) const GETTABLE: u8 = 1;
pub(crate) const DELTABLE: u8 = 2;
pub(crate) const NEWCHAIN: u8 = 3;
pub(crate) const GETCHAIN: u8 = 4;
pub(crate) const DELCHAIN: u8 = 5;
pub(crate) const NEWRULE: u8 = 6;
pub(crate) const GETRULE: u8 = 7;
pub(crate) const DELRULE: u8 = 8;
pub(crate) const NEWSET: u8 = 9;
pub(crate) const DELSET: u8 = 11;
pub(crate) const NEWSETELEM: u8 = 12;
pub(crate) const GETSETELEM: u8 = 13;
pub(crate) const DELSETELEM: u8 = 14;
pub(crate) const NEWGEN: u8 = 15;
pub(crate) const GETGEN: u8 = 16;

pub(crate) const TABLE_NAME: u16 = 1;
pub(crate) const TABLE_FLAGS: u16 = 2;
pub(crate) const TABLE_USERDATA: u16 = 6;
pub(crate) const CHAIN_TABLE: u16 = 1;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const CHAIN_USE: u16 = 6;
pub(crate) const CHAIN_TYPE: u16 = 7;
pub(crate) const HOOK_NUMBER: u16 = 1;
pub(crate) const HOOK_PRIORITY: u16 = 2;
pub(crate) const RULE_TABLE: u16 = 1;
pub(crate) const RULE_CHAIN: u16 = 2;
pub(crate) const RULE_HANDLE: u16 = 3;
pub(crate) const RULE_EXPRESSIONS: u16 = 4;
pub(crate) const RULE_USERDATA: u16 = 7;
pub(crate) const SET_TABLE: u16 = 1;
pub(crate) const SET_NAME: u16 = 2;
pub(crate) const SET_FLAGS: u16 = 3;
pub(crate) const SET_KEY_TYPE: u16 = 4;
pub(crate) const SET_KEY_LENGTH: u16 = 5;
pub(crate) const SET_DATA_TYPE: u16 = 6;
pub(crate) const SET_DATA_LENGTH: u16 = 7;
pub(crate) const SET_ID: u16 = 10;
pub(crate) const SET_USERDATA: u16 = 13;
pub(crate) const ELEMENTS_TABLE: u16 = 1;
pub(crate) const ELEMENTS_SET: u16 = 2;
pub(crate) const ELEMENTS_LIST: u16 = 3;
pub(crate) const ELEMENT_KEY: u16 = 1;
pub(crate) const ELEMENT_DATA: u16 = 2;
pub(crate) const ELEMENT_FLAGS: u16 = 3;
pub(crate) const GENERATION_ID: u16 = 1;

pub(crate) const SET_INTERVAL: u32 = 0x4;
pub(crate) const SET_MAP: u32 = 0x8;
pub(crate) const INTERVAL_END: u32 = 0x1;

/// Numbers of netfilter's hooks.
pub(crate) const PREROUTING: u32 = 0;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;
pub(crate) const POLICY_DROP: u32 = 0;

/// The one member of a list of elements or expressions.
pub(crate) const LIST_ELEMENT: u16 = 1;
pub(crate) const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

/// Bytes of `struct nfgenmsg`.
pub(crate) const HEADER: usize = 4;

/// Returns the message type of an `nf_tables` message.
pub(crate) fn kind(message: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, message])
}

/// Returns `struct nfgenmsg` for a family.
pub(crate) fn header(family: u8) -> [u8; HEADER] {
    [family, 0, 0, 0]
}

/// Adds a request to read one object.
pub(crate) fn get(
    batch: &mut Batch,
    family: u8,
    message: u8,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> usize {
    batch.message(kind(message), ACK, &header(family), fill)
}

/// Adds a request to read one object, for a batch that ends with a [`get`]: it is answered by the object or an error,
/// without an acknowledgement of its own.
pub(crate) fn ask(
    batch: &mut Batch,
    family: u8,
    message: u8,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> usize {
    batch.message(kind(message), 0, &header(family), fill)
}

/// Adds a request to make or change one object, inside a transaction.
pub(crate) fn make(
    batch: &mut Batch,
    family: u8,
    message: u8,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> usize {
    batch.message(kind(message), CREATE, &header(family), fill)
}

/// Adds a request to delete, inside a transaction.
pub(crate) fn delete(
    batch: &mut Batch,
    family: u8,
    message: u8,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> usize {
    batch.message(kind(message), 0, &header(family), fill)
}

/// Returns a comment as nft(8) keeps it in the user data of tables and rules: type, length, text, NUL.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut bytes = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// A register of 4 bytes; four of them make one of the old kind. Values longer than 4 bytes span several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Register(u32);

impl Register {
    /// `NFT_REG32_00 + place`.
    pub(crate) const fn at(place: u32) -> Self {
        Self(8 + place)
    }

    const VERDICT: Self = Self(0);
    const FIRST: Self = Self::at(0);
}

/// What a packet is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    IncomingName = 6,
    OutgoingName = 7,
    Family = 15,
    Transport = 16,
}

/// The expressions of one rule, in order. Each ends the rule if it does not match.
#[derive(Debug)]
pub(crate) struct Rule<'a, 'b>(pub(crate) &'a mut Attributes<'b>);

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(LIST_ELEMENT, |element| {
            element.text(1, name).nest(2, fill);
        });
        self
    }

    /// Loads a property of the packet.
    pub(crate) fn meta(&mut self, what: Meta, into: Register) -> &mut Self {
        self.expression("meta", |list| {
            list.big_endian(1, into.0).big_endian(2, what as u32);
        })
    }

    /// Loads a value that is known beforehand.
    pub(crate) fn value(&mut self, value: &[u8], into: Register) -> &mut Self {
        self.expression("immediate", |list| {
            list.big_endian(1, into.0).nest(2, |data| {
                data.bytes(DATA_VALUE, value);
            });
        })
    }

    fn compare(&mut self, operation: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |list| {
            list.big_endian(1, Register::FIRST.0)
                .big_endian(2, operation)
                .nest(3, |data| {
                    data.bytes(DATA_VALUE, value);
                });
        })
    }

    /// Goes on if the first register holds `value`.
    pub(crate) fn equals(&mut self, value: &[u8]) -> &mut Self {
        self.compare(0, value)
    }

    /// Goes on if the first register holds anything but `value`.
    pub(crate) fn differs(&mut self, value: &[u8]) -> &mut Self {
        self.compare(1, value)
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, into: Register) -> &mut Self {
        self.expression("payload", |list| {
            list.big_endian(1, into.0)
                .big_endian(2, base)
                .big_endian(3, offset)
                .big_endian(4, length);
        })
    }

    /// Goes on for IPv4.
    pub(crate) fn ipv4(&mut self) -> &mut Self {
        self.meta(Meta::Family, Register::FIRST).equals(&[IPV4])
    }

    /// Goes on for IPv6.
    pub(crate) fn ipv6(&mut self) -> &mut Self {
        self.meta(Meta::Family, Register::FIRST).equals(&[IPV6])
    }

    /// Loads the first `length` bytes of the IPv4 source address.
    pub(crate) fn source(&mut self, length: u32, into: Register) -> &mut Self {
        self.payload(1, 12, length, into)
    }

    /// Loads the first `length` bytes of the IPv4 destination address.
    pub(crate) fn destination(&mut self, length: u32, into: Register) -> &mut Self {
        self.payload(1, 16, length, into)
    }

    /// Loads the IPv6 source address, into four registers.
    pub(crate) fn source6(&mut self, into: Register) -> &mut Self {
        self.payload(1, 8, 16, into)
    }

    /// Loads the IPv6 destination address, into four registers.
    pub(crate) fn destination6(&mut self, into: Register) -> &mut Self {
        self.payload(1, 24, 16, into)
    }

    /// Loads the destination port; it is at the same place in TCP, UDP and SCTP.
    pub(crate) fn destination_port(&mut self, into: Register) -> &mut Self {
        self.payload(2, 2, 2, into)
    }

    /// Goes on if the destination is an address of this host (`fib daddr type local`).
    pub(crate) fn destination_is_local(&mut self) -> &mut Self {
        const RESULT_ADDRESS_TYPE: u32 = 3;
        const BY_DESTINATION: u32 = 2;
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |list| {
            list.big_endian(1, Register::FIRST.0)
                .big_endian(2, RESULT_ADDRESS_TYPE)
                .big_endian(3, BY_DESTINATION);
        })
        .equals(&RTN_LOCAL.to_ne_bytes())
    }

    fn tracked(&mut self, key: u32, mask: u32) -> &mut Self {
        self.expression("ct", |list| {
            list.big_endian(1, Register::FIRST.0).big_endian(2, key);
        })
        .expression("bitwise", |list| {
            list.big_endian(1, Register::FIRST.0)
                .big_endian(2, Register::FIRST.0)
                .big_endian(3, 4)
                .nest(4, |data| {
                    data.bytes(DATA_VALUE, &mask.to_ne_bytes());
                })
                .nest(5, |data| {
                    data.bytes(DATA_VALUE, &[0; 4]);
                });
        })
        .differs(&[0; 4])
    }

    /// Goes on for packets of known connections and for errors about them.
    pub(crate) fn established_or_related(&mut self) -> &mut Self {
        self.tracked(0, 0b110)
    }

    /// Goes on for connections whose destination was translated.
    pub(crate) fn destination_was_translated(&mut self) -> &mut Self {
        const IPS_DST_NAT: u32 = 1 << 5;
        self.tracked(2, IPS_DST_NAT)
    }

    /// Goes on if the registers from the first on are in a set.
    pub(crate) fn is_in(&mut self, set: &str) -> &mut Self {
        self.expression("lookup", |list| {
            list.text(1, set).big_endian(2, Register::FIRST.0);
        })
    }

    /// Goes on if they are not.
    pub(crate) fn is_not_in(&mut self, set: &str) -> &mut Self {
        self.expression("lookup", |list| {
            list.text(1, set)
                .big_endian(2, Register::FIRST.0)
                .big_endian(5, 1);
        })
    }

    /// Replaces the registers by what a map has for them.
    pub(crate) fn mapped_by(&mut self, map: &str) -> &mut Self {
        self.expression("lookup", |list| {
            list.text(1, map)
                .big_endian(2, Register::FIRST.0)
                .big_endian(3, Register::FIRST.0);
        })
    }

    /// Sends the connection to the IPv4 address in the first register and the port in the second.
    pub(crate) fn translate_destination(&mut self) -> &mut Self {
        self.translate(IPV4, Register::at(1))
    }

    /// Sends the connection to the IPv6 address in the first four registers and the port in the fifth.
    pub(crate) fn translate_destination6(&mut self) -> &mut Self {
        self.translate(IPV6, Register::at(4))
    }

    fn translate(&mut self, family: u8, port: Register) -> &mut Self {
        const DESTINATION: u32 = 1;
        self.expression("nat", |list| {
            list.big_endian(1, DESTINATION)
                .big_endian(2, u32::from(family))
                .big_endian(3, Register::FIRST.0)
                .big_endian(5, port.0);
        })
    }

    /// Gives the connection the outgoing link's address as its source.
    pub(crate) fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| {})
    }

    fn verdict(&mut self, code: u32) -> &mut Self {
        self.expression("immediate", |list| {
            list.big_endian(1, Register::VERDICT.0).nest(2, |data| {
                data.nest(DATA_VERDICT, |verdict| {
                    verdict.big_endian(VERDICT_CODE, code);
                });
            });
        })
    }

    /// Lets the packet through this chain; chains of others still see it.
    pub(crate) fn accept(&mut self) -> &mut Self {
        self.verdict(1)
    }

    /// Drops the packet.
    pub(crate) fn drop(&mut self) -> &mut Self {
        self.verdict(0)
    }
}

/// The most bytes that a link's name can have (`IFNAMSIZ - 1`).
pub(crate) const LINK_NAME: usize = 15;

/// Returns a link's name as rules compare it: 16 bytes, filled with NUL.
pub(crate) fn link_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(LINK_NAME);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}
