//! Containers: list, create, inspect, start, stop, …

mod commit;
pub(super) mod create;
mod list;
mod stats;

use super::object::Object;
use crate::server::{Exchange, Failure, Method, OpenEngine, Reply, Route};
use crate::wire::ContainerInspect;
use engine::EngineError;
use engine::containers::ChangeKind;
use engine::containers::record::{Activity, ContainerId};
use engine::containers::start::StartRequest;
use engine::containers::update::UpdateContainer;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/containers/json",
        operation: list::list,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/create",
        operation: create::create,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/prune",
        operation: prune,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/json",
        operation: inspect,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/top",
        operation: top,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/changes",
        operation: changes,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/stats",
        operation: stats::stats,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/start",
        operation: start,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/stop",
        operation: stop,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/restart",
        operation: restart,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/kill",
        operation: kill,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/pause",
        operation: pause,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/unpause",
        operation: unpause,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/rename",
        operation: rename,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/update",
        operation: update,
    },
    Route {
        method: Method::Delete,
        // A link's name has a slash.
        pattern: "/containers/{*id}",
        operation: remove,
    },
    Route {
        method: Method::Post,
        pattern: "/commit",
        operation: commit::commit,
    },
];

/// Takes an engine, and the container that the path names.
pub(super) fn open(exchange: &Exchange) -> Result<(OpenEngine, ContainerId), Failure> {
    let engine = exchange.engine()?;
    let id = engine.containers().find(exchange.parameter("id"))?;
    Ok((engine, id))
}

fn done() -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}

fn unchanged() -> Reply {
    Reply::empty(StatusCode::NOT_MODIFIED)
}

/// Turns seconds into a duration; a negative number means "for ever", as with Docker.
fn patience(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX)))
}

/// Whether a container's process is there, frozen or not, or about to be there again.
fn runs(engine: &OpenEngine, id: &ContainerId) -> Result<bool, Failure> {
    let activity = engine.containers().inspect(id, false)?.activity;
    Ok(matches!(
        activity,
        Activity::Running | Activity::Paused | Activity::Restarting
    ))
}

fn inspect(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let containers = engine.containers();
    let container = containers.inspect(&id, exchange.query().flag("size"))?;
    let lower = containers.lower_directories(&id)?;
    let root = &engine.locations().root;
    Reply::json(&ContainerInspect::new(&container, root, &lower).of_version(exchange.version()))
}

fn start(exchange: &mut Exchange) -> Result<Reply, Failure> {
    // Docker's rule: a document that says something has seven characters at least, and some clients send `{}` or `null`.
    let length: u64 = exchange
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap_or(0));
    if length > 7 || exchange.header("transfer-encoding").is_some() {
        return Err(Failure::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let (engine, id) = open(exchange)?;
    let containers = engine.containers();
    if matches!(
        containers.inspect(&id, false)?.activity,
        Activity::Running | Activity::Restarting
    ) {
        return Ok(unchanged());
    }
    containers.start(&id, StartRequest::default())?;
    Ok(done())
}

fn stop(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let wait = exchange.query().number("t")?.map(patience);
    let (engine, id) = open(exchange)?;
    if !runs(&engine, &id)? {
        return Ok(unchanged());
    }
    engine
        .containers()
        .stop(&id, exchange.query().get("signal"), wait)?;
    Ok(done())
}

fn restart(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let wait = exchange.query().number("t")?.map(patience);
    let (engine, id) = open(exchange)?;
    engine
        .containers()
        .restart(&id, exchange.query().get("signal"), wait)?;
    Ok(done())
}

fn kill(exchange: &mut Exchange) -> Result<Reply, Failure> {
    signal(exchange).map_err(|failure| Failure {
        message: format!(
            "cannot kill container: {}: {}",
            exchange.parameter("id"),
            failure.message
        ),
        ..failure
    })
}

fn signal(exchange: &Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let signal = exchange.query().get("signal").unwrap_or_default();
    Ok(engine.containers().kill(&id, signal).map(|()| done())?)
}

fn pause(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    engine.containers().pause(&id)?;
    Ok(done())
}

fn unpause(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    engine.containers().unpause(&id)?;
    Ok(done())
}

fn rename(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let name = exchange.query().get("name").unwrap_or_default();
    engine.containers().rename(&id, name)?;
    Ok(done())
}

fn update(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let mut body = Object::new(exchange.document()?)?;
    let request = UpdateContainer {
        restart: create::restart_policy(&mut body)?,
        limits: create::limits(&mut body)?,
    };
    let (engine, id) = open(exchange)?;
    let warnings = engine.containers().update(&id, &request)?;
    Reply::json(&json!({ "Warnings": warnings }))
}

fn remove(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    if query.flag("link") {
        exchange
            .engine()?
            .containers()
            .remove_link(exchange.parameter("id"))?;
        return Ok(done());
    }
    let (engine, id) = open(exchange)?;
    engine
        .containers()
        .remove(&id, query.flag("force"), query.flag("v"))?;
    Ok(done())
}

fn prune(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let filters = exchange.query().filters()?;
    let engine = exchange.engine()?;
    let (removed, bytes) = engine.containers().prune(&filters)?;
    let removed: Vec<&str> = removed.iter().map(ContainerId::as_str).collect();
    Reply::json(&json!({ "ContainersDeleted": removed, "SpaceReclaimed": bytes }))
}

fn top(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let arguments = exchange.query().get("ps_args").unwrap_or("-ef");
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let top = engine.containers().top(&id, &arguments)?;
    Reply::json(&json!({ "Titles": top.titles, "Processes": top.processes }))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

fn changes(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let changes = engine.containers().diff(&id)?;
    let changes: Vec<Change> = changes
        .iter()
        .map(|change| Change {
            path: change.path.to_string_lossy().into_owned(),
            kind: match change.kind {
                ChangeKind::Changed => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    Reply::json(&changes)
}

/// Whether a failure says that a container, or what was to be found in it, is not there.
pub(super) fn is_missing_path(error: &EngineError) -> bool {
    matches!(error, EngineError::NotFound { kind, .. } if *kind == "container:path")
}
