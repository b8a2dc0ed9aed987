//! Reading attributes. Nothing here trusts a length that it reads.

use super::align;

/// The bits of an attribute's type that are not flags (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;

/// One attribute of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the flags for nesting and byte order.
    pub kind: u16,
    /// What it holds.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Returns the string up to the first NUL, if it is UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        let end = self
            .value
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).ok()
    }

    /// Returns a number in the machine's order.
    pub fn number(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.get(..4)?.try_into().ok()?))
    }

    /// Returns a number in network order.
    pub fn big_endian(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.get(..4)?.try_into().ok()?))
    }

    /// Returns a number of 64 bits in network order.
    pub fn big_endian_64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.get(..8)?.try_into().ok()?))
    }

    /// Returns the attributes that it holds.
    pub fn nested(&self) -> AttributeIter<'a> {
        attributes(self.value)
    }
}

/// Reads attributes from bytes; stops at the first that does not fit.
pub fn attributes(bytes: &[u8]) -> AttributeIter<'_> {
    AttributeIter { rest: bytes }
}

/// The attributes in a piece of a message, in order.
#[derive(Debug, Clone)]
pub struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> AttributeIter<'a> {
    /// Returns the first attribute of this type.
    pub fn first(mut self, kind: u16) -> Option<Attribute<'a>> {
        self.find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(self.rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..4)?.try_into().ok()?) & KIND;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lengths_end_the_list() {
        let cases: &[(&[u8], usize)] = &[
            (&[], 0),
            (&[4], 0),
            (&[4, 0, 1, 0], 1),
            (&[3, 0, 1, 0], 0),
            (&[0, 0, 1, 0, 4, 0, 1, 0], 0),
            (&[9, 0, 1, 0, 1, 2, 3, 4], 0),
            (&[5, 0, 1, 0, 1], 1),
            (&[5, 0, 1, 0, 1, 0, 0, 0, 255, 255, 1, 0], 1),
            (&[5, 0, 1, 0, 1, 0, 0, 0, 4, 0, 2, 0x80], 2),
        ];
        for (bytes, count) in cases {
            assert_eq!(attributes(bytes).count(), *count, "{bytes:?}");
        }
    }

    #[test]
    fn short_values_are_not_numbers() {
        let attribute = Attribute {
            kind: 1,
            value: &[1, 2, 3],
        };
        assert_eq!(attribute.number(), None);
        assert_eq!(attribute.big_endian(), None);
        assert_eq!(attribute.big_endian_64(), None);
    }

    #[test]
    fn flags_are_not_part_of_the_kind() {
        let bytes = [4, 0, 2, 0xc0];
        assert_eq!(attributes(&bytes).first(2).map(|found| found.kind), Some(2));
    }
}
