//! The engine as a whole: ping, version.

use crate::server::reply::Head;
use crate::server::{Exchange, Failure, Method, Reply, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        pattern: "/_ping",
        operation: ping,
    },
    Route {
        method: Method::Head,
        pattern: "/_ping",
        operation: ping,
    },
];

#[expect(clippy::unnecessary_wraps, reason = "the shape of every operation")]
fn ping(_: &mut Exchange) -> Result<Reply, Failure> {
    let head = Head {
        headers: vec![
            ("builder-version", "2".to_owned()),
            ("swarm", "inactive".to_owned()),
            ("cache-control", "no-cache, no-store, must-revalidate".to_owned()),
            ("pragma", "no-cache".to_owned()),
        ],
        ..Head::ok("text/plain; charset=utf-8")
    };
    Ok(Reply::Whole(head, b"OK".to_vec()))
}
