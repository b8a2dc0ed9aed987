//! A layer being made: dropped unless it is committed.

use crate::build::Job;
use crate::error::StepError;
use std::sync::Arc;
use store::{Layer, LayerId, Lease, Snapshot, Store, Times};
use sys::path::Tree;

/// Overlayfs's options for layers that become tars: no renamed directories by reference, no files that are only
/// their attributes.
const OPTIONS: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

/// A snapshot that removes itself.
pub(crate) struct Draught<'a> {
    store: &'a Store,
    lease: Arc<Lease>,
    snapshot: Option<Snapshot>,
    parents: Vec<LayerId>,
}

impl<'a> Draught<'a> {
    pub(crate) fn begin(job: &'a Job<'_>, layers: &[Layer]) -> Result<Self, StepError> {
        let parents: Vec<LayerId> = layers.iter().map(|layer| layer.id.clone()).collect();
        let lease = job.lease()?;
        let snapshot = job.store.begin_snapshot(&lease, &parents)?;
        Ok(Self {
            store: job.store,
            lease,
            snapshot: Some(snapshot),
            parents,
        })
    }

    /// Returns the union that a command runs in.
    pub(crate) fn overlay(&self, skeleton: bool) -> oci::Overlay {
        let directories = self
            .snapshot
            .as_ref()
            .map(|snapshot| (snapshot.upper.as_path(), snapshot.work.as_path()));
        self.store.overlay(&self.parents, directories, skeleton)
    }

    /// Mounts the union for ourselves, attached nowhere.
    pub(crate) fn mount(&self) -> Result<Tree, StepError> {
        match &self.snapshot {
            // With nothing below it, the directory is all there is.
            Some(snapshot) if self.parents.is_empty() => Ok(Tree::open(&snapshot.upper)?),
            _ => mount(&self.overlay(false)),
        }
    }

    /// Makes it a layer. Nothing may have it mounted any more.
    pub(crate) fn commit(mut self, times: Times) -> Result<Layer, StepError> {
        match self.snapshot.take() {
            Some(snapshot) => Ok(self.store.commit_snapshot(&self.lease, snapshot, times)?),
            // It is taken here only, and this consumes it.
            None => Err(StepError::BadPath(String::new())),
        }
    }
}

impl Drop for Draught<'_> {
    fn drop(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
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
        (lower, upper) => Ok(Tree::new(sys::mount::overlay(lower, upper, &OPTIONS)?)),
    }
}
