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
        }
    }
}
