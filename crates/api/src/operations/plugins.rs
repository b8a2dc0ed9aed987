//! Plugins, of which there are none.

use crate::server::{Exchange, Failure, Method, Reply, Route};
use serde_json::json;

const fn route(method: Method, pattern: &'static str, operation: crate::server::Operation) -> Route {
    Route {
        method,
        pattern,
        operation,
    }
}

pub(crate) const ROUTES: &[Route] = &[
    route(Method::Get, "/plugins", list),
    route(Method::Get, "/plugins/privileges", install),
    route(Method::Post, "/plugins/pull", install),
    route(Method::Post, "/plugins/create", install),
    route(Method::Get, "/plugins/{*name}/json", missing),
    route(Method::Post, "/plugins/{*name}/enable", missing),
    route(Method::Post, "/plugins/{*name}/disable", missing),
    route(Method::Post, "/plugins/{*name}/upgrade", missing),
    route(Method::Post, "/plugins/{*name}/push", missing),
    route(Method::Post, "/plugins/{*name}/set", missing),
    route(Method::Delete, "/plugins/{*name}", missing),
];

fn list(_: &mut Exchange) -> Result<Reply, Failure> {
    Reply::json(&json!([]))
}

fn missing(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let name = exchange.parameter("name");
    Err(Failure::not_found(format!("plugin \"{name}\" not found")))
}

fn install(_: &mut Exchange) -> Result<Reply, Failure> {
    Err(Failure::not_implemented("installing plugins"))
}
