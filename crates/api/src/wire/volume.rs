//! A volume, as `docker volume inspect` shows it.

use super::time;
use engine::volumes::Volume;
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /volumes/{name}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeInspect {
    created_at: String,
    driver: &'static str,
    labels: Option<BTreeMap<String, String>>,
    mountpoint: String,
    name: String,
    options: Option<BTreeMap<String, String>>,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_data: Option<UsageData>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    ref_count: u64,
    size: u64,
}

impl VolumeInspect {
    /// Makes it of a volume.
    pub fn new(volume: &Volume) -> Self {
        let map = |map: &BTreeMap<String, String>| if map.is_empty() { None } else { Some(map.clone()) };
        let mut labels = volume.labels.clone();
        if volume.anonymous {
            labels.insert("com.docker.volume.anonymous".into(), String::new());
        }
        Self {
            created_at: time(Some(volume.created / 1_000_000_000 * 1_000_000_000)),
            driver: "local",
            labels: map(&labels),
            mountpoint: volume.mountpoint.display().to_string(),
            name: volume.name.clone(),
            options: map(&volume.options),
            scope: "local",
            usage_data: None,
        }
    }

    /// Adds how large it is and how many containers refer to it.
    #[must_use]
    pub fn with_usage(self, size: u64, containers: u64) -> Self {
        Self {
            usage_data: Some(UsageData {
                ref_count: containers,
                size,
            }),
            ..self
        }
    }
}
