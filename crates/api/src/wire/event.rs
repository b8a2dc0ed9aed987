//! An event, as `docker events` shows it.

use engine::events::Event;
use serde::Serialize;
use std::collections::BTreeMap;

/// A message of `GET /events`.
#[derive(Debug, Serialize)]
pub struct EventMessage {
    /// The action once more, as before version 1.10.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// The object once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// A container's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Debug, Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl EventMessage {
    /// Leaves out what is said twice, as since version 1.52.
    #[must_use]
    pub fn without_old_fields(self) -> Self {
        Self {
            status: None,
            id: None,
            from: None,
            ..self
        }
    }

    /// Makes it of an event.
    pub fn new(event: &Event) -> Self {
        let is_old = matches!(event.kind.as_str(), "container" | "image");
        let from = event
            .attributes
            .get("image")
            .filter(|_| event.kind == "container");
        Self {
            status: is_old.then(|| event.action.clone()),
            id: is_old.then(|| event.object.clone()),
            from: from.cloned(),
            kind: event.kind.clone(),
            action: event.action.clone(),
            actor: Actor {
                id: event.object.clone(),
                attributes: event.attributes.clone(),
            },
            scope: "local",
            time: event.time.div_euclid(1_000_000_000),
            time_nano: event.time,
        }
    }
}
