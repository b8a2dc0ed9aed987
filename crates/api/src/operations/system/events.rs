//! `GET /events`: what happens, as it happens.

use crate::server::reply::Head;
use crate::server::{ApiVersion, Exchange, Failure, Reply};
use crate::wire::EventMessage;
use engine::events::follow::EventsRequest;
use engine::events::{Event, Filter};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

/// The forms that a client may ask for; the first is what `*/*` means.
const FORMS: [&str; 3] = [
    "application/jsonl",
    "application/x-ndjson",
    "application/json-seq",
];
/// What those get that ask for nothing, as they always have.
const UNASKED: &str = "application/json";

pub(super) fn events(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let query = exchange.query();
    let moment = |name: &str| query.get(name).map(engine::moment).transpose();
    let request = EventsRequest {
        since: moment("since")?,
        until: moment("until")?,
        filter: Filter::new(query.filters()?)?,
    };
    if let (Some(since), Some(until)) = (request.since, request.until)
        && since > until
    {
        return Err(Failure::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.get("since").unwrap_or_default(),
            query.get("until").unwrap_or_default()
        )));
    }
    let form = negotiate(exchange.header("accept"));
    let is_old = exchange.version() < ApiVersion::new(52);
    let engine = exchange.engine()?;
    Ok(Reply::Stream(
        Head::ok(form),
        Box::new(move |outlet| {
            // Nothing may happen for long, and the client waits for the head before it does what it wants to see.
            outlet.begin()?;
            let reader = outlet.descriptor().try_clone_to_owned()?;
            let mut tell = |event: &Event| match write(outlet, event, form, is_old) {
                Ok(()) => ControlFlow::Continue(()),
                // The client is gone.
                Err(_) => ControlFlow::Break(()),
            };
            Ok(engine.follow_events(&request, Some(reader.as_fd()), &mut tell)?)
        }),
    ))
}

fn write(out: &mut dyn Write, event: &Event, form: &str, is_old: bool) -> std::io::Result<()> {
    let message = EventMessage::new(event);
    let message = if is_old {
        message
    } else {
        message.without_old_fields()
    };
    let mut text = Vec::new();
    if form == "application/json-seq" {
        // RFC 7464: each text between a record separator and a line feed.
        text.push(0x1e);
    }
    serde_json::to_writer(&mut text, &message)?;
    text.push(b'\n');
    out.write_all(&text)
}

/// Chooses the form that the client likes best (RFC 9110, section 12.5.1); of several the one that is named most exactly.
fn negotiate(accept: Option<&str>) -> &'static str {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return UNASKED;
    };
    let mut best: Option<(f32, u8, &'static str)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .filter_map(|parameter| parameter.strip_prefix("q="))
            .find_map(|quality| quality.parse::<f32>().ok())
            .unwrap_or(1.0);
        let (exactness, form) = match kind.as_str() {
            "*/*" => (0, FORMS[0]),
            "application/*" => (1, FORMS[0]),
            UNASKED => (2, UNASKED),
            kind => match FORMS.iter().find(|form| **form == kind) {
                Some(form) => (2, *form),
                None => continue,
            },
        };
        let is_better =
            best.is_none_or(|(q, e, _)| quality > q || ((quality - q).abs() < f32::EPSILON && exactness > e));
        if quality > 0.0 && is_better {
            best = Some((quality, exactness, form));
        }
    }
    best.map_or(UNASKED, |(_, _, form)| form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_clients_choice() {
        for (accept, expected) in [
            (None, UNASKED),
            (Some(""), UNASKED),
            (Some("*/*"), "application/jsonl"),
            (Some("application/*;q=0.5"), "application/jsonl"),
            (Some("application/x-ndjson"), "application/x-ndjson"),
            (Some("application/json"), UNASKED),
            (Some("text/html"), UNASKED),
            (
                Some("application/json-seq, application/x-ndjson;q=0.9"),
                "application/json-seq",
            ),
            (
                Some("application/x-ndjson;q=0.1, application/json-seq; q=0.2"),
                "application/json-seq",
            ),
            (Some("*/*, application/json-seq"), "application/json-seq"),
            (
                Some("application/jsonl;q=0, application/x-ndjson"),
                "application/x-ndjson",
            ),
        ] {
            assert_eq!(negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn an_event_has_the_shape_of_the_clients_version() {
        let event = Event {
            time: 1_700_000_000_000_000_001,
            kind: "container".into(),
            action: "start".into(),
            object: "abc".into(),
            attributes: [("image".to_owned(), "busybox".to_owned())].into(),
        };
        let text = |form, is_old| {
            let mut out = Vec::new();
            write(&mut out, &event, form, is_old).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(text(UNASKED, true).starts_with(r#"{"status":"start","id":"abc","from":"busybox","Type""#));
        assert!(text(UNASKED, false).starts_with(r#"{"Type":"container","Action":"start""#));
        let sequence = text("application/json-seq", false);
        assert!(sequence.starts_with("\u{1e}{") && sequence.ends_with("}\n"));
    }
}
