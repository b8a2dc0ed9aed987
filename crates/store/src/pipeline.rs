//! One pass over a layer's blob: read, hash, keep, inflate on this thread; hash the tar and unpack it on another.

use crate::blobs::{finished, hasher};
use crate::extract::{ExtractError, Extracted, Extractor, Limits};
use crate::tar::Reader;
use crate::{StoreError, inflate};
use oci::Digest;
use ring::digest::Context;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use sys::SysError;
use sys::path::Tree;

/// How much goes from thread to thread at once.
const CHUNK: usize = 256 * 1024;
/// How many chunks may wait: enough to let neither thread wait for the other's hiccups.
const WAITING: usize = 8;

/// Where a layer comes from and where it goes.
pub(crate) struct Job<'a> {
    /// For messages.
    pub(crate) what: String,
    pub(crate) source: Box<dyn Read + Send + 'a>,
    /// The size that the blob must have.
    pub(crate) size: Option<u64>,
    /// Where to keep the blob.
    pub(crate) keep: Option<(&'a Path, File)>,
    pub(crate) root: OwnedFd,
    /// Lower layers, topmost first.
    pub(crate) lower: &'a [Tree],
    pub(crate) limits: Limits,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) blob: Digest,
    pub(crate) blob_size: u64,
    /// All of it unless unpacking failed.
    pub(crate) diff_id: Digest,
    pub(crate) extracted: Result<Extracted, ExtractError>,
}

/// Runs the pass to the end of the blob, or to the first error. A layer that needs its lower layers is read to the
/// end all the same, so that its blob is whole.
pub(crate) fn run(job: Job<'_>) -> Result<Outcome, StoreError> {
    let compressed = AtomicU64::new(0);
    let state = Mutex::new(IntakeState {
        hash: hasher(),
        keep: job.keep,
        count: 0,
        size: job.size,
        ended: false,
        failure: None,
        what: job.what.clone(),
    });
    let intake = Intake {
        source: job.source,
        state: &state,
        compressed: &compressed,
    };
    let (full_sender, full) = sync_channel(WAITING);
    let (empty_sender, empty) = channel();
    let (fed, unpacked) = std::thread::scope(|scope| {
        let (root, lower, limits, compressed) = (job.root, job.lower, job.limits, &compressed);
        let unpacker = scope.spawn(move || {
            let chunks = Chunks::new(full, empty_sender);
            // Without it modes are set one by one.
            let umask_is_clear = sys::fs::clear_own_umask().is_ok();
            let mut reader = Reader::new(chunks);
            let extracted = Extractor::new(root, lower, limits, compressed, umask_is_clear).run(&mut reader);
            match extracted {
                Ok(_) | Err(ExtractError::NeedsParents { .. }) => {
                    (Some(reader.into_inner().drain()), extracted)
                }
                Err(_) => (None, extracted),
            }
        });
        let fed = feed(intake, &full_sender, &empty);
        drop(full_sender);
        (fed, unpacker.join())
    });
    let (diff_id, extracted) = unpacked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    let what = job.what;
    // A blob that ends too early is told as such, and not as what that made of it.
    if let Some(expected) = state.size
        && state.count != expected
        && state.ended
    {
        return Err(StoreError::Size {
            what,
            expected,
            found: state.count,
        });
    }
    fed.map_err(|source| StoreError::Inflate {
        what: what.clone(),
        source,
    })?;
    let blob = finished(state.hash);
    Ok(Outcome {
        blob,
        blob_size: state.count,
        diff_id: diff_id.unwrap_or(blob),
        extracted,
    })
}

/// Inflates until the blob ends or nobody listens any more.
fn feed(
    intake: Intake<'_, '_>,
    full: &SyncSender<(Vec<u8>, usize)>,
    empty: &Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    let mut reader = inflate::inflate(inflate::with_start(intake)?)?;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let mut filled = 0;
        while filled < CHUNK {
            match reader.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 || full.send((chunk, filled)).is_err() {
            return Ok(());
        }
    }
}

/// The blob on its way in.
struct Intake<'a, 'k> {
    source: Box<dyn Read + Send + 'k>,
    state: &'a Mutex<IntakeState<'k>>,
    compressed: &'a AtomicU64,
}

struct IntakeState<'a> {
    hash: Context,
    keep: Option<(&'a Path, File)>,
    count: u64,
    size: Option<u64>,
    /// Whether the source has given all it has.
    ended: bool,
    /// The error behind the one that the decompressor passes on.
    failure: Option<StoreError>,
    what: String,
}

impl Read for Intake<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let length = match self.source.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let kind = error.kind();
                state.failure = Some(StoreError::Source {
                    what: state.what.clone(),
                    source: error,
                });
                return Err(kind.into());
            }
        };
        state.ended |= length == 0 && !buffer.is_empty();
        state.count += length as u64;
        self.compressed.store(state.count, Ordering::Relaxed);
        if let Some(expected) = state.size
            && state.count > expected
        {
            state.failure = Some(StoreError::Size {
                what: state.what.clone(),
                expected,
                found: state.count,
            });
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        state.hash.update(&buffer[..length]);
        if let Some((path, file)) = &mut state.keep
            && let Err(error) = file.write_all(&buffer[..length])
        {
            state.failure = Some(SysError::io("write", *path, &error).into());
            return Err(error);
        }
        Ok(length)
    }
}

/// The inflated tar on the other thread, hashed as it comes.
struct Chunks {
    full: Receiver<(Vec<u8>, usize)>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    filled: usize,
    hash: Context,
}

impl Chunks {
    fn new(full: Receiver<(Vec<u8>, usize)>, empty: Sender<Vec<u8>>) -> Self {
        Self {
            full,
            empty,
            chunk: Vec::new(),
            at: 0,
            filled: 0,
            hash: hasher(),
        }
    }

    fn next(&mut self) -> bool {
        let Ok((chunk, filled)) = self.full.recv() else {
            return false;
        };
        self.hash.update(&chunk[..filled]);
        let used = std::mem::replace(&mut self.chunk, chunk);
        (self.at, self.filled) = (0, filled);
        // The other thread may have finished.
        if !used.is_empty() {
            self.empty.send(used).unwrap_or_default();
        }
        true
    }

    /// Reads what follows the archive's end mark and returns the digest of all.
    fn drain(mut self) -> Digest {
        while self.next() {}
        finished(self.hash)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at == self.filled && !self.next() {
            return Ok(&[]);
        }
        Ok(&self.chunk[self.at..self.filled])
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}
