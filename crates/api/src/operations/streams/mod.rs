//! A container's output and input: attach, logs, wait, resize.

mod attach;
pub(super) mod client;
mod logs;
mod resize;
pub(super) mod talk;
mod wait;
mod websocket;

use crate::server::{Exchange, Failure, Method, Route};
use engine::containers::keys::DetachKeys;

pub(super) use attach::content_type;
pub(super) use resize::size;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/attach",
        operation: attach::attach,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/attach/ws",
        operation: websocket::attach,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/logs",
        operation: logs::logs,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/resize",
        operation: resize::resize,
    },
    Route {
        method: Method::Post,
        pattern: "/containers/{id}/wait",
        operation: wait::wait,
    },
];

/// Whether the client wants to take over its connection.
pub(super) fn wants_to_hijack(exchange: &Exchange) -> bool {
    exchange.header("upgrade").is_some()
}

/// Reads detach keys; `None` are the default ones.
pub(super) fn detach_keys(text: Option<&str>) -> Result<DetachKeys, Failure> {
    let text = text.unwrap_or_default();
    DetachKeys::parse(text)
        .map_err(|_its_text| Failure::bad_request(format!("Invalid detach keys ({text}) provided")))
}
