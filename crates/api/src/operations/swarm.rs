//! Swarms, of which no node is here: everything answers as a Docker engine that has joined none.

use crate::server::{Exchange, Failure, Method, Reply, Route};
use hyper::StatusCode;

const fn route(method: Method, pattern: &'static str, operation: crate::server::Operation) -> Route {
    Route {
        method,
        pattern,
        operation,
    }
}

pub(crate) const ROUTES: &[Route] = &[
    route(Method::Get, "/swarm", no_manager),
    route(Method::Post, "/swarm/init", no_swarms),
    route(Method::Post, "/swarm/join", no_swarms),
    route(Method::Post, "/swarm/leave", no_node),
    route(Method::Post, "/swarm/update", no_manager),
    route(Method::Get, "/swarm/unlockkey", no_manager),
    route(Method::Post, "/swarm/unlock", no_node),
    route(Method::Get, "/nodes", no_manager),
    route(Method::Get, "/nodes/{id}", no_manager),
    route(Method::Delete, "/nodes/{id}", no_manager),
    route(Method::Post, "/nodes/{id}/update", no_manager),
    route(Method::Get, "/services", no_manager),
    route(Method::Post, "/services/create", no_manager),
    route(Method::Get, "/services/{id}", no_manager),
    route(Method::Delete, "/services/{id}", no_manager),
    route(Method::Post, "/services/{id}/update", no_manager),
    route(Method::Get, "/services/{id}/logs", no_manager),
    route(Method::Get, "/tasks", no_manager),
    route(Method::Get, "/tasks/{id}", no_manager),
    route(Method::Get, "/tasks/{id}/logs", no_manager),
    route(Method::Get, "/secrets", no_manager),
    route(Method::Post, "/secrets/create", no_manager),
    route(Method::Get, "/secrets/{id}", no_manager),
    route(Method::Delete, "/secrets/{id}", no_manager),
    route(Method::Post, "/secrets/{id}/update", no_manager),
    route(Method::Get, "/configs", no_manager),
    route(Method::Post, "/configs/create", no_manager),
    route(Method::Get, "/configs/{id}", no_manager),
    route(Method::Delete, "/configs/{id}", no_manager),
    route(Method::Post, "/configs/{id}/update", no_manager),
];

/// Docker's words, which clients look for.
pub(super) const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

fn no_manager(_: &mut Exchange) -> Result<Reply, Failure> {
    Err(unavailable(NO_MANAGER))
}

fn no_node(_: &mut Exchange) -> Result<Reply, Failure> {
    Err(unavailable("This node is not part of a swarm"))
}

fn no_swarms(_: &mut Exchange) -> Result<Reply, Failure> {
    Err(Failure::not_implemented("swarm mode"))
}

/// A failure of what only members of a swarm have.
pub(super) fn unavailable(message: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
}
