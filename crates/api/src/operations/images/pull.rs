//! `POST /images/create?fromImage=`: fetches an image and tells how far it is.

use super::{fetch_failure, has_tag, reference};
use crate::operations::lines::{Lines, layer, progress, status, while_read};
use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, OpenEngine, Outlet, Reply};
use engine::images::PullEvent;
use hyper::StatusCode;
use oci::{Platform, Reference};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(super) fn pull(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    // `pull -a` of old clients sends a colon without a tag.
    let name = query.get("fromImage").unwrap_or_default();
    let name = name.strip_suffix(':').unwrap_or(name);
    let reference = reference(name, query.get("tag"))?;
    if reference.familiar_name() == "scratch" {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "'scratch' is a reserved name",
        ));
    }
    let all_tags = query.get("tag").is_none() && !has_tag(name);
    let platform = match query.get("platform") {
        Some(text) if exchange.version() >= ApiVersion::new(32) => Some(parse(text)?),
        _ => None,
    };
    let mut engine = exchange.engine()?;
    engine.show(exchange, reference.registry());
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| fetch(engine, &reference, platform.as_ref(), all_tags, outlet)),
    ))
}

/// Reads a platform in its short form.
pub(super) fn parse(text: &str) -> Result<Platform, Failure> {
    text.parse()
        .map_err(|error| Failure::bad_request(format!("invalid platform '{text}': {error}")))
}

fn fetch(
    mut engine: OpenEngine,
    reference: &Reference,
    platform: Option<&Platform>,
    all_tags: bool,
    outlet: &mut Outlet,
) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    engine.set_stop(Some(Arc::clone(&stop)));
    while_read(outlet, &stop, |outlet| {
        let lines = Lines::new(outlet, Arc::clone(&stop));
        let images = engine.images();
        let show = |event| tell(&lines, event);
        let pulled = if all_tags {
            images.pull_all_tags(reference, platform, &show).map(drop)
        } else {
            images.pull(reference, platform, &show).map(drop)
        };
        lines.end(pulled.map_err(fetch_failure))
    })
}

fn tell(lines: &Lines<'_>, event: PullEvent) {
    match event {
        PullEvent::Status { message } => match message.split_once(": Pulling from ") {
            // Whether there is anything to pull is not known yet.
            Some((tag, repository)) => lines.hold(serde_json::json!({
                "status": format!("Pulling from {repository}"),
                "id": tag,
            })),
            None => lines.send(&status(&message)),
        },
        PullEvent::Layer { id, done: 0, .. } => lines.send(&layer(&id, "Pulling fs layer")),
        PullEvent::Layer { id, done, total } => lines.send(&progress(&id, "Downloading", done, total)),
        PullEvent::LayerDone { id, existed: true } => lines.send(&layer(&id, "Already exists")),
        PullEvent::LayerDone { id, existed: false } => {
            lines.send(&layer(&id, "Download complete"));
            lines.send(&layer(&id, "Pull complete"));
        }
    }
}
