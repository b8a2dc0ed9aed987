//! `GET /images/json`.

use crate::server::{ApiVersion, Exchange, Failure, Reply};
use crate::wire::ImageSummary;
use engine::Engine;
use engine::images::Image;
use engine::usage::ImageUsage;
use serde_json::{Value, json};
use std::collections::HashMap;

pub(super) fn list(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let version = exchange.version();
    let query = exchange.query();
    let mut filters = query.filters()?;
    if version < ApiVersion::new(25) && !filters.iter().any(|(key, _)| key == "reference") {
        let pattern = query
            .get("filter")
            .map(|pattern| ("reference".to_owned(), pattern.to_owned()));
        filters.extend(pattern);
    }
    let with_manifests = version >= ApiVersion::new(47) && query.flag("manifests");
    if version >= ApiVersion::new(54) && query.flag("identity") && !with_manifests {
        return Err(Failure::bad_request(
            "conflicting options: identity requires manifests=1",
        ));
    }
    let shares = version >= ApiVersion::new(42) && query.flag("shared-size");
    let engine = exchange.engine()?;
    let images = engine.images();
    let filter = images.filter(&filters, query.flag("all"))?;
    let usage = engine.image_usage()?;
    let chosen = filter.choose(usage.iter().map(|usage| usage.image.clone()).collect());
    let usage: HashMap<_, &ImageUsage> = usage.iter().map(|usage| (usage.image.id, usage)).collect();
    let mut list = Vec::new();
    for image in &chosen {
        let mut summary = ImageSummary::new(image);
        if let Some(usage) = usage.get(&image.id) {
            if version >= ApiVersion::new(51) {
                summary.containers = usage.containers.try_into().unwrap_or(i64::MAX);
            }
            if shares {
                summary.shared_size = usage.shared.try_into().unwrap_or(i64::MAX);
            }
        }
        let mut document = summary.as_of(version)?;
        if with_manifests {
            document["Manifests"] = manifests(&engine, image)?;
        }
        list.push(document);
    }
    Reply::json(&list)
}

/// Describes the manifest of an image, if it came with one: where it is for and who uses it.
pub(super) fn manifests(engine: &Engine, image: &Image) -> Result<Value, Failure> {
    let Some(manifest) = image.manifest else {
        return Ok(json!([]));
    };
    let Some((raw, media_type)) = engine.images().manifest(image)? else {
        return Ok(json!([]));
    };
    let users: Vec<String> = engine
        .containers()
        .list(&engine::containers::request::ListContainers {
            all: true,
            ..Default::default()
        })?
        .iter()
        .filter(|container| container.image == image.id)
        .map(|container| container.id.to_string())
        .collect();
    let content = raw.len() as u64 + image.raw_config.len() as u64;
    let mut platform = json!({"architecture": image.platform.architecture, "os": image.platform.os});
    if !image.platform.variant.is_empty() {
        platform["variant"] = image.platform.variant.as_str().into();
    }
    Ok(json!([{
        "ID": manifest.to_string(),
        "Descriptor": {"mediaType": media_type, "digest": manifest.to_string(), "size": raw.len()},
        "Available": true,
        "Size": {"Content": content, "Total": content + image.size},
        "Kind": "image",
        "ImageData": {
            "Platform": platform,
            "Containers": users,
            "Size": {"Unpacked": image.size},
        },
    }]))
}
