//! A layer being made: dropped unless it is committed.

use crate::build::Job;
use crate::error::StepError;
use crate::tidy::{Span, tidy};
use std::sync::Arc;
use store::{Layer, LayerId, Lease, Snapshot, Store, Times};
use sys::SysError;
use sys::path::Tree;

/// Overlayfs's options for layers that become tars: no renamed directories by reference, no files that are only
/// their attributes.
const OPTIONS: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

/// A snapshot that removes itself.
pub(crate) struct Draught<'a> {
    store: &'a Store,
    lease: Arc<Lease>,
    /// Its paths are empty once it is committed.
    snapshot: Snapshot,
    began: i64,
}

/// How much older than a command what it makes may look: archives round times down, to two seconds at worst.
const ROUNDED: i64 = 2;

impl<'a> Draught<'a> {
    pub(crate) fn begin(job: &'a Job<'_>, layers: &[Layer]) -> Result<Self, StepError> {
        let parents: Vec<LayerId> = layers.iter().map(|layer| layer.id.clone()).collect();
        let lease = job.lease()?;
        let snapshot = job.store.begin_snapshot(&lease, &parents)?;
        let mut draught = Self {
            store: job.store,
            lease,
            snapshot,
            began: 0,
        };
        let upper = &draught.snapshot.upper;
        // By the clock that the times of its files are taken from.
        let stat = rustix::fs::lstat(upper).map_err(SysError::on("look at", upper))?;
        draught.began = stat.st_ctime - ROUNDED;
        Ok(draught)
    }

    /// Makes what a command has left a layer in which nothing tells when that was. `instead` is the time that takes
    /// the place of the present; nothing is later than `limit`.
    pub(crate) fn commit_tidied(self, instead: i64, limit: Option<i64>) -> Result<Layer, StepError> {
        let times = Times::MadeSince {
            began: self.began,
            instead,
            limit,
        };
        let span = Span {
            began: self.began,
            ended: crate::cache::now() / 1_000_000_000,
            instead,
        };
        tidy(&self.snapshot.upper, span, times)?;
        self.commit(times)
    }

    /// Returns the directory that takes what is written.
    pub(crate) fn upper(&self) -> &std::path::Path {
        &self.snapshot.upper
    }

    /// Returns the union that a command runs in.
    pub(crate) fn overlay(&self, skeleton: bool) -> oci::Overlay {
        let Snapshot { parents, upper, work } = &self.snapshot;
        oci::Overlay {
            // What becomes a layer is synced with all other layers, see `Store::make_durable`.
            temporary: true,
            ..self.store.overlay(parents, Some((upper, work)), skeleton)
        }
    }

    /// Makes it ready to be mounted once more. Overlayfs refuses the scratch directory of a union that was never synced.
    pub(crate) fn reopen(&self) -> Result<(), StepError> {
        let work = &self.snapshot.work;
        sys::fs::remove_all(work)?;
        sys::fs::create_directories(work, 0o700)?;
        Ok(())
    }

    /// Mounts the union for ourselves, attached nowhere.
    pub(crate) fn mount(&self) -> Result<Tree, StepError> {
        if self.snapshot.parents.is_empty() {
            // With nothing below it, the directory is all there is.
            return Ok(Tree::open(&self.snapshot.upper)?);
        }
        mount(&self.overlay(false))
    }

    /// Makes it a layer. Nothing may have it mounted any more.
    pub(crate) fn commit(mut self, times: Times) -> Result<Layer, StepError> {
        let snapshot = self.take();
        Ok(self.store.commit_snapshot(&self.lease, snapshot, times)?)
    }

    fn take(&mut self) -> Snapshot {
        Snapshot {
            parents: std::mem::take(&mut self.snapshot.parents),
            upper: std::mem::take(&mut self.snapshot.upper),
            work: std::mem::take(&mut self.snapshot.work),
        }
    }
}

impl Drop for Draught<'_> {
    fn drop(&mut self) {
        let snapshot = self.take();
        if !snapshot.upper.as_os_str().is_empty() {
            // What cannot be removed now is recognised as nobody's when the store is opened next.
            drop(self.store.discard_snapshot(snapshot));
        }
    }
}

/// Mounts a union, or opens its only directory.
pub(crate) fn mount(overlay: &oci::Overlay) -> Result<Tree, StepError> {
    let upper = overlay.upper.as_deref().zip(overlay.work.as_deref());
    match (&overlay.lower[..], upper) {
        // Overlayfs wants two directories.
        ([only], None) => Ok(Tree::open(only)?),
        (lower, None) => Ok(Tree::new(sys::mount::overlay(lower, None, &[])?)),
        (lower, upper) => {
            let mut options = OPTIONS.to_vec();
            if overlay.temporary {
                options.push(sys::mount::NEVER_SYNC);
            }
            Ok(Tree::new(sys::mount::overlay(lower, upper, &options)?))
        }
    }
}
