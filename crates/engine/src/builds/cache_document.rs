//! What a build cache says of itself. It is the configuration of an artifact (an OCI manifest) whose layers are those of
//! the steps; the artifact lies in a directory as an OCI layout, or in a registry under a name.
//!
//! Keys are made of digests alone and so are the same on every machine. Whoever writes a cache says what a build with it
//! makes: take it only from whom you would take the image.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// The document's type.
pub(super) const CACHE_TYPE: &str = "application/vnd.coracle.build-cache.v1+json";
/// The type of a cache mount's files.
pub(super) const MOUNT_TYPE: &str = "application/vnd.coracle.cache-mount.v1.tar+zstd";
/// Steps are many, and their inputs name files.
pub(super) const LARGEST: u64 = 64 << 20;

/// The document.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) steps: Vec<KeptStep>,
    /// Directories of `RUN --mount=type=cache`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mounts: Vec<KeptMount>,
}

/// What is kept of a step.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptStep {
    pub(super) key: Digest,
    /// Its layer, if it has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<KeptLayer>,
    pub(super) summary: String,
    pub(super) seconds: f64,
    /// What went into the key, for `--explain`. Only in directories: it names variables with their values.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(super) inputs: serde_json::Value,
}

/// A layer of the artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptLayer {
    /// The digest of its tar.
    pub(super) diff_id: Digest,
    /// The digest of the blob that holds it.
    pub(super) blob: Digest,
}

/// A cache mount of the artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptMount {
    /// What Dockerfiles call it.
    pub(super) id: String,
    /// The digest of the blob that holds its files.
    pub(super) blob: Digest,
}
