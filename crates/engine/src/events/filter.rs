//! `events --filter`.

use super::Event;
use crate::EngineError;

/// The filters that Docker's `events` has.
pub const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Which events are wanted: of several values of one key any (of labels all), and of several keys all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pairs: Vec<(String, String)>,
}

impl Filter {
    /// Reads key and value pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, EngineError> {
        match pairs.iter().find(|(key, _)| !FILTERS.contains(&key.as_str())) {
            None => Ok(Self { pairs }),
            Some((key, _)) => Err(EngineError::Invalid {
                message: format!("invalid filter '{key}'"),
                hint: Some(format!("events are filtered by {}", FILTERS.join(", "))),
            }),
        }
    }

    /// Says whether the event is wanted.
    pub fn accepts(&self, event: &Event) -> bool {
        FILTERS.iter().all(|key| {
            let mut values = self
                .pairs
                .iter()
                .filter(|(there, _)| there == key)
                .map(|(_, value)| value.as_str())
                .peekable();
            if values.peek().is_none() {
                return true;
            }
            match *key {
                "event" => values.any(|value| is_action(&event.action, value)),
                "image" => values.any(|value| is_image(event, value)),
                "label" => values.all(|value| has_label(event, value)),
                "scope" => values.any(|value| value == "local"),
                "type" => values.any(|value| value == event.kind),
                kind => values.any(|value| is_object(event, kind, value)),
            }
        })
    }
}

/// `exec_create: sh` is what `exec_create` asks for, and `health_status: healthy` what `health_status` does.
fn is_action(action: &str, wanted: &str) -> bool {
    action == wanted || (action.contains(':') && !wanted.is_empty() && action.starts_with(wanted))
}

/// By id, name, or how they begin, as with Docker; but a volume that is called like a container is not meant.
fn is_object(event: &Event, kind: &str, wanted: &str) -> bool {
    let name = event.attributes.get("name");
    event.kind == kind
        && (event.object.starts_with(wanted) || name.is_some_and(|name| name.starts_with(wanted)))
}

/// An image's own events and those of its containers, with or without the tag.
fn is_image(event: &Event, wanted: &str) -> bool {
    let attribute = if event.kind == "image" { "name" } else { "image" };
    let name = event.attributes.get(attribute).map_or("", String::as_str);
    [event.object.as_str(), name]
        .iter()
        .any(|text| *text == wanted || (!text.is_empty() && without_tag(text) == wanted))
}

fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

fn has_label(event: &Event, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => event.attributes.get(name).is_some_and(|there| there == value),
        None => event.attributes.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str, object: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            time: 0,
            kind: kind.into(),
            action: action.into(),
            object: object.into(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn events_are_chosen_as_docker_chooses() {
        let start = event(
            "container",
            "start",
            "abcdef",
            &[("name", "web"), ("image", "nginx:1.25"), ("tier", "front")],
        );
        let exec = event("container", "exec_create: sh -c ls", "abcdef", &[("name", "web")]);
        let pull = event("image", "pull", "nginx:1.25", &[("name", "nginx")]);
        let connect = event(
            "network",
            "connect",
            "9999",
            &[("container", "abcdef"), ("name", "bridge")],
        );
        for (pairs, expected) in [
            (&[][..], [true, true, true, true]),
            (&[("type", "container")], [true, true, false, false]),
            (
                &[("type", "image"), ("type", "network")],
                [false, false, true, true],
            ),
            (&[("event", "start")], [true, false, false, false]),
            (&[("event", "exec_create")], [false, true, false, false]),
            (&[("container", "web")], [true, true, false, false]),
            (&[("container", "abc")], [true, true, false, false]),
            (&[("container", "abcdef")], [true, true, false, false]),
            (&[("network", "bridge")], [false, false, false, true]),
            (&[("image", "nginx")], [true, false, true, false]),
            (&[("image", "nginx:1.25")], [true, false, true, false]),
            (&[("label", "tier")], [true, false, false, false]),
            (&[("label", "tier=front")], [true, false, false, false]),
            (&[("label", "tier"), ("label", "other")], [false; 4]),
            (&[("scope", "local")], [true; 4]),
            (&[("scope", "swarm")], [false; 4]),
            (
                &[("type", "container"), ("event", "start"), ("event", "die")],
                [true, false, false, false],
            ),
        ] {
            let owned = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let filter = Filter::new(owned).unwrap();
            let found = [&start, &exec, &pull, &connect].map(|event| filter.accepts(event));
            assert_eq!(found, expected, "{pairs:?}");
        }
        assert!(Filter::new(vec![("colour".into(), "red".into())]).is_err());
    }
}
