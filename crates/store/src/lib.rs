//! What is kept: blobs as registries have them, layers unpacked, images, and the volumes' directories.
//!
//! In: blob streams, layer tars, archives. Out: an image's root filesystem as the directories of a union
//! ([`oci::Overlay`]). Stands on `state` (its tables: blobs, layers, `layer_blobs`, images, `image_layers`,
//! indexes, artifacts, tags, `repository_digests`, leases) and on `sys` for every path inside a layer. Never talks to a network, never starts a
//! process.
//!
//! # On disk
//!
//! ```text
//! <root>/blobs/sha256/<hex>      content exactly as it came
//! <root>/layers/<id>/            one unpacked layer each
//! <root>/snapshots/<holder>-<n>/ layers being made: upper, work
//! <root>/skeleton/               the lowest directory of every container: what the runtime mounts on
//! <root>/leases/<holder>         locked by a live process; tells who owns the next two
//! <root>/tmp/<holder>/           what is being written
//! <root>/locks/<hex>             locked by who unpacks the layer with this `diff_id`
//! ```
//!
//! Files and directories come into `blobs` and `layers`, and go from there, by a rename inside the write transaction
//! that records it, so that whoever holds the write transaction sees disk and records agree. A process that dies in
//! between leaves at worst an unrecorded file, which garbage collection finds, or a record without its file, which
//! is treated as absent.
//!
//! What is new is recorded as not yet durable, with this boot's id, and served at once; [`Store::make_durable`] syncs
//! and says so. After a reboot whatever was not durable is checked against its digest, made anew from its blob, or
//! dropped.

mod archive;
mod artifacts;
mod blobs;
mod changes;
mod compare;
mod copy;
mod duplicate;
mod error;
mod extract;
mod garbage;
mod growing;
mod gzip;
mod images;
mod indexes;
mod inflate;
mod layers;
mod lease;
mod marks;
mod members;
mod namespace;
mod pipeline;
mod recovery;
mod root;
mod snapshots;
mod tar;
mod tree_tar;

pub use archive::{
    ArtifactBlob, Choice, LayerProgress, LayoutOptions, Loaded, Parcel, ParcelContent, artifact_manifest,
};
pub use artifacts::Artifact;
pub use changes::{Change, ChangeKind, changes};
pub use compare::{Aspect, Difference};
pub use copy::{Clash, Owner, unpack_into, unpack_strange, unpack_tree, write_alone, write_root, write_tree};
pub use error::StoreError;
pub use extract::{ExtractError, Limits};
pub use garbage::{Reclaimed, Usage};
pub use growing::{Growing, LAYER_TYPE};
pub use gzip::{Gzip, GzipStream};
pub use images::{Image, NewImage};
pub use indexes::{Index, IndexMember};
pub use layers::{Layer, LayerId};
pub use lease::Lease;
pub use members::{Archive, ArchiveMember, MemberType};
pub use root::Store;
pub use snapshots::{Snapshot, Times, hash, settle};
pub use tar::TarError;
