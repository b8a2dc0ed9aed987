//! Writing a tar whose bytes depend on nothing but its members: ustar, and PAX records only where ustar cannot say it.

use super::{BLOCK, TarError, pax};
use std::io::{Read, Write};

/// The largest owner that fits seven octal digits.
const LARGEST_ID: u32 = 0o7_777_777;
/// The largest size or time that fits eleven octal digits.
const LARGEST_NUMBER: u64 = 0o77_777_777_777;

/// What a member is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemberKind<'a> {
    Block(u32, u32),
    Character(u32, u32),
    Directory,
    Fifo,
    /// With its size.
    File(u64),
    HardLink(&'a [u8]),
    Symlink(&'a [u8]),
}

/// A member to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Relative, without a trailing slash.
    pub(crate) path: &'a [u8],
    pub(crate) kind: MemberKind<'a>,
    /// Permission, set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Sorted by name.
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// A tar being written.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    output: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            output,
            buffer: vec![0; 256 * 1024],
        }
    }

    /// Writes a member; `data` gives exactly the bytes of a file.
    pub(crate) fn append(&mut self, member: &Member<'_>, data: &mut dyn Read) -> Result<(), TarError> {
        self.header(member)?;
        let MemberKind::File(size) = member.kind else {
            return Ok(());
        };
        let changed = || TarError::Changed(String::from_utf8_lossy(member.path).into_owned());
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let length = match data.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(changed()),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TarError::Read(error)),
            };
            self.output
                .write_all(&self.buffer[..length])
                .map_err(TarError::Write)?;
            left -= length as u64;
        }
        if size > 0 && data.read(&mut self.buffer[..1]).map_err(TarError::Read)? != 0 {
            return Err(changed());
        }
        self.pad(size)
    }

    /// Writes a file's member, its data by `write`, which must write exactly `size` bytes.
    pub(crate) fn append_with<E: From<TarError>>(
        &mut self,
        member: &Member<'_>,
        size: u64,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.header(member)?;
        let mut counted = Counted {
            output: &mut self.output,
            count: 0,
        };
        write(&mut counted)?;
        if counted.count != size {
            let path = String::from_utf8_lossy(member.path).into_owned();
            return Err(TarError::Changed(path).into());
        }
        Ok(self.pad(size)?)
    }

    /// Writes the end mark.
    pub(crate) fn finish(mut self) -> Result<W, TarError> {
        self.output.write_all(&[0; 2 * BLOCK]).map_err(TarError::Write)?;
        Ok(self.output)
    }

    fn pad(&mut self, size: u64) -> Result<(), TarError> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if used != 0 {
            self.output
                .write_all(&[0; BLOCK][used..])
                .map_err(TarError::Write)?;
        }
        Ok(())
    }

    fn header(&mut self, member: &Member<'_>) -> Result<(), TarError> {
        let mut path = member.path.to_vec();
        if matches!(member.kind, MemberKind::Directory) {
            path.push(b'/');
        }
        let (flag, size, link, (major, minor)): (u8, u64, &[u8], (u32, u32)) = match member.kind {
            MemberKind::File(size) => (b'0', size, b"", (0, 0)),
            MemberKind::HardLink(target) => (b'1', 0, target, (0, 0)),
            MemberKind::Symlink(target) => (b'2', 0, target, (0, 0)),
            MemberKind::Character(major, minor) => (b'3', 0, b"", (major, minor)),
            MemberKind::Block(major, minor) => (b'4', 0, b"", (major, minor)),
            MemberKind::Directory => (b'5', 0, b"", (0, 0)),
            MemberKind::Fifo => (b'6', 0, b"", (0, 0)),
        };
        let mut block = [0; BLOCK];
        // Sorted by key.
        let mut records = Vec::new();
        for (name, value) in member.xattrs {
            pax::append(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if member.gid > LARGEST_ID {
            pax::append(&mut records, b"gid", member.gid.to_string().as_bytes());
        }
        if link.len() > 100 {
            pax::append(&mut records, b"linkpath", link);
        }
        let mtime = u64::try_from(member.mtime)
            .ok()
            .filter(|time| *time <= LARGEST_NUMBER);
        if mtime.is_none() {
            pax::append(&mut records, b"mtime", member.mtime.to_string().as_bytes());
        }
        if path.len() > 100 {
            pax::append(&mut records, b"path", &path);
        }
        if size > LARGEST_NUMBER {
            pax::append(&mut records, b"size", size.to_string().as_bytes());
        }
        if member.uid > LARGEST_ID {
            pax::append(&mut records, b"uid", member.uid.to_string().as_bytes());
        }
        if !records.is_empty() {
            let mut extended = [0; BLOCK];
            text(&mut extended, 0, 100, b"PaxHeaders/extended");
            fixed(&mut extended, b'x', 0o644, (0, 0), records.len() as u64, 0);
            self.output
                .write_all(&sealed(extended))
                .map_err(TarError::Write)?;
            self.output.write_all(&records).map_err(TarError::Write)?;
            self.pad(records.len() as u64)?;
        }
        text(&mut block, 0, 100, &path);
        text(&mut block, 157, 100, link);
        let fits = |id| if id > LARGEST_ID { 0 } else { id };
        let owner = (fits(member.uid), fits(member.gid));
        let short = if size > LARGEST_NUMBER { 0 } else { size };
        fixed(
            &mut block,
            flag,
            member.mode & 0o7777,
            owner,
            short,
            mtime.unwrap_or(0),
        );
        octal(&mut block, 329, 8, major.into());
        octal(&mut block, 337, 8, minor.into());
        self.output.write_all(&sealed(block)).map_err(TarError::Write)
    }
}

fn fixed(block: &mut [u8; BLOCK], flag: u8, mode: u32, (uid, gid): (u32, u32), size: u64, mtime: u64) {
    octal(block, 100, 8, mode.into());
    octal(block, 108, 8, uid.into());
    octal(block, 116, 8, gid.into());
    octal(block, 124, 12, size);
    octal(block, 136, 12, mtime);
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
}

fn text(block: &mut [u8; BLOCK], at: usize, most: usize, content: &[u8]) {
    let length = content.len().min(most);
    block[at..at + length].copy_from_slice(&content[..length]);
}

/// Octal digits with leading zeros and a NUL.
fn octal(block: &mut [u8; BLOCK], at: usize, width: usize, mut value: u64) {
    for byte in block[at..at + width - 1].iter_mut().rev() {
        *byte = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn sealed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block, 148, 7, sum);
    block[154] = 0;
    block
}

struct Counted<'a, W> {
    output: &'a mut W,
    count: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let length = self.output.write(data)?;
        self.count += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}
