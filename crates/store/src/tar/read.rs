//! Reading a tar as a stream.

use super::header::{self, Header, Layout};
use super::pax::{self, Records};
use super::{BLOCK, LARGEST_EXTENSION, LONGEST_PATH, MOST_EXTENTS, TarError};
use std::io::BufRead;

/// The largest size that fits a header's eleven octal digits.
const LARGEST_OCTAL: u64 = 0o77_777_777_777;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Character,
    Directory,
    Fifo,
    File,
    HardLink,
    Symlink,
}

/// A piece of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A member with all its extensions applied. Its data follows through [`Reader::data`].
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    /// Permission, set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Of a file as it will be on disk.
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data goes, if the file has holes.
    pub(crate) sparse: Option<Vec<Extent>>,
}

/// A tar being read. After an error it must not be used again.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    /// Bytes taken from the input.
    at: u64,
    /// Bytes of the present member's data not yet taken.
    remaining: u64,
    padding: u64,
    global: Records,
    ended: bool,
}

/// Extended headers collected ahead of a member.
#[derive(Debug, Default)]
struct Ahead {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            at: 0,
            remaining: 0,
            padding: 0,
            global: Records::default(),
            ended: false,
        }
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Returns the next piece of the present member's data; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf().map_err(TarError::Read)?;
        if available.is_empty() {
            return Err(TarError::Truncated("a member's data"));
        }
        let length =
            usize::try_from(self.remaining).map_or(available.len(), |most| available.len().min(most));
        Ok(&available[..length])
    }

    /// Says that so much of what [`Reader::data`] returned has been used.
    pub(crate) fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.at += length as u64;
        self.remaining -= length as u64;
    }

    /// Goes to the next member, over what is left of the present one's data. `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip()?;
        let mut ahead = Ahead::default();
        let mut block = [0; BLOCK];
        loop {
            let began = self.at;
            let wrong = |why| TarError::Header { at: began, why };
            let started = ahead.pax.is_some() || ahead.name.is_some() || ahead.link.is_some();
            if self.ended || !self.block(&mut block, "a header")? || self.is_end(&block)? {
                self.ended = true;
                if started {
                    return Err(wrong("an extended header stands before nothing"));
                }
                return Ok(None);
            }
            let header = Header::new(&block).map_err(wrong)?;
            match header.type_flag() {
                b'x' | b'g' => {
                    let is_global = header.type_flag() == b'g';
                    let data = self.extension(header.size().map_err(wrong)?)?;
                    let records = pax::parse(&data).map_err(wrong)?;
                    if is_global {
                        self.set_global(&records).map_err(wrong)?;
                    } else if ahead.pax.replace(records).is_some() {
                        return Err(wrong("two extended headers stand before one member"));
                    }
                }
                flag @ (b'L' | b'K') => {
                    let mut text = self.extension(header.size().map_err(wrong)?)?;
                    while text.last() == Some(&0) {
                        text.pop();
                    }
                    if text.contains(&0) || text.is_empty() {
                        return Err(wrong("a long name is empty or has a NUL in it"));
                    }
                    let slot = if flag == b'L' {
                        &mut ahead.name
                    } else {
                        &mut ahead.link
                    };
                    if slot.replace(text).is_some() {
                        return Err(wrong("two long names stand before one member"));
                    }
                }
                _ => return self.member(&block, ahead, began).map(Some),
            }
        }
    }

    fn set_global(&mut self, records: &Records) -> Result<(), &'static str> {
        if records.path.is_some()
            || records.link.is_some()
            || records.size.is_some()
            || records.sparse.is_there()
            || !records.xattrs.is_empty()
        {
            return Err("a global extended header gives a path, a size or an attribute to all members");
        }
        self.global = Records {
            uid: records.uid.or(self.global.uid),
            gid: records.gid.or(self.global.gid),
            mtime: records.mtime.or(self.global.mtime),
            ..Records::default()
        };
        Ok(())
    }

    fn member(&mut self, block: &[u8; BLOCK], ahead: Ahead, began: u64) -> Result<Entry, TarError> {
        let wrong = |why| TarError::Header { at: began, why };
        let header = Header::new(block).map_err(wrong)?;
        let mut pax = ahead.pax.unwrap_or_default();
        if (pax.path.is_some() && ahead.name.is_some()) || (pax.link.is_some() && ahead.link.is_some()) {
            return Err(wrong("it is named twice, by GNU's and by POSIX's extension"));
        }
        let written = header.size().map_err(wrong)?;
        let stored = pax.size.unwrap_or(written);
        if stored != written && stored <= LARGEST_OCTAL {
            return Err(wrong("its two sizes differ"));
        }
        let (mut path, link) = (
            pax.path.take().or(ahead.name).unwrap_or_else(|| header.path()),
            pax.link.take().or(ahead.link).unwrap_or_else(|| header.link()),
        );
        let old_sparse = header.type_flag() == b'S' && header.layout() == Layout::Gnu;
        let kind = kind(header.type_flag(), old_sparse, &path).map_err(wrong)?;
        // Links and special files have no data, whatever their headers say; where that could be believed or not, the
        // archive means two things.
        let has_data = kind == Kind::File;
        if !has_data && stored != 0 {
            return Err(wrong("it has data, but its kind has none"));
        }
        self.remaining = stored;
        self.padding = padding(stored);
        let mut size = stored;
        let mut sparse = None;
        if old_sparse {
            let (mut pieces, mut more, real) = header.sparse().map_err(wrong)?;
            let mut next = [0; BLOCK];
            while more {
                if !self.block(&mut next, "a sparse map")? {
                    return Err(TarError::Truncated("a sparse map"));
                }
                let (further, again) = header::more_pieces(&next).map_err(wrong)?;
                pieces.extend(further);
                more = again;
                if pieces.len() > MOST_EXTENTS {
                    return Err(wrong("its sparse map is too long"));
                }
            }
            sparse = Some(pieces);
            size = real;
        } else if pax.sparse.is_there() {
            if !has_data {
                return Err(wrong("a sparse map belongs to no file"));
            }
            let (pieces, real) = self.pax_sparse(&mut pax, began)?;
            if let Some(name) = pax.sparse.name.take() {
                path = name;
            }
            sparse = Some(pieces);
            size = real;
        }
        let sparse = match sparse {
            Some(pieces) => Some(extents(&pieces, size, self.remaining).map_err(wrong)?),
            None => None,
        };
        if path.is_empty() || path.len() > LONGEST_PATH || link.len() > LONGEST_PATH {
            return Err(wrong("its path is empty or longer than 4096 bytes"));
        }
        let id = |pax: Option<u64>, global: Option<u64>, field: Result<i64, &'static str>| {
            let number = match pax.or(global) {
                Some(number) => number.cast_signed(),
                None => field?,
            };
            u32::try_from(number)
                .ok()
                .filter(|number| *number != u32::MAX)
                .ok_or("its owner is out of range")
        };
        let mtime = match pax.mtime.or(self.global.mtime) {
            Some(time) => time,
            None => (header.mtime().map_err(wrong)?, 0),
        };
        let device = match kind {
            Kind::Block | Kind::Character => header.device().map_err(wrong)?,
            _ => (0, 0),
        };
        Ok(Entry {
            kind,
            path,
            link,
            // The format bits, which some programs write too, repeat the kind.
            mode: u32::try_from(header.mode().map_err(wrong)? & 0o7777).unwrap_or(0),
            uid: id(pax.uid, self.global.uid, header.uid()).map_err(wrong)?,
            gid: id(pax.gid, self.global.gid, header.gid()).map_err(wrong)?,
            mtime,
            size,
            device,
            xattrs: pax.xattrs,
            sparse,
        })
    }

    /// Reads a PAX sparse map, from the records or, since version 1.0, from the head of the data.
    fn pax_sparse(&mut self, pax: &mut Records, began: u64) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let wrong = |why| TarError::Header { at: began, why };
        let real = pax
            .sparse
            .real_size
            .ok_or_else(|| wrong("a sparse file's real size is missing"))?;
        let mut numbers = std::mem::take(&mut pax.sparse.numbers);
        match (pax.sparse.major.unwrap_or(0), pax.sparse.minor.unwrap_or(0)) {
            (0, 0 | 1) => {
                if pax
                    .sparse
                    .count
                    .is_some_and(|count| count.checked_mul(2) != Some(numbers.len() as u64))
                {
                    return Err(wrong("a sparse map has another length than it says"));
                }
            }
            (1, 0) => {
                let count = self.map_number(began)?;
                if count > MOST_EXTENTS as u64 {
                    return Err(wrong("its sparse map is too long"));
                }
                numbers.clear();
                for _ in 0..count * 2 {
                    numbers.push(self.map_number(began)?);
                }
                // The map fills whole blocks.
                let used = self.at % BLOCK as u64;
                if used != 0 {
                    self.skip_bytes(BLOCK as u64 - used)?;
                }
            }
            _ => return Err(wrong("its version of sparse map is not known")),
        }
        if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MOST_EXTENTS {
            return Err(wrong("its sparse map is too long or has half a piece"));
        }
        Ok((
            numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
            real,
        ))
    }

    /// Reads one decimal number and its newline from the member's data.
    fn map_number(&mut self, began: u64) -> Result<u64, TarError> {
        let wrong = |why| TarError::Header { at: began, why };
        let mut digits = Vec::with_capacity(20);
        loop {
            let byte = *self
                .data()?
                .first()
                .ok_or_else(|| wrong("a sparse map is cut short"))?;
            self.consume(1);
            match byte {
                b'\n' => return pax::decimal(&digits).map_err(wrong),
                _ if digits.len() < 20 => digits.push(byte),
                _ => return Err(wrong("a sparse map has a bad number")),
            }
        }
    }

    /// Reads the data of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > LARGEST_EXTENSION {
            return Err(TarError::Header {
                at: self.at - BLOCK as u64,
                why: "an extended header is larger than 1 MiB",
            });
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut content = Vec::new();
        loop {
            let piece = self.data()?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(piece);
            let length = piece.len();
            self.consume(length);
        }
        self.skip()?;
        Ok(content)
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let left = self.remaining;
        self.skip_bytes(left)?;
        self.remaining = std::mem::take(&mut self.padding);
        let left = self.remaining;
        self.skip_bytes(left)
    }

    fn skip_bytes(&mut self, mut count: u64) -> Result<(), TarError> {
        while count > 0 {
            let available = self.data()?.len();
            if available == 0 {
                return Err(TarError::Truncated("a member's data"));
            }
            let length = usize::try_from(count).map_or(available, |count| available.min(count));
            self.consume(length);
            count -= length as u64;
        }
        Ok(())
    }

    /// Fills a block. False if the input ends just here.
    fn block(&mut self, block: &mut [u8; BLOCK], what: &'static str) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.input.fill_buf().map_err(TarError::Read)?;
            if available.is_empty() {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(TarError::Truncated(what))
                };
            }
            let length = available.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&available[..length]);
            self.input.consume(length);
            filled += length;
            self.at += length as u64;
        }
        Ok(true)
    }

    /// Says whether the archive ends with this block: a block of zeros, and another one unless the input ends.
    fn is_end(&mut self, block: &[u8; BLOCK]) -> Result<bool, TarError> {
        if block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let mut second = [0; BLOCK];
        if self.block(&mut second, "its end mark")? && second.iter().any(|byte| *byte != 0) {
            return Err(TarError::Header {
                at: self.at - BLOCK as u64,
                why: "half an end mark stands before it",
            });
        }
        Ok(true)
    }
}

fn kind(flag: u8, old_sparse: bool, path: &[u8]) -> Result<Kind, &'static str> {
    Ok(match flag {
        // Before POSIX a directory was a file whose name ends in a slash.
        b'0' | 0 if path.last() == Some(&b'/') => Kind::Directory,
        b'0' | b'7' | 0 => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' if old_sparse => Kind::File,
        _ => return Err("its kind of member is not known"),
    })
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// Checks that the pieces are in order, lie within the file, and hold exactly the data that there is.
fn extents(pieces: &[(u64, u64)], size: u64, stored: u64) -> Result<Vec<Extent>, &'static str> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    let mut extents = Vec::with_capacity(pieces.len());
    for &(offset, length) in pieces {
        if offset < end {
            return Err("its sparse map is out of order");
        }
        end = offset
            .checked_add(length)
            .filter(|end| *end <= size)
            .ok_or("its sparse map leads beyond its end")?;
        sum += length;
        if length > 0 {
            extents.push(Extent { offset, length });
        }
    }
    if sum != stored {
        return Err("its sparse map holds another amount of data than the archive");
    }
    Ok(extents)
}

#[cfg(test)]
mod tests;
