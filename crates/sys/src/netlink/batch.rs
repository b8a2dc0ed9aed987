//! Building messages: a buffer of requests, attributes nested to any depth, lengths checked.

use super::{ACK, HEADER, NetlinkError, REQUEST, align};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` and `NFNL_BATCH_GENID`.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;

/// Marks an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;

/// Messages that are sent with one call.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    too_long: bool,
    transaction: bool,
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the beginning of a transaction of a netfilter subsystem: all of it is done or nothing is. With
    /// `generation`, only if nothing has been changed since that number was read; otherwise it is refused with
    /// `ERESTART`. Finish it with [`Batch::commit`].
    pub fn transaction(subsystem: u8, generation: Option<u32>) -> Self {
        let mut batch = Self {
            transaction: true,
            ..Self::default()
        };
        batch.message(BATCH_BEGIN, 0, &[0, 0, 0, subsystem], |list| {
            if let Some(number) = generation {
                list.big_endian(BATCH_GENERATION, number);
            }
        });
        batch
    }

    /// Ends a transaction. Its last message is acknowledged, and every message that fails is heard of.
    pub fn commit(&mut self, subsystem: u8) {
        if let Some(&start) = self.starts.last() {
            let flags = self.flags(self.starts.len() - 1) | ACK;
            self.bytes[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        }
        self.message(BATCH_END, 0, &[0, 0, 0, subsystem], |_| {});
    }

    /// Says whether this is a transaction, whose beginning can be refused for the whole.
    pub(super) fn is_transaction(&self) -> bool {
        self.transaction
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Says whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Appends one message: its type, flags beside `NLM_F_REQUEST`, its fixed header (`struct ifinfomsg` and the
    /// like) and the attributes that `fill` adds. Returns the message's place, which is its answer's place too.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> usize {
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        fill(&mut Attributes {
            bytes: &mut self.bytes,
            too_long: &mut self.too_long,
        });
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.starts.len() - 1
    }

    /// Numbers the messages from `first` on and returns the bytes to send.
    pub(super) fn numbered(&mut self, first: u32) -> Result<&[u8], NetlinkError> {
        if self.too_long {
            return Err(NetlinkError::TooLong);
        }
        let mut number = first;
        for &start in &self.starts {
            self.bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
            number = number.wrapping_add(1);
        }
        Ok(&self.bytes)
    }

    /// Returns the flags of the message at `place`.
    pub(super) fn flags(&self, place: usize) -> u16 {
        let start = self.starts[place] + 6;
        u16::from_ne_bytes([self.bytes[start], self.bytes[start + 1]])
    }
}

/// The attributes of one message or of one nest. A value that does not fit makes the whole batch unsendable, so that
/// the calls here need no error of their own.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
    too_long: &'a mut bool,
}

impl Attributes<'_> {
    /// Adds raw bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.framed(kind, |attributes| attributes.bytes.extend_from_slice(value))
    }

    /// Adds a string with its final NUL.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.framed(kind, |attributes| {
            attributes.bytes.extend_from_slice(value.as_bytes());
            attributes.bytes.push(0);
        })
    }

    /// Adds one byte.
    pub fn byte(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// Adds a number in the machine's order, as rtnetlink has them.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network order, as netfilter has them.
    pub fn big_endian(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a number of 64 bits in network order.
    pub fn big_endian_64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds those that `fill` adds.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.nest_behind(kind, &[], fill)
    }

    /// Adds an attribute that holds a fixed structure and then attributes, as `VETH_INFO_PEER` does.
    pub fn nest_behind(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        self.framed(kind | NESTED, |attributes| {
            attributes.bytes.extend_from_slice(header);
            pad(attributes.bytes);
            fill(attributes);
        })
    }

    fn framed(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Attributes {
            bytes: self.bytes,
            too_long: self.too_long,
        });
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => *self.too_long = true,
        }
        pad(self.bytes);
        self
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(align(bytes.len()), 0);
}

/// The length of `struct nlmsghdr` as built above must be the one that answers are read with.
const _: () = assert!(HEADER == 4 + 2 + 2 + 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attributes;

    #[test]
    fn a_message_has_the_layout_of_netlink_7() {
        let mut batch = Batch::new();
        let place = batch.message(0x1234, ACK, &[9, 9], |list| {
            list.text(1, "lo")
                .nest(2, |inner| {
                    inner.number(3, 7);
                })
                .byte(4, 5);
        });
        assert_eq!(place, 0);
        let bytes = batch.numbered(77).unwrap();
        let mut expected = Vec::new();
        expected.extend_from_slice(&48u32.to_ne_bytes());
        expected.extend_from_slice(&0x1234u16.to_ne_bytes());
        expected.extend_from_slice(&5u16.to_ne_bytes());
        expected.extend_from_slice(&77u32.to_ne_bytes());
        expected.extend_from_slice(&[0; 4]);
        expected.extend_from_slice(&[9, 9, 0, 0]);
        expected.extend_from_slice(&[7, 0, 1, 0, b'l', b'o', 0, 0]);
        expected.extend_from_slice(&[12, 0, 2, 0x80, 8, 0, 3, 0, 7, 0, 0, 0]);
        expected.extend_from_slice(&[5, 0, 4, 0, 5, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn messages_are_numbered_in_order() {
        let mut batch = Batch::new();
        for kind in 0..3 {
            batch.message(kind, 0, &[], |_| {});
        }
        let bytes = batch.numbered(u32::MAX).unwrap().to_vec();
        let numbers: Vec<u32> = bytes
            .chunks(16)
            .map(|header| u32::from_ne_bytes(header[8..12].try_into().unwrap()))
            .collect();
        assert_eq!(numbers, [u32::MAX, 0, 1]);
    }

    /// CVE-2021-43784: a length beyond 16 bits must not wrap.
    #[test]
    fn an_attribute_that_does_not_fit_is_not_sent() {
        for length in [65_531, 65_532, 65_536, 200_000] {
            let value = vec![0; length];
            let mut plain = Batch::new();
            plain.message(1, 0, &[], |list| {
                list.bytes(1, &value);
            });
            assert_eq!(plain.numbered(1).is_ok(), length <= 65_531, "{length}");
        }
        let half = vec![0; 40_000];
        let mut nested = Batch::new();
        nested.message(1, 0, &[], |list| {
            list.nest(1, |inner| {
                inner.bytes(2, &half).bytes(3, &half);
            });
        });
        assert!(matches!(nested.numbered(1), Err(NetlinkError::TooLong)));
    }

    #[test]
    fn what_is_built_can_be_read_back() {
        let mut batch = Batch::new();
        batch.message(1, 0, &[], |list| {
            list.text(1, "eth0").number(2, 1400).nest(3, |inner| {
                inner.big_endian(1, 0x0102_0304);
            });
        });
        let bytes = batch.numbered(1).unwrap();
        let read: Vec<_> = attributes(&bytes[HEADER..]).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].text(), Some("eth0"));
        assert_eq!(read[1].number(), Some(1400));
        assert_eq!((read[2].kind, read[2].nested().count()), (3, 1));
        assert_eq!(read[2].nested().next().unwrap().big_endian(), Some(0x0102_0304));
    }
}
