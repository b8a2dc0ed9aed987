//! What is kept: blobs as registries have them, layers unpacked, images, and the volumes' directories.
//!
//! In: blob streams, layer tars, archives. Out: an image's root filesystem as the directories of a union
//! ([`oci::Overlay`]). Stands on `state` (its tables: blobs, layers, layer_blobs, images, image_layers, tags,
//! repository_digests, leases) and on `sys` for every path inside a layer. Never talks to a network, never starts a
//! process.

use oci::{Digest, ImageConfig, Overlay, Platform, Reference};
use state::Database;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of an unpacked layer's directory, below `layers/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LayerId(pub(crate) String);

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its directory's name.
    pub id: LayerId,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its files, unpacked.
    pub size: u64,
}

/// An image as the store has it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of `raw_config`.
    pub id: Digest,
    /// The configuration, read.
    pub config: ImageConfig,
    /// The configuration, byte for byte.
    pub raw_config: Vec<u8>,
    /// The digest of the manifest that it came with.
    pub manifest: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// When it came to be here: nanoseconds since 1970.
    pub created: i64,
    /// The image it was built from here, if any.
    pub parent: Option<Digest>,
    /// Bottom first.
    pub layers: Vec<Layer>,
    /// The references that lead to it, sorted.
    pub tags: Vec<Reference>,
    /// `repository@digest` under which registries know it, sorted.
    pub repository_digests: Vec<Reference>,
}

/// An image to be recorded.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// The configuration, byte for byte.
    pub raw_config: &'a [u8],
    /// The manifest's digest, whose blob is in the store.
    pub manifest: Option<Digest>,
    /// Bottom first; their diff_ids must be those of the configuration.
    pub layers: &'a [LayerId],
    /// The image it was built from.
    pub parent: Option<Digest>,
    /// References to move to it.
    pub tags: &'a [Reference],
    /// `repository@digest` under which a registry knows it.
    pub repository_digest: Option<&'a Reference>,
}

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
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state database failed.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
}

/// The store below one root directory. Threads share it.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    database: Arc<Database>,
}

/// Keeps what it was taken for from garbage collection, until it is dropped or its process dies.
#[derive(Debug)]
pub struct Lease {
    _private: (),
}

/// What [`Store::collect_garbage`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Layers removed.
    pub layers: u64,
    /// Blobs removed.
    pub blobs: u64,
    /// Bytes given back.
    pub bytes: u64,
}

/// How much the store holds, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all layers.
    pub layers: u64,
    /// Bytes of all blobs.
    pub blobs: u64,
    /// Bytes of layers that only the build cache keeps.
    pub build_cache: u64,
}

impl Store {
    /// Opens the store below `root`, making its directories (0700) where they are missing, and finishes or undoes
    /// what a dead process left.
    pub fn open(root: &Path, database: Arc<Database>) -> Result<Self, StoreError> {
        Ok(Self {
            root: root.to_owned(),
            database,
        })
    }

    /// Takes a lease. Whatever this process puts into the store while it lives is kept until it is dropped.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        todo!("{:?}", (&self.root, &self.database))
    }

    /// Stores a small blob whose digest is computed here (a configuration, a manifest).
    pub fn put_blob(&self, lease: &Lease, content: &[u8]) -> Result<Digest, StoreError> {
        todo!("{lease:?} {content:?}")
    }

    /// Opens a blob for reading; `None` if it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        todo!("{digest}")
    }

    /// Returns the layer whose tar has this digest, if it is here, and leases it.
    pub fn find_layer(&self, lease: &Lease, diff_id: &Digest) -> Result<Option<Layer>, StoreError> {
        todo!("{lease:?} {diff_id}")
    }

    /// Reads a layer's blob once: hashes it, keeps it, inflates it, hashes the tar and unpacks it; records the layer
    /// only if both digests and the size are right. If another process is unpacking the same layer, waits for it
    /// and reads nothing. `parents` (bottom first) serve hard links to files of lower layers.
    pub fn unpack_layer(
        &self,
        lease: &Lease,
        blob: &oci::Descriptor,
        diff_id: &Digest,
        open: &mut dyn FnMut() -> std::io::Result<Box<dyn Read + Send>>,
    ) -> Result<Layer, StoreError> {
        todo!("{lease:?} {blob:?} {diff_id} {:?}", open().is_ok())
    }

    /// Begins a layer on top of `parents` (bottom first).
    pub fn begin_snapshot(&self, lease: &Lease, parents: &[LayerId]) -> Result<Snapshot, StoreError> {
        todo!("{lease:?} {parents:?}")
    }

    /// Makes a snapshot's upper directory a layer by rename: sets the times, hashes its tar as a stream. If a layer
    /// with the same diff_id is here already, returns that one and drops the snapshot.
    pub fn commit_snapshot(
        &self,
        lease: &Lease,
        snapshot: Snapshot,
        times: Times,
    ) -> Result<Layer, StoreError> {
        todo!("{lease:?} {snapshot:?} {times:?}")
    }

    /// Drops a snapshot and what is in it.
    pub fn discard_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        todo!("{snapshot:?}")
    }

    /// Returns the union of `layers` (bottom first). With `skeleton`, a directory that has every path that the
    /// runtime mounts something on (`/proc`, `/etc/resolv.conf`, …) lies at the very bottom, so that mounting
    /// leaves no trace in `upper`.
    pub fn overlay(&self, layers: &[LayerId], upper: Option<(&Path, &Path)>, skeleton: bool) -> Overlay {
        todo!("{layers:?} {upper:?} {skeleton}")
    }

    /// Writes a layer's tar, whose digest is its diff_id.
    pub fn write_layer_tar(&self, layer: &Layer, into: &mut dyn Write) -> Result<(), StoreError> {
        todo!("{layer:?} {}", into.flush().is_ok())
    }

    /// Records an image and moves tags to it, in one transaction. Recording one that is here already only adds.
    pub fn record_image(&self, image: &NewImage<'_>) -> Result<Image, StoreError> {
        todo!("{image:?}")
    }

    /// Returns the image that a reference leads to: by its digest if it has one, else by its tag.
    pub fn image_by_reference(&self, reference: &Reference) -> Result<Option<Image>, StoreError> {
        todo!("{reference}")
    }

    /// Returns the images whose ids begin with `hex`.
    pub fn images_by_prefix(&self, hex: &str) -> Result<Vec<Image>, StoreError> {
        todo!("{hex}")
    }

    /// Returns all images, the newest first.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        todo!()
    }

    /// Makes `reference` lead to `image`; returns the image that it led to before.
    pub fn tag(&self, image: &Digest, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        todo!("{image} {reference}")
    }

    /// Removes a tag or a repository digest. Returns whether it was there.
    pub fn untag(&self, reference: &Reference) -> Result<bool, StoreError> {
        todo!("{reference}")
    }

    /// Removes an image's record with its tags. Its layers and blobs go with the next garbage collection.
    pub fn remove_image(&self, image: &Digest) -> Result<(), StoreError> {
        todo!("{image}")
    }

    /// Removes layers and blobs that no image, container, build step or live lease refers to.
    pub fn collect_garbage(&self) -> Result<Reclaimed, StoreError> {
        todo!()
    }

    /// Measures what is stored.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        todo!()
    }

    /// Reads a docker-archive or an OCI image layout out of a tar (plain, gzip, bzip2, xz or zstd), recognised by its
    /// content; returns the images with the references that were set. On any error nothing is recorded.
    pub fn load(&self, archive: &mut dyn Read) -> Result<Vec<Loaded>, StoreError> {
        todo!("{}", archive.read(&mut []).is_ok())
    }

    /// Writes images as one tar that `docker load`, `podman load` and `skopeo` read: a docker-archive that is an OCI
    /// image layout as well, with layers uncompressed. The same images give the same bytes.
    pub fn save(&self, images: &[(Image, Vec<Reference>)], into: &mut dyn Write) -> Result<(), StoreError> {
        todo!("{images:?} {}", into.flush().is_ok())
    }

    /// Makes an image of one layer from a root filesystem's tar (any compression); `config` gets the rootfs and one
    /// history entry.
    pub fn import(
        &self,
        tar: &mut dyn Read,
        config: ImageConfig,
        comment: &str,
        reference: Option<&Reference>,
    ) -> Result<Image, StoreError> {
        todo!("{config:?} {comment} {reference:?} {}", tar.read(&mut []).is_ok())
    }
}

/// An image out of an archive.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The references that now lead to it.
    pub tags: Vec<Reference>,
}
