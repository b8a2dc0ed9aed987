//! Directories for what is fetched: they go with whoever holds them, and with the process at the latest.

use crate::error::StepError;
use std::path::Path;
use std::sync::Arc;
use store::{Lease, Snapshot, Store};

/// An empty directory, and one beside it.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    store: &'a Store,
    _lease: Arc<Lease>,
    snapshot: Option<Snapshot>,
}

impl<'a> Scratch<'a> {
    pub(crate) fn new(store: &'a Store, lease: &Arc<Lease>) -> Result<Self, StepError> {
        Ok(Self {
            snapshot: Some(store.begin_snapshot(lease, &[])?),
            _lease: Arc::clone(lease),
            store,
        })
    }

    /// Where things go.
    pub(crate) fn directory(&self) -> &Path {
        self.snapshot
            .as_ref()
            .map_or_else(|| Path::new(""), |snapshot| &snapshot.upper)
    }

    /// Where things go that are in the way there.
    pub(crate) fn aside(&self) -> &Path {
        self.snapshot
            .as_ref()
            .map_or_else(|| Path::new(""), |snapshot| &snapshot.work)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            // What cannot be removed now is recognised as nobody's when the store is opened next.
            drop(self.store.discard_snapshot(snapshot));
        }
    }
}
