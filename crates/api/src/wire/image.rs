//! An image, as `docker image inspect` and `docker history` show it.

use super::container::directories;
use super::time;
use crate::server::{ApiVersion, Failure};
use engine::images::{Artifact, Image};
use oci::Config;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `GET /images/{name}/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: String,
    comment: String,
    created: String,
    docker_version: &'static str,
    author: String,
    config: Config,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    size: u64,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: BTreeMap<String, String>,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: &'static str,
    layers: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

impl ImageInspect {
    /// Makes it of an image.
    /// `layers` are the directories of its layers, the topmost first.
    pub fn new(image: &Image, layers: &[PathBuf]) -> Self {
        let config = &image.config;
        let mut data = BTreeMap::new();
        if let Some((top, below)) = layers.split_first() {
            data.insert("UpperDir".to_owned(), top.display().to_string());
            if !below.is_empty() {
                data.insert("LowerDir".to_owned(), directories(below));
            }
        }
        Self {
            id: image.id.to_string(),
            repo_tags: image.tags.iter().map(oci::Reference::familiar).collect(),
            repo_digests: image
                .repository_digests
                .iter()
                .map(oci::Reference::familiar)
                .collect(),
            parent: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
            comment: config
                .history
                .last()
                .map(|entry| entry.comment.clone())
                .unwrap_or_default(),
            created: config.created.clone().unwrap_or_else(|| time(None)),
            docker_version: "",
            author: config.author.clone(),
            config: config.config.clone(),
            architecture: image.platform.architecture.clone(),
            variant: image.platform.variant.clone(),
            os: image.platform.os.clone(),
            size: image.size,
            graph_driver: GraphDriver {
                data,
                name: "overlay2",
            },
            root_fs: RootFs {
                kind: "layers",
                layers: image
                    .layers
                    .iter()
                    .map(|layer| layer.diff_id.to_string())
                    .collect(),
            },
            metadata: Metadata {
                last_tag_time: time(Some(image.created)),
            },
        }
    }
}

/// `GET /images/json`: one image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    /// How many containers use it; -1 if nobody has counted.
    pub containers: i64,
    created: i64,
    id: String,
    labels: Option<BTreeMap<String, String>>,
    parent_id: String,
    repo_digests: Vec<String>,
    repo_tags: Vec<String>,
    /// Bytes that others have, too; -1 if nobody has measured.
    pub shared_size: i64,
    size: u64,
}

impl ImageSummary {
    /// Makes it of an image.
    pub fn new(image: &Image) -> Self {
        let familiar =
            |references: &[oci::Reference]| references.iter().map(oci::Reference::familiar).collect();
        let labels = &image.config.config.labels;
        Self {
            containers: -1,
            created: made(image).div_euclid(1_000_000_000),
            id: image.id.to_string(),
            labels: (!labels.is_empty()).then(|| labels.clone()),
            parent_id: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
            repo_digests: familiar(&image.repository_digests),
            repo_tags: familiar(&image.tags),
            shared_size: -1,
            size: image.size,
        }
    }

    /// Makes it of what is no image, and listed with them all the same, as Docker does.
    pub(crate) fn of_artifact(artifact: &Artifact) -> Self {
        let familiar =
            |references: &[oci::Reference]| references.iter().map(oci::Reference::familiar).collect();
        Self {
            containers: -1,
            created: artifact.created.div_euclid(1_000_000_000),
            id: artifact.digest.to_string(),
            labels: None,
            parent_id: String::new(),
            repo_digests: familiar(&artifact.repository_digests),
            repo_tags: familiar(&artifact.tags),
            shared_size: -1,
            size: artifact.size,
        }
    }

    /// Gives it the shape that it had in a version.
    pub(crate) fn as_of(&self, version: ApiVersion) -> Result<serde_json::Value, Failure> {
        let mut document =
            serde_json::to_value(self).map_err(|error| Failure::internal(error.to_string()))?;
        if version < ApiVersion::new(44) {
            document["VirtualSize"] = self.size.into();
        }
        if version < ApiVersion::new(43) && self.repo_tags.is_empty() && self.repo_digests.is_empty() {
            document["RepoTags"] = serde_json::json!(["<none>:<none>"]);
            document["RepoDigests"] = serde_json::json!(["<none>@<none>"]);
        }
        Ok(document)
    }
}

/// When an image was made, in nanoseconds since 1970. One whose times were taken out for the sake of reproducibility is as
/// old as its stay here.
fn made(image: &Image) -> i64 {
    let epoch = engine::builder::FIXED_EPOCH * 1_000_000_000;
    let made = image.config.created.as_deref().and_then(nanoseconds);
    made.filter(|moment| *moment > epoch).unwrap_or(image.created)
}

/// `GET /images/{name}/history`: one step, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryEntry {
    /// The image's id on its topmost step, `<missing>` on the others.
    pub id: String,
    /// Nanoseconds since 1970, if the step says.
    #[serde(skip)]
    pub created: Option<i64>,
    /// The instruction.
    pub created_by: String,
    /// The image's references on its topmost step.
    pub tags: Vec<String>,
    /// Bytes of its layer.
    pub size: u64,
    /// What the maker noted.
    pub comment: String,
}

impl HistoryEntry {
    /// Makes an image's history, the newest step first.
    pub fn all(image: &Image) -> Vec<Self> {
        let mut sizes = image.layers.iter().map(|layer| layer.size);
        let mut entries: Vec<Self> = image
            .config
            .history
            .iter()
            .map(|entry| Self {
                id: "<missing>".into(),
                created: entry.created.as_deref().and_then(nanoseconds),
                created_by: entry.created_by.clone(),
                tags: Vec::new(),
                size: if entry.empty_layer {
                    0
                } else {
                    sizes.next().unwrap_or(0)
                },
                comment: entry.comment.clone(),
            })
            .collect();
        entries.reverse();
        if let Some(first) = entries.first_mut() {
            first.id = image.id.to_string();
            first.tags = image.tags.iter().map(oci::Reference::familiar).collect();
        }
        entries
    }
}

fn nanoseconds(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}
