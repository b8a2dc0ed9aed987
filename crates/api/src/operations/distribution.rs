//! What registries know of an image.

use crate::server::{Exchange, Failure, Method, Reply, Route};
use engine::Kind;
use engine::images::MemberPlatform;
use hyper::StatusCode;
use oci::Reference;
use serde_json::json;

pub(crate) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    pattern: "/distribution/{*name}/json",
    operation: inspect,
}];

fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let name = exchange.parameter("name");
    let reference: Reference = name.parse().map_err(|error| {
        Failure::bad_request(format!("invalid reference '{name}': {}", engine::explain(&error)))
    })?;
    let mut engine = exchange.engine()?;
    engine.show(exchange, reference.registry());
    let images = engine.images();
    let refused = |error: engine::EngineError| {
        let kind = error.kind();
        let failure = Failure::from(error);
        match kind {
            Kind::Forbidden => Failure::new(StatusCode::UNAUTHORIZED, failure.message),
            _ => failure,
        }
    };
    let manifest = images.remote_manifest(&reference, false).map_err(refused)?;
    let members = match manifest.entries {
        Some(entries) => entries,
        // The configuration tells what a single image is for.
        None => images.members_of(&reference, false).map_err(refused)?,
    };
    let platforms: Vec<MemberPlatform> = members.into_iter().map(|member| member.platform).collect();
    Reply::json(&json!({
        "Descriptor": {
            "mediaType": manifest.media_type,
            "digest": manifest.digest.to_string(),
            "size": manifest.raw.len(),
        },
        "Platforms": platforms,
    }))
}
