//! `logs`: what a container has written, and writes.

use super::attach::content_type;
use super::client::header;
use crate::server::reply::Head;
use crate::server::{Exchange, Failure, Outlet, Query, Reply};
use crate::wire::log_line;
use engine::containers::logs::LogEvent;
use engine::containers::request::LogRequest;
use jiff::Timestamp;
use std::io::{self, Write};

/// So much is sent at once, at most, unless one line is longer.
const PIECE: usize = 16 << 10;

/// `GET /containers/{id}/logs`.
pub(super) fn logs(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let request = request(query)?;
    let timestamps = query.flag("timestamps");
    let engine = exchange.engine()?;
    let containers = engine.containers();
    let id = containers.find(exchange.parameter("id"))?;
    let multiplexed = !containers.inspect(&id, false)?.settings.request.terminal;
    let log = containers.open_logs(&id, &request)?;
    drop(engine);
    let head = Head::ok(content_type(exchange.version(), multiplexed));
    let details = request.details;
    Ok(Reply::Stream(
        head,
        Box::new(move |outlet| {
            outlet.begin()?;
            let gone = outlet.descriptor().try_clone_to_owned()?;
            let mut piece = Vec::new();
            let mut broken = None;
            log.read(Some(std::os::fd::AsFd::as_fd(&gone)), &mut |event| {
                let LogEvent::Entry(entry) = event else {
                    return send(outlet, &mut piece)
                        .map_err(|error| broken = Some(error))
                        .is_ok();
                };
                let start = piece.len();
                if multiplexed {
                    piece.extend_from_slice(&header(entry.stderr, 0));
                }
                let content = piece.len();
                log_line(&entry, timestamps, details, &mut piece);
                if multiplexed {
                    let length = piece.len() - content;
                    piece[start..content].copy_from_slice(&header(entry.stderr, length));
                }
                let full = piece.len() >= PIECE;
                !full
                    || send(outlet, &mut piece)
                        .map_err(|error| broken = Some(error))
                        .is_ok()
            })?;
            if let Some(error) = broken {
                return Err(error.into());
            }
            Ok(send(outlet, &mut piece)?)
        }),
    ))
}

fn send(outlet: &mut Outlet, piece: &mut Vec<u8>) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    let sent = outlet.write_all(piece);
    piece.clear();
    sent
}

fn request(query: &Query) -> Result<LogRequest, Failure> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    Ok(LogRequest {
        follow: query.flag("follow"),
        // Docker shows everything for what is no number, and for a negative one.
        tail: query.get("tail").and_then(|text| text.parse().ok()),
        since: moment(query, "since")?,
        until: moment(query, "until")?.filter(|&until| until != 0),
        stdout,
        stderr,
        details: query.flag("details"),
    })
}

/// Reads a moment: seconds since 1970 with up to nine digits behind the point, or RFC 3339.
fn moment(query: &Query, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    seconds(text)
        .or_else(|| i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok())
        .map(Some)
        .ok_or_else(|| {
            Failure::bad_request(format!(
                "invalid value for '{name}': '{text}' is no time: it is written in seconds since 1970"
            ))
        })
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !is_number(digits) || !is_number(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let fraction = if whole.starts_with('-') {
        -fraction
    } else {
        fraction
    };
    Some(
        whole
            .parse::<i64>()
            .ok()?
            .saturating_mul(1_000_000_000)
            .saturating_add(fraction),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_docker_writes_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1700000000.5", Some(1_700_000_000_500_000_000)),
            ("1700000000.000000001", Some(1_700_000_000_000_000_001)),
            ("1.0000000019", Some(1_000_000_001)),
            ("-1.5", Some(-1_500_000_000)),
            ("99999999999999", Some(i64::MAX)),
            ("", None),
            ("1e9", None),
            ("+1", None),
            ("1.-5", None),
            ("x", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
