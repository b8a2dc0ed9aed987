//! An artifact, as `image inspect` shows it: what its manifest says, and where it came from.

use super::time;
use engine::images::ArtifactManifest;
use oci::Descriptor;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of an artifact. What images have and artifacts have, too, bears the same names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArtifactInspect {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    media_type: String,
    artifact_type: String,
    config: Blob,
    layers: Vec<Blob>,
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Blob>,
    size: u64,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

/// A descriptor, in the specification's own names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Blob {
    fn new(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string(),
            size: descriptor.size(),
            annotations: sorted(descriptor.annotations().as_ref()),
        }
    }
}

fn sorted(annotations: Option<&std::collections::HashMap<String, String>>) -> BTreeMap<String, String> {
    annotations
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

impl ArtifactInspect {
    /// Makes it of an artifact.
    pub fn new(read: &ArtifactManifest) -> Self {
        let (artifact, manifest) = (&read.artifact, &read.manifest);
        let references =
            |references: &[oci::Reference]| references.iter().map(oci::Reference::familiar).collect();
        Self {
            id: artifact.digest.to_string(),
            repo_tags: references(&artifact.tags),
            repo_digests: references(&artifact.repository_digests),
            media_type: oci::Manifest::Image(Box::new(manifest.clone()))
                .media_type()
                .to_string(),
            artifact_type: artifact.kind.clone(),
            config: Blob::new(manifest.config()),
            layers: manifest.layers().iter().map(Blob::new).collect(),
            annotations: sorted(manifest.annotations().as_ref()),
            subject: manifest.subject().as_ref().map(Blob::new),
            size: artifact.size,
            metadata: Metadata {
                last_tag_time: time(Some(artifact.created)),
            },
        }
    }
}
