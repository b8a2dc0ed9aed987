//! BuildKit's session and control protocol, on upgraded connections.

use crate::buildkit;
use crate::buildkit::sessions::Introduction;
use crate::buildkit::solve::Workshop;
use crate::server::{Exchange, Failure, Method, Reply, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        pattern: "/grpc",
        operation: grpc,
    },
    Route {
        method: Method::Post,
        pattern: "/session",
        operation: session,
    },
];

/// `POST /grpc`: BuildKit's services on this connection.
fn grpc(exchange: &mut Exchange) -> Result<Reply, Failure> {
    wants_h2c(exchange)?;
    let workshop = Workshop {
        engines: exchange.engines(),
        runtime: exchange.runtime().clone(),
    };
    Ok(Reply::Upgrade(
        "h2c",
        Vec::new(),
        Box::new(move |connection| Box::pin(buildkit::serve(workshop, connection))),
    ))
}

/// `POST /session`: the client serves on this connection from now on, and builds call it.
fn session(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let introduction = Introduction::read(|name| exchange.headers(name));
    wants_h2c(exchange)?;
    if introduction.id.is_empty() {
        return Err(Failure::bad_request(
            "a session needs an id: X-Docker-Expose-Session-Uuid",
        ));
    }
    let engines = exchange.engines();
    if engines.hub().sessions.is_open(&introduction.id) {
        return Err(Failure::conflict(format!(
            "session {} already exists",
            introduction.id
        )));
    }
    Ok(Reply::Upgrade(
        "h2c",
        Vec::new(),
        Box::new(move |connection| {
            Box::pin(async move { engines.hub().sessions.keep(introduction, connection).await })
        }),
    ))
}

/// Refuses whoever would speak something else.
fn wants_h2c(exchange: &Exchange) -> Result<(), Failure> {
    match exchange.header("upgrade") {
        Some("h2c") => Ok(()),
        None => Err(Failure::bad_request("no upgrade proto in request")),
        Some(other) => Err(Failure::bad_request(format!("protocol {other} not supported"))),
    }
}
