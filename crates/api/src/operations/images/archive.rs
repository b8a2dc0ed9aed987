//! Images as archives: load, save, import.

use super::pull;
use crate::operations::lines::{Lines, failed, progress, status};
use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, Reply};
use engine::images::LayerProgress;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Saves one image, or several.
pub(super) fn save(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let platforms = super::platforms(exchange, "platform", 48)?;
    one_platform(exchange, platforms.len())?;
    let mut names: Vec<String> = exchange.query().all("names").map(str::to_owned).collect();
    let name = exchange.parameter("name");
    if !name.is_empty() {
        names = vec![name.to_owned()];
    }
    // The definition also allows one value with commas.
    names = names
        .iter()
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(Failure::bad_request("no image is named"));
    }
    let engine = exchange.engine()?;
    for name in &names {
        for platform in &platforms {
            super::find_for(engine.images(), name, std::slice::from_ref(platform))?;
        }
    }
    Ok(Reply::Stream(
        Head::ok("application/x-tar"),
        Box::new(move |outlet| {
            let mut outlet = std::io::BufWriter::with_capacity(1 << 16, outlet);
            engine.images().save(&names, &platforms, &mut outlet)?;
            Ok(outlet.flush()?)
        }),
    ))
}

fn one_platform(exchange: &Exchange, count: usize) -> Result<(), Failure> {
    if exchange.version() < ApiVersion::new(52) && count > 1 {
        return Err(Failure::bad_request(
            "multiple platform parameters are not supported in this API version; use API version 1.52 or later",
        ));
    }
    Ok(())
}

/// Loads images out of the body. Docker's status is 200 whatever comes of it.
pub(super) fn load(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let platforms = super::platforms(exchange, "platform", 48)?;
    one_platform(exchange, platforms.len())?;
    let quiet = exchange.query().flag("quiet");
    let engine = exchange.engine()?;
    let mut body = exchange.take_body();
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| {
            let lines = Lines::new(outlet, Arc::new(AtomicBool::new(false)));
            let watch = |layer: LayerProgress<'_>| {
                if !quiet {
                    let id = layer.layer.short();
                    lines.send(&progress(&id, "Loading layer", layer.done, layer.size));
                }
            };
            match engine.images().load_watched(&mut body, &platforms, &watch) {
                Ok(loaded) => {
                    for image in &loaded {
                        if image.tags.is_empty() {
                            let id = &image.id;
                            lines.send(&json!({"stream": format!("Loaded image ID: {id}\n")}));
                        }
                        for tag in &image.tags {
                            let tag = tag.familiar();
                            lines.send(&json!({"stream": format!("Loaded image: {tag}\n")}));
                        }
                    }
                }
                Err(error) => lines.send(&failed(&Failure::from(error).message)),
            }
            Ok(())
        }),
    ))
}

/// Makes an image of a root filesystem's tar in the body.
pub(super) fn import(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let source = query.get("fromSrc").unwrap_or_default();
    if source != "-" {
        return Err(if source.is_empty() {
            Failure::bad_request("name an image with fromImage, or where to import one from with fromSrc")
        } else {
            Failure::not_implemented(
                "importing from an address: send the archive in the body, with fromSrc=-; that",
            )
        });
    }
    let reference = match query.get("repo") {
        Some(repository) => Some(super::reference(repository, query.get("tag"))?),
        None => None,
    };
    if let Some(reference) = reference
        .as_ref()
        .filter(|reference| reference.digest().is_some())
    {
        return Err(Failure::bad_request(format!(
            "cannot import digest reference {}",
            reference.familiar()
        )));
    }
    let platform = match query.get("platform") {
        Some(text) if exchange.version() >= ApiVersion::new(32) => Some(pull::parse(text)?),
        _ => None,
    };
    let changes: Vec<String> = query.all("changes").map(str::to_owned).collect();
    let message = query
        .get("message")
        .map_or_else(|| format!("Imported from {source}"), str::to_owned);
    let engine = exchange.engine()?;
    let mut body = exchange.take_body();
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| {
            let images = engine.images();
            let image = images.import(
                &mut body,
                reference.as_ref(),
                &changes,
                &message,
                platform.as_ref(),
            )?;
            let lines = Lines::new(outlet, Arc::new(AtomicBool::new(false)));
            lines.send(&status(&image.id.to_string()));
            Ok(())
        }),
    ))
}
