//! `POST /images/{name}/push`: sends an image and tells how far it is.

use super::{has_tag, platform_document, reference};
use crate::operations::lines::{Lines, layer, progress, status, while_read};
use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, OpenEngine, Outlet, Reply};
use engine::EngineError;
use engine::images::PushEvent;
use oci::{Platform, Reference};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(super) fn push(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let name = exchange.parameter("name");
    let reference = reference(name, query.get("tag"))?;
    let all_tags = query.get("tag").is_none() && !has_tag(name);
    let platform = match query.get("platform") {
        Some(text) if exchange.version() >= ApiVersion::new(46) => Some(platform_document(text)?),
        // Older clients sent one that no server looked at.
        _ => None,
    };
    let mut engine = exchange.engine()?;
    engine.show(exchange, reference.registry());
    Ok(Reply::Stream(
        Head::ok("application/json"),
        Box::new(move |outlet| send(engine, &reference, platform.as_ref(), all_tags, outlet)),
    ))
}

fn send(
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
        let pushed = if all_tags {
            images.push_all_tags(reference, platform, &show).map(drop)
        } else {
            images.push(reference, platform, &show).map(drop)
        };
        lines.end(pushed.map_err(failure))
    })
}

/// What is not here is not found, although the command line's words for it are another matter.
fn failure(error: EngineError) -> Failure {
    let is_missing = error.to_string().contains("does not exist");
    let failure = Failure::from(error);
    if is_missing && failure.status == hyper::StatusCode::BAD_REQUEST {
        return Failure::not_found(failure.message);
    }
    failure
}

fn tell(lines: &Lines<'_>, event: PushEvent) {
    match event {
        PushEvent::Status { message } => {
            lines.send(&status(&message));
            if let Some(aux) = aux(&message) {
                lines.send(&aux);
            }
        }
        PushEvent::Layer { id, done: 0, .. } => lines.send(&layer(&id, "Preparing")),
        PushEvent::Layer { id, done, total } => lines.send(&progress(&id, "Pushing", done, total)),
        PushEvent::LayerDone { id, outcome } => lines.send(&layer(&id, &outcome)),
    }
}

/// What programs read instead of `latest: digest: sha256:… size: 528`.
fn aux(message: &str) -> Option<Value> {
    let (tag, rest) = message.split_once(": digest: ")?;
    let (digest, size) = rest.split_once(" size: ")?;
    let size: u64 = size.parse().ok()?;
    Some(json!({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_told_to_programs_too() {
        let told = aux("latest: digest: sha256:ab size: 528").unwrap();
        assert_eq!(
            told["aux"],
            json!({"Tag": "latest", "Digest": "sha256:ab", "Size": 528})
        );
        assert_eq!(aux("The push refers to repository [r.example/a]"), None);
    }
}
