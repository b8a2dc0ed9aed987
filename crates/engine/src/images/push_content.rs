//! What a push reads from: a blob that is here, one that is being made, bytes in memory.

use super::push::PushEvent;
use crate::EngineError;
use oci::Digest;
use registry::{Content, RegistryError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use store::Growing;

/// Progress is told each time that so many more bytes have gone.
const PROGRESS_STEP: u64 = 256 << 10;
/// The text by which a layer that was stopped for another's sake is told from one that failed itself.
const STOPPED: &str = "stopped, because another layer failed";
/// The text by which a blob that is not here is told from one that cannot be read.
const MISSING: &str = "the blob is not here any more";

/// Says whether an error is only the consequence of another layer's.
pub(super) fn is_stopped(error: &EngineError) -> bool {
    error.causes().iter().any(|cause| cause == STOPPED)
}

/// Says whether a blob was neither here nor at the registry.
pub(super) fn is_missing(error: &EngineError) -> bool {
    matches!(error, EngineError::Registry(RegistryError::Content { source, .. }) if source.to_string() == MISSING)
}

/// One layer's way of telling how far it is, and of being stopped.
pub(crate) struct Sending {
    id: String,
    stop: Arc<AtomicBool>,
    events: Sender<PushEvent>,
    told: AtomicU64,
}

impl Sending {
    pub(crate) fn new(id: String, stop: Arc<AtomicBool>, events: Sender<PushEvent>) -> Self {
        Self {
            id,
            stop,
            events,
            told: AtomicU64::new(0),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(STOPPED));
        }
        Ok(())
    }

    fn sent(&self, count: u64, total: u64) {
        let told = self.told.load(Ordering::Relaxed);
        // Less than before: it had to be sent again.
        if count < told || count - told >= PROGRESS_STEP || count == total {
            self.told.store(count, Ordering::Relaxed);
            let event = PushEvent::Layer {
                id: self.id.clone(),
                done: count,
                total,
            };
            // Who pushes may have stopped listening after a failure.
            self.events.send(event).unwrap_or_default();
        }
    }
}

/// A blob of the store.
pub(crate) struct FileContent {
    file: Option<File>,
    digest: Digest,
    size: u64,
    sending: Sending,
}

impl FileContent {
    /// Without a file, only a registry that has the blob already is content.
    pub(crate) fn new(file: Option<File>, digest: Digest, size: u64, sending: Sending) -> Self {
        Self {
            file,
            digest,
            size,
            sending,
        }
    }
}

impl Content for FileContent {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.sending.check()?;
        match &self.file {
            Some(file) => file.read_at(buffer, offset),
            None => Err(io::Error::new(io::ErrorKind::NotFound, MISSING)),
        }
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.size))
    }

    fn finish(&self) -> io::Result<(Digest, u64)> {
        Ok((self.digest, self.size))
    }

    fn sent(&self, count: u64) {
        self.sending.sent(count, self.size);
    }
}

/// A blob that is being made.
pub(super) struct GrowingContent {
    growing: Growing,
    sending: Sending,
}

impl GrowingContent {
    pub(super) fn new(growing: Growing, sending: Sending) -> Self {
        Self { growing, sending }
    }

    pub(super) fn growing(&self) -> &Growing {
        &self.growing
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.sending.check().is_err()
    }

    /// Ends the blob for its readers when it is dropped, should whoever makes it not have come to that.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(&self.growing)
    }
}

/// Ends a blob when it is dropped, if nobody has.
pub(super) struct Ending<'a>(&'a Growing);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Content for GrowingContent {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.sending.check()?;
        self.growing.read_at(offset, buffer)
    }

    fn known(&self) -> Option<(Digest, u64)> {
        self.growing.known()
    }

    fn finish(&self) -> io::Result<(Digest, u64)> {
        self.growing.finish()
    }

    fn sent(&self, count: u64) {
        let total = self.growing.known().map_or(0, |(_, size)| size);
        self.sending.sent(count, total);
    }
}

/// Bytes in memory.
pub(crate) struct Bytes {
    digest: Digest,
    bytes: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new(digest: Digest, bytes: Vec<u8>) -> Self {
        Self { digest, bytes }
    }
}

impl Content for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).map_or(self.bytes.len(), |start| start.min(self.bytes.len()));
        let count = buffer.len().min(self.bytes.len() - start);
        buffer[..count].copy_from_slice(&self.bytes[start..start + count]);
        Ok(count)
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.bytes.len() as u64))
    }

    fn finish(&self) -> io::Result<(Digest, u64)> {
        Ok((self.digest, self.bytes.len() as u64))
    }

    fn sent(&self, _count: u64) {}
}

/// A blob that a registry has, and we do not.
pub(super) struct Elsewhere {
    digest: Digest,
    size: u64,
}

impl Elsewhere {
    pub(super) fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size }
    }
}

impl Content for Elsewhere {
    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::NotFound, MISSING))
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.size))
    }

    fn finish(&self) -> io::Result<(Digest, u64)> {
        Ok((self.digest, self.size))
    }

    fn sent(&self, _count: u64) {}
}
