//! An archive that is no layer, member by member: what a Dockerfile's `ADD` unpacks.

use crate::inflate;
use crate::tar::{BLOCK, Kind, Reader, TarError, is_header};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write};

/// A tar, plain or compressed, being read.
pub struct Archive {
    reader: Reader<BufReader<Box<dyn Read + Send>>>,
    /// What the present member's data is laid out as.
    sparse: Option<Vec<(u64, u64)>>,
    size: u64,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberType {
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file; its data comes through [`Archive::write_data`].
    File,
    /// Another name of an earlier member.
    HardLink,
    /// A symbolic link.
    Symlink,
}

/// A member of an archive. Its paths are as written and not to be trusted.
#[derive(Debug)]
pub struct ArchiveMember {
    /// What it is.
    pub kind: MemberType,
    /// Where it says it belongs.
    pub path: Vec<u8>,
    /// What a link leads to.
    pub link: Vec<u8>,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// A device's major and minor number.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Begins to read a file if it is a tar, whatever it is compressed with; `None` if it is something else.
    pub fn recognise(file: File) -> std::io::Result<Option<Self>> {
        let inflated = inflate::with_start(file).and_then(inflate::inflate);
        // Something that only looks compressed is no archive, and is copied as it is.
        let Ok(mut inflated) = inflated else {
            return Ok(None);
        };
        let mut first = Vec::with_capacity(BLOCK);
        if (&mut inflated)
            .take(BLOCK as u64)
            .read_to_end(&mut first)
            .is_err()
            || !is_header(&first)
        {
            return Ok(None);
        }
        let whole: Box<dyn Read + Send> = Box::new(Cursor::new(first).chain(inflated));
        Ok(Some(Self {
            reader: Reader::new(BufReader::with_capacity(256 * 1024, whole)),
            sparse: None,
            size: 0,
        }))
    }

    /// Goes to the next member; `None` at the end.
    pub fn next_member(&mut self) -> Result<Option<ArchiveMember>, TarError> {
        let Some(entry) = self.reader.next()? else {
            return Ok(None);
        };
        self.size = entry.size;
        self.sparse = entry.sparse.map(|extents| {
            extents
                .into_iter()
                .map(|extent| (extent.offset, extent.length))
                .collect()
        });
        Ok(Some(ArchiveMember {
            kind: match entry.kind {
                Kind::Block => MemberType::Block,
                Kind::Character => MemberType::Character,
                Kind::Directory => MemberType::Directory,
                Kind::Fifo => MemberType::Fifo,
                Kind::File => MemberType::File,
                Kind::HardLink => MemberType::HardLink,
                Kind::Symlink => MemberType::Symlink,
            },
            path: entry.path,
            link: entry.link,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            device: entry.device,
            xattrs: entry.xattrs,
        }))
    }

    /// Writes the present member's data into an empty file, holes as holes.
    pub fn write_data(&mut self, file: &mut File) -> Result<(), TarError> {
        let whole = [(0, self.size)];
        let extents = self.sparse.take();
        for &(offset, length) in extents.as_deref().unwrap_or(&whole) {
            file.seek(SeekFrom::Start(offset)).map_err(TarError::Write)?;
            let mut left = length;
            while left > 0 {
                let piece = self.reader.data()?;
                let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if count == 0 {
                    return Err(TarError::Truncated("a member's data"));
                }
                file.write_all(&piece[..count]).map_err(TarError::Write)?;
                self.reader.consume(count);
                left -= count as u64;
            }
        }
        file.set_len(self.size).map_err(TarError::Write)
    }
}
