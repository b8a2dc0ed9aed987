//! `resize`: a terminal's new size.

use crate::server::{Exchange, Failure, Query, Reply};
use hyper::StatusCode;

/// `POST /containers/{id}/resize`.
pub(super) fn resize(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (rows, columns) = size(exchange.query())?;
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(exchange.parameter("id"))?;
    containers.resize(&id, rows, columns)?;
    Ok(Reply::empty(StatusCode::OK))
}

/// Reads rows and columns.
pub(in crate::operations) fn size(query: &Query) -> Result<(u16, u16), Failure> {
    let number = |name| {
        query.number::<u16>(name)?.ok_or_else(|| {
            Failure::bad_request(format!(
                "invalid resize {}: it is missing",
                if name == "h" { "height" } else { "width" }
            ))
        })
    };
    Ok((number("h")?, number("w")?))
}
