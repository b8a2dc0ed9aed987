//! Layers being made: directories that overlayfs writes into and that become layers by rename.

use crate::root::{Temporary, make_directory};
use crate::tree_tar::{self, Hashed};
use crate::{Layer, LayerId, Lease, Store, StoreError};
use oci::Digest;
use std::path::{Path, PathBuf};
use sys::SysError;

/// A layer being made: directories that overlayfs writes into.
#[derive(Debug)]
pub struct Snapshot {
    /// The layers below it, bottom first.
    pub parents: Vec<LayerId>,
    /// The directory that becomes the layer.
    pub upper: PathBuf,
    /// Overlayfs's scratch directory.
    pub work: PathBuf,
}

/// How times inside a layer made here are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// As they are on disk.
    AsFound,
    /// No later than this, in seconds since 1970; the files on disk are changed alike, so that what runs here is
    /// what others pull.
    NoLaterThan(i64),
    /// All of them this, in seconds since 1970, on disk too.
    Exactly(i64),
    /// What a command has made gets a fixed time; what it has unpacked keeps its own. All in seconds since 1970.
    MadeSince {
        /// When the command began: what is as young as this, or younger, was made by it.
        began: i64,
        /// What that gets.
        instead: i64,
        /// What nothing may be later than.
        limit: Option<i64>,
    },
}

impl Times {
    /// Returns the time that takes the place of `mtime`, if another does.
    pub fn instead_of(self, mtime: i64) -> Option<i64> {
        match self {
            Self::AsFound => None,
            Self::NoLaterThan(limit) => (mtime >= limit).then_some(limit),
            Self::Exactly(time) => Some(time),
            Self::MadeSince { began, instead, .. } if mtime >= began => Some(instead),
            Self::MadeSince { limit, .. } => limit.filter(|limit| mtime >= *limit),
        }
    }
}

impl Store {
    /// Begins a layer on top of `parents` (bottom first).
    pub fn begin_snapshot(&self, lease: &Lease, parents: &[LayerId]) -> Result<Snapshot, StoreError> {
        self.database.write(|t| {
            for id in parents {
                crate::layers::layer_by_id(t, id)?;
                lease.keep_layer(t, id)?;
            }
            Ok::<_, StoreError>(())
        })?;
        let directory = Temporary(self.directory("snapshots").join(lease.snapshot_name()));
        make_directory(&directory.0, 0o700)?;
        sys::failpoint::reach("snapshot.directory")?;
        let snapshot = Snapshot {
            parents: parents.to_vec(),
            upper: directory.0.join("upper"),
            work: directory.0.join("work"),
        };
        make_directory(&snapshot.upper, 0o755)?;
        make_directory(&snapshot.work, 0o700)?;
        // The union's root is the upper directory's, so it begins as the one below it is.
        if let Some(top) = parents.last() {
            let path = self.layer_path(top);
            let stat = rustix::fs::lstat(&path).map_err(SysError::on("look at", &path))?;
            let upper = &snapshot.upper;
            let owner = (
                rustix::fs::Uid::from_raw(stat.st_uid),
                rustix::fs::Gid::from_raw(stat.st_gid),
            );
            rustix::fs::chown(upper, Some(owner.0), Some(owner.1))
                .map_err(SysError::on("set the owner of", upper))?;
            rustix::fs::chmod(upper, rustix::fs::Mode::from_raw_mode(stat.st_mode & 0o7777))
                .map_err(SysError::on("set the mode of", upper))?;
        }
        sys::failpoint::reach("snapshot.made")?;
        std::mem::forget(directory);
        Ok(snapshot)
    }

    /// Makes a snapshot's upper directory a layer by rename: sets the times, hashes its tar as a stream. If a layer
    /// with the same `diff_id` is here already, returns that one and drops the snapshot.
    pub fn commit_snapshot(
        &self,
        lease: &Lease,
        snapshot: Snapshot,
        times: Times,
    ) -> Result<Layer, StoreError> {
        let settled = settle(&snapshot, times).and_then(|()| hash(&snapshot.upper));
        match settled {
            Ok(hashed) => self.commit_settled(lease, snapshot, hashed),
            Err(error) => {
                drop(holder(&snapshot));
                Err(error)
            }
        }
    }

    /// Makes a snapshot that [`settle`] has set the times of a layer; `hashed` is what [`hash`] says of it.
    pub fn commit_settled(
        &self,
        lease: &Lease,
        snapshot: Snapshot,
        (diff_id, size): (Digest, u64),
    ) -> Result<Layer, StoreError> {
        let aside = holder(&snapshot);
        let upper = Temporary(snapshot.upper);
        sys::failpoint::reach("snapshot.hashed")?;
        let layer = self.place_layer(lease, &upper, &diff_id, size, |_| Ok(()))?;
        sys::failpoint::pass("snapshot.committed");
        drop(aside);
        Ok(layer)
    }

    /// Drops a snapshot and what is in it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "there is no snapshot any more afterwards"
    )]
    pub fn discard_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let aside = holder(&snapshot);
        sys::fs::remove_all(&aside.0)?;
        Ok(())
    }
}

/// Sets the times of what is in a snapshot, and takes away overlayfs's own marks. Nothing may have it mounted to write
/// into it any more; as a lower directory it may be mounted from now on.
pub fn settle(snapshot: &Snapshot, times: Times) -> Result<(), StoreError> {
    tree_tar::settle(&snapshot.upper, times)
}

/// Returns the digest of the tar of a settled snapshot's upper directory, and the bytes of its files.
pub fn hash(upper: &Path) -> Result<(Digest, u64), StoreError> {
    let mut hashed = Hashed::new(std::io::sink());
    let size = tree_tar::write(upper, &mut hashed)?;
    Ok((hashed.digest(), size))
}

/// Returns the directory that holds the snapshot's, to be removed.
fn holder(snapshot: &Snapshot) -> Temporary {
    Temporary(
        snapshot
            .upper
            .parent()
            .map_or_else(|| snapshot.upper.clone(), Path::to_owned),
    )
}
