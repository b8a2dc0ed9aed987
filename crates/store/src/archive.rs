//! Images in files: docker-archives, OCI image layouts, plain root filesystems.

mod artifact;
mod import;
mod layout;
mod load;
mod save;
mod spool;

use crate::Image;
pub use artifact::{ArtifactBlob, artifact_manifest};
pub(crate) use import::with_sendable;
pub use layout::LayoutOptions;
pub use load::{Choice, LayerProgress};
use oci::{Digest, Reference};
pub use save::{Parcel, ParcelContent};

/// An image or an artifact out of an archive.
#[derive(Debug)]
pub struct Loaded {
    /// The image; none if it is an artifact.
    pub image: Option<Image>,
    /// The image's id or the artifact's digest.
    pub id: Digest,
    /// The references that now lead to it.
    pub tags: Vec<Reference>,
}

/// One image in a docker-archive's `manifest.json`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}
