//! Files in and out of containers, as tar streams; exports.

use super::containers::{is_missing_path, open};
use crate::server::reply::Head;
use crate::server::{Exchange, Failure, Method, Outlet, Reply, Route};
use crate::wire::time;
use base64::Engine as _;
use engine::EngineError;
use engine::containers::copy::{Clash, Owner, PathStat};
use hyper::StatusCode;
use serde::Serialize;
use std::io::{BufWriter, Write};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Head,
        pattern: "/containers/{id}/archive",
        operation: stat,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/archive",
        operation: copy_out,
    },
    Route {
        method: Method::Put,
        pattern: "/containers/{id}/archive",
        operation: copy_in,
    },
    Route {
        method: Method::Get,
        pattern: "/containers/{id}/export",
        operation: export,
    },
];

/// So much is gathered before it goes to the client.
const PIECE: usize = 64 << 10;
const TAR: &str = "application/x-tar";

/// What `X-Docker-Container-Path-Stat` holds, in base 64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stat<'s> {
    name: &'s str,
    size: u64,
    mode: u32,
    mtime: String,
    link_target: &'s str,
}

fn path(exchange: &Exchange) -> Result<String, Failure> {
    let path = exchange.query().get("path");
    let path = path.ok_or_else(|| Failure::bad_request("bad parameter: path cannot be empty"))?;
    Ok(path.to_owned())
}

/// Makes a `map_err` closure that says in Docker's words that there is no such file.
fn missing<'a>(name: &'a str, path: &'a str) -> impl Fn(EngineError) -> Failure + 'a {
    move |error| {
        if is_missing_path(&error) {
            return Failure::not_found(format!("Could not find the file {path} in container {name}"));
        }
        error.into()
    }
}

/// Writes a mode as Go's `os.FileMode` has it, whose upper bits are its own.
fn go_mode(mode: u32) -> u32 {
    const KINDS: [(u32, u32); 6] = [
        (0o040_000, 1 << 31),
        (0o120_000, 1 << 27),
        (0o060_000, 1 << 26),
        (0o010_000, 1 << 25),
        (0o140_000, 1 << 24),
        (0o020_000, 1 << 26 | 1 << 21),
    ];
    const FLAGS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let kind = KINDS.iter().find(|(kind, _)| mode & 0o170_000 == *kind);
    let kind = kind.map_or(0, |(_, bits)| *bits);
    let flags = FLAGS.iter().filter(|(flag, _)| mode & flag != 0);
    flags.fold(mode & 0o777 | kind, |all, (_, bits)| all | bits)
}

fn head(stat: &PathStat) -> Result<Head, Failure> {
    let stat = Stat {
        name: &stat.name,
        size: stat.size,
        mode: go_mode(stat.mode),
        mtime: time(Some(stat.mtime)),
        link_target: &stat.link_target,
    };
    let text = serde_json::to_vec(&stat).map_err(|error| Failure::internal(error.to_string()))?;
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    Ok(Head {
        headers: vec![("x-docker-container-path-stat", text)],
        ..Head::ok(TAR)
    })
}

fn stat(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let path = path(exchange)?;
    let (engine, id) = open(exchange)?;
    let name = exchange.parameter("id");
    let stat = engine.containers().stat_path(&id, &path);
    let stat = stat.map_err(missing(name, &path))?;
    Ok(Reply::Whole(
        Head {
            content_type: "application/json",
            ..head(&stat)?
        },
        Vec::new(),
    ))
}

fn copy_out(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let path = path(exchange)?;
    let (engine, id) = open(exchange)?;
    let name = exchange.parameter("id").to_owned();
    let stat = engine.containers().stat_path(&id, &path);
    let head = head(&stat.map_err(missing(&name, &path))?)?;
    let write = move |outlet: &mut Outlet| {
        let mut into = BufWriter::with_capacity(PIECE, outlet);
        let copied = engine.containers().copy_out(&id, &path, &mut into);
        copied.map_err(missing(&name, &path))?;
        Ok(into.flush()?)
    };
    Ok(Reply::Stream(head, Box::new(write)))
}

fn copy_in(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let path = path(exchange)?;
    // By its name and its documentation it would keep the archive's owners. Those are kept without it; what it does is to
    // give all to the container's user.
    let owner = if exchange.query().flag("copyUIDGID") {
        Owner::Container
    } else {
        Owner::Archived
    };
    let clash = if exchange.query().flag("noOverwriteDirNonDir") {
        Clash::Refuse
    } else {
        Clash::Replace
    };
    let mut body = exchange.take_body();
    let (engine, id) = open(exchange)?;
    let copied = engine.containers().copy_in(&id, &path, &mut body, owner, clash);
    copied.map_err(missing(exchange.parameter("id"), &path))?;
    Ok(Reply::empty(StatusCode::OK))
}

fn export(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let (engine, id) = open(exchange)?;
    let write = move |outlet: &mut Outlet| {
        let mut into = BufWriter::with_capacity(PIECE, outlet);
        engine.containers().export(&id, &mut into)?;
        Ok(into.flush()?)
    };
    Ok(Reply::Stream(
        Head::ok("application/octet-stream"),
        Box::new(write),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        for (mode, expected) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_01ed),
            (0o120_777, 0x0800_01ff),
            (0o104_755, 0x0080_01ed),
            (0o041_777, 0x8010_01ff),
            (0o020_666, 0x0420_01b6),
            (0o060_660, 0x0400_01b0),
        ] {
            assert_eq!(go_mode(mode), expected, "{mode:o}");
        }
    }
}
