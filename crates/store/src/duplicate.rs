//! A layer from an upper directory that stays in use: what `commit` makes of a container's changes.

use crate::layers::open_directory;
use crate::pipeline::{self, Job};
use crate::tree_tar;
use crate::{LayerId, Lease, Snapshot, Store, StoreError};
use std::io::{BufWriter, Write};
use std::path::Path;

/// How much is read before it goes to the other thread.
const BUFFER: usize = 256 * 1024;

impl Store {
    /// Copies what overlayfs has written into `upper` into a snapshot on top of `parents`. It goes through the layer's
    /// own tar form, so that the copy has what a layer has and nothing that ties it to this host or mount. A file that
    /// changes while it is read, and a cancellation, end it with an error and nothing left.
    pub fn copy_to_snapshot(
        &self,
        lease: &Lease,
        upper: &Path,
        parents: &[LayerId],
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Snapshot, StoreError> {
        let snapshot = self.begin_snapshot(lease, parents)?;
        match self.copy_tree(upper, &snapshot, cancelled) {
            Ok(()) => Ok(snapshot),
            Err(error) => {
                self.discard_snapshot(snapshot)?;
                Err(error)
            }
        }
    }

    fn copy_tree(
        &self,
        upper: &Path,
        snapshot: &Snapshot,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Source {
            what: "the container's changes".to_owned(),
            source,
        };
        let root = open_directory(&snapshot.upper)?;
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let (written, unpacked) = std::thread::scope(|scope| {
            let packer = scope.spawn(move || {
                let mut into = BufWriter::with_capacity(BUFFER, Stoppable { writer, cancelled });
                tree_tar::write(upper, &mut into)?;
                into.flush().map_err(failed)
            });
            let unpacked = pipeline::run(Job {
                what: "the container's changes".to_owned(),
                source: Box::new(reader),
                size: None,
                keep: None,
                root,
                lower: &[],
                limits: self.limits,
            });
            let written = packer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (written, unpacked)
        });
        let refused = |source| StoreError::Extract {
            layer: "to commit".to_owned(),
            source,
        };
        // Whoever stops first breaks the pipe of the other, whose error then says nothing.
        match (written, unpacked) {
            (Ok(()), unpacked) => unpacked?.extracted.map(drop).map_err(refused),
            (Err(error), Ok(outcome)) if is_broken_pipe(&error) => {
                Err(outcome.extracted.err().map_or(error, refused))
            }
            (Err(error), Err(unpacked)) if is_broken_pipe(&error) => Err(unpacked),
            (Err(error), _) => Err(error),
        }
    }
}

/// Says whether somewhere in an error is the news that nobody reads any more.
fn is_broken_pipe(error: &StoreError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::BrokenPipe;
        }
        source = error.source();
    }
    false
}

/// A writer that fails once somebody has had enough.
struct Stoppable<'a, W> {
    writer: W,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        if (self.cancelled)() {
            return Err(std::io::Error::other("it was cancelled"));
        }
        self.writer.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
