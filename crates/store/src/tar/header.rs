//! One 512-byte header: the v7 fields and the extensions of ustar, GNU and star.

use super::BLOCK;

/// What a header says before extensions are taken into account.
#[derive(Debug)]
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
}

/// Offset and length of a sparse file's data.
type Piece = (u64, u64);

/// Which of the incompatible layouts the second half of the header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Gnu,
    Star,
    Ustar,
    V7,
}

impl<'a> Header<'a> {
    /// Checks the checksum.
    pub(super) fn new(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Self { block };
        let written = header.number(148, 8)?;
        // Some old programs summed signed characters.
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if written != unsigned && written != signed {
            return Err("its checksum is wrong");
        }
        Ok(header)
    }

    pub(super) fn layout(&self) -> Layout {
        match &self.block[257..265] {
            b"ustar  \0" => Layout::Gnu,
            magic if magic.starts_with(b"ustar\0") => {
                if &self.block[508..512] == b"tar\0" {
                    Layout::Star
                } else {
                    Layout::Ustar
                }
            }
            _ => Layout::V7,
        }
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    /// The name with its prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.layout() {
            Layout::Ustar => self.text(345, 155),
            Layout::Star => self.text(345, 131),
            Layout::Gnu | Layout::V7 => b"",
        };
        let name = self.text(0, 100);
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn mode(&self) -> Result<i64, &'static str> {
        self.number(100, 8)
    }

    pub(super) fn uid(&self) -> Result<i64, &'static str> {
        self.number(108, 8)
    }

    pub(super) fn gid(&self) -> Result<i64, &'static str> {
        self.number(116, 8)
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        u64::try_from(self.number(124, 12)?).or(Err("its size is negative"))
    }

    pub(super) fn mtime(&self) -> Result<i64, &'static str> {
        self.number(136, 12)
    }

    pub(super) fn device(&self) -> Result<(u32, u32), &'static str> {
        let part = |at| u32::try_from(self.number(at, 8)?).or(Err("its device number is out of range"));
        Ok((part(329)?, part(337)?))
    }

    /// Old GNU sparse: the first four pieces, whether more follow, and the file's real size.
    pub(super) fn sparse(&self) -> Result<(Vec<Piece>, bool, u64), &'static str> {
        let pieces = pieces(self.block, 386, 4)?;
        let real = u64::try_from(self.number(483, 12)?).or(Err("its real size is negative"))?;
        Ok((pieces, self.block[482] != 0, real))
    }

    fn text(&self, at: usize, length: usize) -> &'a [u8] {
        let field = &self.block[at..at + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        &field[..end]
    }

    fn number(&self, at: usize, length: usize) -> Result<i64, &'static str> {
        number(&self.block[at..at + length])
    }
}

/// An old GNU sparse continuation block: up to 21 pieces, and whether another block follows.
pub(super) fn more_pieces(block: &[u8; BLOCK]) -> Result<(Vec<Piece>, bool), &'static str> {
    Ok((pieces(block, 0, 21)?, block[504] != 0))
}

fn pieces(block: &[u8; BLOCK], at: usize, most: usize) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    for index in 0..most {
        let field = &block[at + index * 24..at + (index + 1) * 24];
        if field[0] == 0 || field[12] == 0 {
            break;
        }
        let part = |bytes| u64::try_from(number(bytes)?).or(Err("its sparse map has a negative number"));
        pieces.push((part(&field[..12])?, part(&field[12..])?));
    }
    Ok(pieces)
}

/// Octal digits between spaces and NULs, or GNU's base 256 with the top bit set. An empty field is 0.
fn number(field: &[u8]) -> Result<i64, &'static str> {
    const WRONG: &str = "a field is no number";
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let mut value: i128 = if negative { -1 } else { 0 };
            for (index, byte) in field.iter().enumerate() {
                let byte = if index == 0 && !negative {
                    byte & 0x7f
                } else {
                    *byte
                };
                value = value << 8 | i128::from(byte);
                if i64::try_from(value).is_err() {
                    return Err("a number is out of range");
                }
            }
            i64::try_from(value).or(Err(WRONG))
        }
        _ => {
            let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
            let digits = &field[start..];
            let end = digits
                .iter()
                .position(|byte| matches!(byte, b' ' | 0))
                .unwrap_or(digits.len());
            if digits[end..].iter().any(|byte| !matches!(byte, b' ' | 0)) {
                return Err(WRONG);
            }
            digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
                b'0'..=b'7' => Ok(value << 3 | i64::from(digit - b'0')),
                _ => Err(WRONG),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"644 \0\0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"06 44\0\0\0", None),
        ] {
            assert_eq!(number(field).ok(), value, "{field:?}");
        }
    }
}
