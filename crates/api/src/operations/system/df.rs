//! `GET /system/df`: what is stored, and what could be given back.

use crate::server::{ApiVersion, Exchange, Failure, Reply};
use crate::wire::{BuildCacheRecord, ContainerSummary, ImageSummary, VolumeInspect};
use engine::usage::DiskDetails;
use serde_json::{Map, Value, json};

/// Kinds of things, in the query and in the order of [`DiskDetails::summary`]; then the names of the fields that tell of
/// them, since version 1.52 and before.
const KINDS: [(&str, &str, &str); 4] = [
    ("image", "ImageUsage", "Images"),
    ("container", "ContainerUsage", "Containers"),
    ("volume", "VolumeUsage", "Volumes"),
    ("build-cache", "BuildCacheUsage", "BuildCache"),
];

pub(super) fn disk_usage(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let version = exchange.version();
    let query = exchange.query();
    let mut wanted: Vec<&str> = Vec::new();
    if version >= ApiVersion::new(42) {
        wanted = query.all("type").collect();
        if let Some(unknown) = wanted
            .iter()
            .find(|wanted| KINDS.iter().all(|(kind, ..)| kind != *wanted))
        {
            return Err(Failure::bad_request(format!("unknown object type: {unknown}")));
        }
    }
    let is_wanted = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let is_new = version >= ApiVersion::new(52);
    let verbose = is_new && query.flag("verbose");
    // One version speaks both languages.
    let speaks_old = version < ApiVersion::new(53) && !(is_new && query.get("verbose").is_some());
    let details = exchange.engine()?.disk_usage()?;
    let mut fields = Map::new();
    if speaks_old && is_wanted("image") {
        fields.insert("LayersSize".into(), details.layers_size.into());
    }
    if version < ApiVersion::new(42) {
        fields.insert("BuilderSize".into(), details.cache_size.into());
    }
    for ((kind, usage, old), sum) in KINDS.into_iter().zip(details.summary()) {
        if !is_wanted(kind) {
            continue;
        }
        let items = if speaks_old || verbose {
            items(kind, &details, version)?
        } else {
            Vec::new()
        };
        if is_new {
            let mut usage_of = json!({
                "ActiveCount": sum.active,
                "TotalCount": sum.total,
                "Reclaimable": sum.reclaimable,
                "TotalSize": sum.size,
            });
            if verbose {
                usage_of["Items"] = items.clone().into();
            }
            fields.insert(usage.into(), usage_of);
        }
        if speaks_old {
            fields.insert(old.into(), items.into());
        }
    }
    Reply::json(&fields)
}

fn items(kind: &str, details: &DiskDetails, version: ApiVersion) -> Result<Vec<Value>, Failure> {
    let value = |result: Result<Value, serde_json::Error>| {
        result.map_err(|error| Failure::internal(error.to_string()))
    };
    match kind {
        "image" => details
            .images
            .iter()
            .map(|usage| {
                let mut summary = ImageSummary::new(&usage.image);
                summary.containers = usage.containers.try_into().unwrap_or(i64::MAX);
                summary.shared_size = usage.shared.try_into().unwrap_or(i64::MAX);
                summary.as_of(version)
            })
            .collect(),
        "container" => details
            .containers
            .iter()
            .map(|container| {
                let name = &container.settings.image_name;
                let summary = ContainerSummary::new(container, name, engine::events::now(), version);
                value(serde_json::to_value(summary))
            })
            .collect(),
        "volume" => details
            .volumes
            .iter()
            .map(|usage| {
                let volume =
                    VolumeInspect::new(&usage.volume).with_usage(usage.size, usage.volume.containers);
                value(serde_json::to_value(volume))
            })
            .collect(),
        _ => details
            .build_cache
            .iter()
            .map(|step| value(serde_json::to_value(BuildCacheRecord::new(step, version))))
            .collect(),
    }
}
