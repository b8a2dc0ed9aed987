//! An archive's members as files of our own: they come in any order, and the one that explains the others is often
//! the last. Their names are kept in memory and never become paths.

use crate::blobs::create;
use crate::root::{Temporary, make_directory};
use crate::tar::{Kind, Reader};
use crate::{Lease, StoreError, inflate};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use sys::SysError;

/// The most members that an archive of images may have.
const MOST_MEMBERS: usize = 100_000;
/// The largest document in an archive that is read into memory.
const LARGEST_DOCUMENT: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Spool {
    directory: Temporary,
    members: BTreeMap<String, Spooled>,
    /// Members seen, which numbers their files.
    count: usize,
}

#[derive(Debug)]
enum Spooled {
    File(PathBuf),
    /// To another member, by its name.
    Link(String),
}

impl Spool {
    /// Reads a whole archive, compressed or not.
    pub(super) fn read(lease: &Lease, archive: &mut dyn Read) -> Result<Self, StoreError> {
        let directory = lease.temporary()?;
        make_directory(&directory.0, 0o700)?;
        let mut spool = Self {
            directory,
            members: BTreeMap::new(),
            count: 0,
        };
        // Decompressors want to be sent between threads, which a borrowed reader cannot be.
        let (sender, receiver) = std::sync::mpsc::sync_channel::<std::io::Result<Vec<u8>>>(4);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| spool.fill(Received::new(receiver)));
            send_all(archive, &sender);
            drop(sender);
            reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(spool)
    }

    fn fill(&mut self, archive: Received) -> Result<(), StoreError> {
        let failed = |source| StoreError::Inflate {
            what: "the archive".to_owned(),
            source,
        };
        let inflated = inflate::inflate(inflate::with_start(archive).map_err(failed)?).map_err(failed)?;
        let mut reader = Reader::new(BufReader::with_capacity(256 * 1024, inflated));
        while let Some(entry) = reader.next()? {
            let Some(name) = clean(&String::from_utf8_lossy(&entry.path)) else {
                return Err(StoreError::Archive(format!(
                    "the member '{}' leads out of it",
                    String::from_utf8_lossy(&entry.path)
                )));
            };
            self.count += 1;
            if self.count > MOST_MEMBERS {
                return Err(StoreError::Archive(format!(
                    "it has more than {MOST_MEMBERS} members"
                )));
            }
            let spooled = match entry.kind {
                Kind::File if entry.sparse.is_none() => {
                    let path = self.directory.0.join(self.count.to_string());
                    let mut file = create(&path)?;
                    loop {
                        let piece = reader.data()?;
                        let length = piece.len();
                        if length == 0 {
                            break;
                        }
                        file.write_all(piece)
                            .map_err(|error| SysError::io("write", &path, &error))?;
                        reader.consume(length);
                    }
                    Spooled::File(path)
                }
                // Older archives keep one copy of a layer and links to it.
                Kind::Symlink | Kind::HardLink => {
                    let target = String::from_utf8_lossy(&entry.link).into_owned();
                    let target = if entry.kind == Kind::Symlink {
                        let above = name.rsplit_once('/').map_or("", |(above, _)| above);
                        clean(&format!("{above}/{target}"))
                    } else {
                        clean(&target)
                    };
                    match target {
                        Some(target) => Spooled::Link(target),
                        None => {
                            return Err(StoreError::Archive(format!("the link '{name}' leads out of it")));
                        }
                    }
                }
                _ => continue,
            };
            self.members.insert(name, spooled);
        }
        Ok(())
    }

    /// Returns the file that holds a member; `None` if there is no such member.
    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        let mut name = clean(name)?;
        // Links to links; more than a few make no sense.
        for _ in 0..8 {
            match self.members.get(&name)? {
                Spooled::File(path) => return Some(path),
                Spooled::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// Opens a member that must be there.
    pub(super) fn open(&self, name: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self
            .path(name)
            .ok_or_else(|| StoreError::Archive(format!("it has no member '{name}'")))?;
        let file = File::open(path).map_err(|error| SysError::io("open", path, &error))?;
        Ok((file, path.to_owned()))
    }

    /// Reads a small member; `None` if there is no such member.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.path(name) {
            Some(path) => Ok(Some(sys::fs::read(path, LARGEST_DOCUMENT)?)),
            None => Ok(None),
        }
    }

    /// Reads a small member that must be there.
    pub(super) fn required(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.document(name)?
            .ok_or_else(|| StoreError::Archive(format!("it has no member '{name}'")))
    }
}

/// Reduces a member's name; `None` if it leads out.
fn clean(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub(super) fn send_all(
    archive: &mut dyn Read,
    sender: &std::sync::mpsc::SyncSender<std::io::Result<Vec<u8>>>,
) {
    loop {
        let mut piece = vec![0; 256 * 1024];
        let result = match archive.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                piece.truncate(length);
                Ok(piece)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        if sender.send(result).is_err() || failed {
            return;
        }
    }
}

/// The other thread's reading end.
pub(super) struct Received {
    receiver: std::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Received {
    pub(super) fn new(receiver: std::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>) -> Self {
        Self {
            receiver,
            piece: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            match self.receiver.recv() {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
