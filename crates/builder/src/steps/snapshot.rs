//! A layer being made: dropped unless it is committed.

use crate::build::Job;
use crate::error::StepError;
use crate::tidy::{Span, tidy};
use oci::Digest;
use rustix::fs::Mode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use store::{Layer, LayerId, Lease, Snapshot, Store, StoreError, Times};
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
    /// A settled snapshot between it and the layers below.
    over: Option<PathBuf>,
    began: i64,
}

/// A snapshot whose tar is being hashed.
pub(crate) struct Settled<'a> {
    draught: Draught<'a>,
    hashing: JoinHandle<Result<(Digest, u64), StoreError>>,
}

impl Settled<'_> {
    /// Returns the directory that becomes the layer.
    pub(crate) fn upper(&self) -> &Path {
        self.draught.upper()
    }

    /// Says whether the hash is known.
    pub(crate) fn is_hashed(&self) -> bool {
        self.hashing.is_finished()
    }

    /// Waits for the hash and makes it a layer. Nothing may have it mounted any more.
    pub(crate) fn finish(self) -> Result<Layer, StepError> {
        let Self { mut draught, hashing } = self;
        let hashed = hashing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let snapshot = draught.take();
        Ok(draught.store.commit_settled(&draught.lease, snapshot, hashed)?)
    }
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
            over: None,
            began: 0,
        };
        let upper = &draught.snapshot.upper;
        // By the clock that the times of its files are taken from.
        let stat = rustix::fs::lstat(upper).map_err(SysError::on("look at", upper))?;
        draught.began = stat.st_ctime - ROUNDED;
        Ok(draught)
    }

    /// Begins on top of layers and of a settled snapshot that is about to become the next one.
    pub(crate) fn begin_over(
        job: &'a Job<'_>,
        layers: &[Layer],
        over: Option<&Path>,
    ) -> Result<Self, StepError> {
        let mut draught = Self::begin(job, layers)?;
        if let Some(over) = over {
            // The union's root is the upper directory's, so it begins as the one below it is.
            let stat = rustix::fs::lstat(over).map_err(SysError::on("look at", over))?;
            let tree = Tree::open(&draught.snapshot.upper)?;
            tree.set_owner(Path::new("."), (stat.st_uid, stat.st_gid))?;
            tree.set_mode(Path::new("."), Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            draught.over = Some(over.to_owned());
        }
        Ok(draught)
    }

    /// Tidies what a command has left, so that nothing in it tells when that was, and says how its times are to be set.
    /// `instead` is the time that takes the place of the present; nothing is later than `limit`.
    pub(crate) fn tidied(&self, instead: i64, limit: Option<i64>) -> Result<Times, StepError> {
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
        Ok(times)
    }

    /// Begins to make it a layer: when this returns it changes no more, and its tar is being hashed.
    pub(crate) fn commit_behind(self, times: Times) -> Result<Settled<'a>, StepError> {
        store::settle(&self.snapshot, times)?;
        let upper = self.snapshot.upper.clone();
        let hashing = std::thread::Builder::new()
            .name("hash".to_owned())
            .spawn(move || store::hash(&upper))
            .map_err(|error| SysError::io("start a thread", "hash", &error))?;
        Ok(Settled {
            draught: self,
            hashing,
        })
    }

    /// Returns the directory that takes what is written.
    pub(crate) fn upper(&self) -> &Path {
        &self.snapshot.upper
    }

    /// Returns the union that a command runs in.
    pub(crate) fn overlay(&self, skeleton: bool) -> oci::Overlay {
        let Snapshot { parents, upper, work } = &self.snapshot;
        let mut overlay = oci::Overlay {
            // What becomes a layer is synced with all other layers, see `Store::make_durable`.
            temporary: true,
            ..self.store.overlay(parents, Some((upper, work)), skeleton)
        };
        overlay.lower.splice(0..0, self.over.clone());
        overlay
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
