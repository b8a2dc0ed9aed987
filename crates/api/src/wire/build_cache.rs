//! A step of the build cache, as `docker system df` shows it.

use super::time;
use crate::server::ApiVersion;
use engine::builds::CachedStep;
use serde::Serialize;

/// An item of the build cache in `GET /system/df`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuildCacheRecord {
    #[serde(rename = "ID")]
    id: String,
    /// Before version 1.42.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(rename = "Type")]
    kind: &'static str,
    description: String,
    in_use: bool,
    shared: bool,
    size: u64,
    created_at: String,
    last_used_at: String,
    usage_count: u64,
}

impl BuildCacheRecord {
    /// Makes it of a step.
    pub(crate) fn new(step: &CachedStep, version: ApiVersion) -> Self {
        Self {
            id: step.key.clone(),
            parent: (version < ApiVersion::new(42)).then(String::new),
            kind: step.kind,
            description: step.summary.clone(),
            in_use: step.in_use,
            shared: step.shared,
            size: step.size,
            created_at: time(Some(step.created)),
            last_used_at: time(Some(step.last_used)),
            // Nobody counts, but each has been used by the build that made it.
            usage_count: 1,
        }
    }
}
