//! Volumes.

use super::object::Object;
use super::pruned::{self, Gone};
use super::swarm;
use crate::server::{ApiVersion, Exchange, Failure, Method, Reply, Route};
use crate::wire::VolumeInspect;
use engine::EngineError;
use engine::volumes::filter::Filter;
use hyper::StatusCode;
use serde_json::json;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/volumes",
        operation: list,
    },
    Route {
        method: Method::Post,
        pattern: "/volumes/create",
        operation: create,
    },
    Route {
        method: Method::Post,
        pattern: "/volumes/prune",
        operation: prune,
    },
    Route {
        method: Method::Get,
        pattern: "/volumes/{*name}",
        operation: inspect,
    },
    Route {
        method: Method::Put,
        pattern: "/volumes/{*name}",
        operation: update,
    },
    Route {
        method: Method::Delete,
        pattern: "/volumes/{*name}",
        operation: remove,
    },
];

fn list(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let filter = Filter::new(exchange.query().filters()?)?;
    let volumes: Vec<VolumeInspect> = exchange
        .engine()?
        .volumes()
        .list()?
        .iter()
        .filter(|volume| filter.accepts(volume))
        .map(VolumeInspect::new)
        .collect();
    Reply::json(&json!({"Volumes": volumes, "Warnings": null}))
}

/// Makes a volume; one of the same name that is there is returned.
fn create(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut document = Object::new(exchange.document()?)?;
    if document.has("ClusterVolumeSpec") {
        return Err(swarm::unavailable(
            "volumes of a cluster need one, and this node is not part of a swarm",
        ));
    }
    if let Err(error) = engine::volumes::check_driver(document.text("Driver")?.as_deref()) {
        // Of a driver that is not there Docker says that it is not found.
        return Err(Failure::not_found(Failure::from(error).message));
    }
    let engine = exchange.engine()?;
    let volume = engine.volumes().create(
        document.text("Name")?.as_deref(),
        document.take("Labels")?,
        document.take("DriverOpts")?,
    )?;
    Reply::json_with(StatusCode::CREATED, &VolumeInspect::new(&volume))
}

fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let volume = exchange.engine()?.volumes().inspect(exchange.parameter("name"));
    Reply::json(&VolumeInspect::new(&volume.map_err(failure)?))
}

fn remove(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let force = exchange.query().flag("force");
    let engine = exchange.engine()?;
    // Versions are nothing that a client of Docker's could have meant.
    engine
        .volumes()
        .remove(exchange.parameter("name"), force, false)
        .map_err(failure)?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn update(exchange: &mut Exchange) -> Result<Reply, Failure> {
    exchange
        .engine()?
        .volumes()
        .inspect(exchange.parameter("name"))
        .map_err(failure)?;
    Err(swarm::unavailable(
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}

fn prune(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let filters = exchange.query().filters()?;
    // Before that version, all that nobody uses were meant.
    let all = exchange.version() < ApiVersion::new(42);
    for (_, value) in filters.iter().filter(|(key, _)| key == "all") {
        if !matches!(value.as_str(), "0" | "1" | "f" | "t" | "false" | "true") {
            return Err(Failure::bad_request(format!("invalid filter 'all={value}'")));
        }
    }
    let (names, bytes) = exchange.engine()?.volumes().prune(all, &filters)?;
    let gone = names
        .iter()
        .map(|name| Gone::new(name.as_str(), "deleted"))
        .collect();
    pruned::reply(
        exchange,
        gone,
        &json!({"VolumesDeleted": names, "SpaceReclaimed": bytes}),
    )
}

/// Clients look for Docker's words.
fn failure(error: EngineError) -> Failure {
    match error {
        EngineError::NotFound { kind: "volume", name } => {
            Failure::not_found(format!("get {name}: no such volume"))
        }
        error => error.into(),
    }
}
