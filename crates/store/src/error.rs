//! Why the store could not do it.

use crate::extract::ExtractError;
use crate::tar::TarError;
use oci::Digest;
use rustix::io::Errno;
use std::path::PathBuf;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An archive to load is not what it should be.
    #[error("the archive cannot be loaded: {0}")]
    Archive(String),
    /// A document in an archive or image is no JSON of the right shape.
    #[error("cannot read {what}")]
    Document {
        /// Which document.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Content is not what its digest says.
    #[error("{what} is damaged: its digest is {found} and should be {expected}")]
    Digest {
        /// What was checked.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack the layer {layer}")]
    Extract {
        /// The layer's digest.
        layer: String,
        /// What was wrong, and with which member.
        #[source]
        source: ExtractError,
    },
    /// Compressed data cannot be inflated.
    #[error("{what} cannot be decompressed")]
    Inflate {
        /// What was read.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A configuration and its layers do not belong together.
    #[error("the image's configuration lists {listed} layers that are not the {given} given ones")]
    LayersDiffer {
        /// How many the configuration lists.
        listed: usize,
        /// How many were given.
        given: usize,
    },
    /// A manifest cannot be used.
    #[error("cannot read the manifest {digest}")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: oci::ManifestError,
    },
    /// A layer's blob is of a kind that is no tar.
    #[error("layers of type '{0}' are not supported: this is no image to run, or of a newer kind")]
    MediaType(String),
    /// A layer has a hard link to a file that only the layers below it can have: unpack it again with
    /// [`crate::Store::unpack_layer_over`]. The blob has been kept and is not read again.
    #[error("the layer {diff_id} has the hard link '{member}' to a file of a layer below it")]
    NeedsParents {
        /// The layer.
        diff_id: Digest,
        /// The link.
        member: String,
    },
    /// There is no such image here.
    #[error("no such image: {0}")]
    NoSuchImage(Digest),
    /// There is no such layer here.
    #[error("the layer {0} is not in the store")]
    NoSuchLayer(String),
    /// A name in an archive is no reference.
    #[error("an image in the archive has a bad name")]
    Reference(#[from] oci::ReferenceError),
    /// Where content comes from failed.
    #[error("cannot read {what}")]
    Source {
        /// What was being read.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Content has another size than announced.
    #[error("{what} is damaged: it has {found} bytes and should have {expected}")]
    Size {
        /// What was measured.
        what: String,
        /// What it should have.
        expected: u64,
        /// What it has, or the bytes read until it was too much.
        found: u64,
    },
    /// A snapshot's directory holds something that no layer can express.
    #[error("'{path}' cannot become part of a layer: {why}")]
    Snapshot {
        /// Where.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// The state database failed.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
    /// A tar could not be read or written.
    #[error(transparent)]
    Tar(#[from] TarError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}

impl StoreError {
    /// Says whether the disk or its table of inodes is full: `coracle system prune` may help.
    pub fn is_no_space(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<sys::SysError>()
                && is_full(error.errno)
            {
                return true;
            }
            if let Some(errno) = error.downcast_ref::<Errno>()
                && is_full(*errno)
            {
                return true;
            }
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && error
                    .raw_os_error()
                    .is_some_and(|code| is_full(Errno::from_raw_os_error(code)))
            {
                return true;
            }
            if let Some(rusqlite::Error::SqliteFailure(failure, _)) = error.downcast_ref::<rusqlite::Error>()
                && failure.code == rusqlite::ErrorCode::DiskFull
            {
                return true;
            }
            cause = error.source();
        }
        // A transparent error's source skips the error itself.
        matches!(self, Self::Sys(error) if is_full(error.errno))
    }

    /// What the user can do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        if self.is_no_space() {
            return Some(
                "the disk or its table of inodes is full: 'system prune' removes what nothing uses, and \
                 --root moves the store to another disk",
            );
        }
        None
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT)
}
