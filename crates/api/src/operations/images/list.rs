//! `GET /images/json`.

use crate::server::{ApiVersion, Exchange, Failure, Reply};
use crate::wire::ImageSummary;
use engine::Engine;
use engine::containers::record::Container;
use engine::containers::request::ListContainers;
use engine::images::{Image, IndexMember};
use engine::usage::ImageUsage;
use oci::{Digest, Platform};
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
    let manifests = if with_manifests {
        Some(Manifests::new(&engine)?)
    } else {
        None
    };
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
        if let Some(manifests) = &manifests {
            document["Manifests"] = manifests.of(image)?;
        }
        list.push(document);
    }
    for artifact in filter.choose_artifacts(images.artifacts()?) {
        list.push(ImageSummary::of_artifact(&artifact).as_of(version)?);
    }
    Reply::json(&list)
}

/// What is told of manifests: where they come from, what they are for, and who uses them.
pub(super) struct Manifests<'e> {
    engine: &'e Engine,
    containers: Vec<Container>,
    images: HashMap<Digest, Image>,
}

impl<'e> Manifests<'e> {
    pub(super) fn new(engine: &'e Engine) -> Result<Self, Failure> {
        let every = ListContainers {
            all: true,
            ..ListContainers::default()
        };
        let images = engine.images().list()?;
        Ok(Self {
            engine,
            containers: engine.containers().list(&every)?,
            images: images.into_iter().map(|image| (image.id, image)).collect(),
        })
    }

    /// Describes what the names of an image lead to: it alone, or all that its index lists.
    pub(super) fn of(&self, image: &Image) -> Result<Value, Failure> {
        let images = self.engine.images();
        for tag in &image.tags {
            if let Some(index) = images.index(tag)? {
                return Ok(index.members.iter().map(|member| self.member(member)).collect());
            }
        }
        let Some((raw, media_type)) = images.manifest(image)? else {
            return Ok(json!([]));
        };
        let digest = image.manifest.map(|digest| digest.to_string());
        Ok(json!([{
            "ID": digest,
            "Descriptor": {"mediaType": media_type, "digest": digest, "size": raw.len()},
            "Available": true,
            "Size": size(image, raw.len() as u64),
            "Kind": "image",
            "ImageData": self.data(image),
        }]))
    }

    fn member(&self, member: &IndexMember) -> Value {
        let digest = member.manifest.map(|digest| digest.to_string());
        let mut document = json!({
            "ID": digest,
            "Descriptor": {"mediaType": member.media_type, "digest": digest, "size": member.size},
            "Available": member.is_here,
            "Size": {"Content": 0, "Total": 0},
            "Kind": "unknown",
        });
        if let Some(platform) = &member.platform {
            document["Kind"] = "image".into();
            document["Descriptor"]["platform"] = platform_document(platform);
            document["ImageData"] = json!({
                "Platform": platform_document(platform), "Containers": [], "Size": {"Unpacked": 0},
            });
        }
        if let Some(image) = member.image.and_then(|id| self.images.get(&id)) {
            document["Size"] = size(image, member.size);
            document["ImageData"] = self.data(image);
        }
        document
    }

    fn data(&self, image: &Image) -> Value {
        let users = self
            .containers
            .iter()
            .filter(|container| container.image == image.id);
        let users: Vec<String> = users.map(|container| container.id.to_string()).collect();
        json!({
            "Platform": platform_document(&image.platform),
            "Containers": users,
            "Size": {"Unpacked": image.size},
        })
    }
}

fn platform_document(platform: &Platform) -> Value {
    let mut document = json!({"architecture": platform.architecture, "os": platform.os});
    if !platform.variant.is_empty() {
        document["variant"] = platform.variant.as_str().into();
    }
    document
}

fn size(image: &Image, manifest: u64) -> Value {
    let content = manifest + image.raw_config.len() as u64;
    json!({"Content": content, "Total": content + image.size})
}
