//! `ps`.
use super::record::{Activity, Container, ContainerId, HealthStatus};
use super::request::{ListContainers, NetworkMode};
use super::rows::{self, Record};
use super::{Containers, invalid};
use crate::EngineError;
use crate::pattern::Pattern;
use std::collections::BTreeSet;

/// Docker's filters of `ps`, in order.
pub const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

impl Containers<'_> {
    /// Returns containers, the newest first.
    pub fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EngineError> {
        let filters = &request.filters;
        if let Some((key, _)) = filters.iter().find(|(key, _)| !FILTERS.contains(&key.as_str())) {
            return Err(invalid(format!("invalid filter '{key}'")));
        }
        let wants = |key: &str| filters.iter().any(|(there, _)| there == key);
        let all = request.all || request.last.is_some() || wants("status");
        let mut bounds = self.bounds(filters)?;
        bounds.images = self.images_named(filters)?;
        bounds.patterns = Pattern::all(filters, &["id", "name"]);
        check(filters)?;
        // One look at the run directory instead of one at each container's.
        let present: BTreeSet<ContainerId> = self.run_directories()?.into_iter().collect();
        let records = self.engine.database.read(|connection| {
            let records = if all {
                rows::all(connection)
            } else {
                rows::begun(connection)
            };
            Ok::<_, EngineError>(records?)
        })?;
        let mut containers = Vec::new();
        for record in records {
            if !bounds.contain(&record) {
                continue;
            }
            let container = if present.contains(&record.id) || record.removing {
                self.describe(record, request.size)?
            } else {
                self.describe_idle(record, request.size)?
            };
            let alive = matches!(
                container.activity,
                Activity::Running | Activity::Paused | Activity::Restarting
            );
            if (all || alive) && matches(&container, filters, &bounds) {
                containers.push(container);
            }
            if request.last.is_some_and(|last| containers.len() >= last) {
                break;
            }
        }
        Ok(containers)
    }

    /// Resolves `before` and `since`.
    fn bounds(self, filters: &[(String, String)]) -> Result<Bounds, EngineError> {
        let mut bounds = Bounds::default();
        for (key, value) in filters {
            let bound = match key.as_str() {
                "before" => &mut bounds.before,
                "since" => &mut bounds.since,
                _ => continue,
            };
            *bound = Some(self.record(&self.find(value)?)?.created);
        }
        Ok(bounds)
    }

    /// Resolves `ancestor`: the images that are named, and all that were made on top of them.
    fn images_named(self, filters: &[(String, String)]) -> Result<BTreeSet<oci::Digest>, EngineError> {
        let mut images = BTreeSet::new();
        let mut layers = Vec::new();
        for (_, name) in filters.iter().filter(|(key, _)| key == "ancestor") {
            match self.engine.images().find(name) {
                Ok(image) => {
                    images.insert(image.id);
                    layers.push(image.layers);
                }
                // The image may be gone, its containers not; they are then found by the name they were made with.
                Err(EngineError::NotFound { .. } | EngineError::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if !layers.is_empty() {
            for image in self.engine.images().list()? {
                let below = |bottom: &Vec<store::Layer>| {
                    !bottom.is_empty()
                        && image.layers.len() >= bottom.len()
                        && bottom
                            .iter()
                            .zip(&image.layers)
                            .all(|(one, other)| one.id == other.id)
                };
                if layers.iter().any(below) {
                    images.insert(image.id);
                }
            }
        }
        Ok(images)
    }
}

/// Refuses values that nothing could have.
fn check(filters: &[(String, String)]) -> Result<(), EngineError> {
    for (key, value) in filters {
        match key.as_str() {
            "exited" => {
                value
                    .parse::<i32>()
                    .map_err(|error| invalid(format!("invalid filter 'exited={value}': {error}")))?;
            }
            "health" if !HEALTH.contains(&value.as_str()) => {
                return Err(unknown_value(key, value, &HEALTH));
            }
            "is-task" if !["0", "1", "false", "true"].contains(&value.as_str()) => {
                return Err(unknown_value(key, value, &["false", "true"]));
            }
            "expose" | "publish" if !is_port_range(value) => {
                return Err(EngineError::Invalid {
                    message: format!("invalid filter '{key}={value}'"),
                    hint: Some("write a port, or first-last, and perhaps /tcp, /udp or /sctp".into()),
                });
            }
            "status" if !STATUS.contains(&value.as_str()) => {
                return Err(unknown_value(key, value, &STATUS));
            }
            _ => {}
        }
    }
    Ok(())
}

const HEALTH: [&str; 4] = ["healthy", "none", "starting", "unhealthy"];
const STATUS: [&str; 7] = [
    "created",
    "dead",
    "exited",
    "paused",
    "removing",
    "restarting",
    "running",
];

fn unknown_value(key: &str, value: &str, known: &[&str]) -> EngineError {
    EngineError::Invalid {
        message: format!("invalid filter '{key}={value}'"),
        hint: Some(format!("{key} is one of {}", known.join(", "))),
    }
}

#[derive(Debug, Default)]
struct Bounds {
    before: Option<i64>,
    since: Option<i64>,
    images: BTreeSet<oci::Digest>,
    patterns: Vec<Pattern>,
}

impl Bounds {
    fn contain(&self, record: &Record) -> bool {
        self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
    }
}

/// All keys must hold; of several values of one key, one must (of labels, all).
fn matches(container: &Container, filters: &[(String, String)], bounds: &Bounds) -> bool {
    for key in FILTERS {
        let values: Vec<&str> = filters
            .iter()
            .filter(|(there, _)| there == key)
            .map(|(_, value)| value.as_str())
            .collect();
        if values.is_empty() {
            continue;
        }
        let mut any = false;
        let mut every = true;
        for value in values {
            let holds = holds(container, key, value, bounds);
            any |= holds;
            every &= holds;
        }
        if !(if *key == "label" { every } else { any }) {
            return false;
        }
    }
    true
}

fn holds(container: &Container, key: &str, value: &str, bounds: &Bounds) -> bool {
    let settings = &container.settings;
    let pattern = |text: &str| {
        let mut patterns = bounds.patterns.iter();
        patterns.any(|pattern| pattern.is_of(key, value) && pattern.matches(text))
    };
    match key {
        "ancestor" => settings.image_name == value || bounds.images.contains(&container.image),
        "exited" => {
            let exit = container.status.exit.as_ref();
            container.activity == Activity::Exited && exit.is_some_and(|exit| exit.code.to_string() == value)
        }
        "expose" => settings.exposed.iter().any(|port| is_port(port, value)),
        "health" => health_name(container) == value,
        "id" => pattern(container.id.as_str()),
        "is-task" => matches!(value, "false" | "0"),
        "label" => match value.split_once('=') {
            Some((name, value)) => settings.labels.get(name).is_some_and(|there| there == value),
            None => settings.labels.contains_key(value),
        },
        // Docker's names begin with a slash, which may be in the pattern or not.
        "name" => pattern(&container.name) || pattern(&format!("/{}", container.name)),
        "network" => is_on_network(container, value),
        "publish" => settings.request.publish.iter().any(|publish| {
            is_port(
                &format!(
                    "{}/{}",
                    publish.port,
                    crate::networks::protocol_name(publish.protocol)
                ),
                value,
            )
        }),
        "status" => status_name(container.activity) == value,
        "volume" => settings
            .mounts
            .iter()
            .any(|mount| mount.name.as_deref() == Some(value) || mount.target == value),
        // Isolation is a word of another system; before and since have been seen to.
        _ => true,
    }
}

fn health_name(container: &Container) -> &'static str {
    match container.health.as_ref().map(|health| health.status) {
        None => "none",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    }
}

/// By the network's name, its id, or how that begins.
fn is_on_network(container: &Container, value: &str) -> bool {
    let is_id = |id: &str| value.len() >= 3 && id.starts_with(value);
    let name = network_name(&container.settings.request.network);
    let mut endpoints = container.status.endpoints.iter();
    let mut networks = container.settings.networks.iter();
    name == value
        || networks.any(|there| there.network == value)
        || endpoints.any(|there| there.network == value || is_id(&there.network_id))
        || (matches!(name, "host" | "none") && is_id(&crate::networks::stable_id(name)))
}

/// Compares `80/tcp` with `80`, `80/tcp` or `80-90/tcp`.
fn is_port(port: &str, wanted: &str) -> bool {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (range, wanted_protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let Ok(number) = number.parse::<u16>() else {
        return false;
    };
    protocol == wanted_protocol
        && first.parse().is_ok_and(|first: u16| first <= number)
        && last.parse().is_ok_and(|last: u16| number <= last)
}

/// Says whether text is `80`, `80-90`, or one of these with a protocol behind it.
fn is_port_range(text: &str) -> bool {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let ends = (first.parse::<u16>(), last.parse::<u16>());
    matches!(protocol, "sctp" | "tcp" | "udp") && matches!(ends, (Ok(first), Ok(last)) if first <= last)
}

fn network_name(mode: &NetworkMode) -> &str {
    match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Container(id) => id,
        NetworkMode::Host => "host",
        NetworkMode::Named(name) => name,
        NetworkMode::None => "none",
    }
}

fn status_name(activity: Activity) -> &'static str {
    match activity {
        Activity::Created => "created",
        Activity::Exited => "exited",
        Activity::Paused => "paused",
        Activity::Removing => "removing",
        Activity::Restarting => "restarting",
        Activity::Running => "running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_match_by_number_protocol_and_range() {
        for (port, wanted, expected) in [
            ("80/tcp", "80", true),
            ("80/tcp", "80/udp", false),
            ("85/tcp", "80-90", true),
            ("95/tcp", "80-90", false),
            ("53/udp", "53/udp", true),
        ] {
            assert_eq!(is_port(port, wanted), expected, "{port} {wanted}");
        }
        for (text, expected) in [
            ("80", true),
            ("80-90/udp", true),
            ("90-80", false),
            ("80/x", false),
            ("a", false),
        ] {
            assert_eq!(is_port_range(text), expected, "{text}");
        }
    }

    #[test]
    fn values_that_nothing_has_are_refused() {
        for (key, value) in [
            ("exited", "many"),
            ("expose", "http"),
            ("health", "fine"),
            ("is-task", "maybe"),
            ("publish", "99999"),
            ("status", "runing"),
        ] {
            let refused = check(&[(key.to_owned(), value.to_owned())]).unwrap_err();
            assert_eq!(
                refused.to_string().split(": ").next(),
                Some(format!("invalid filter '{key}={value}'").as_str())
            );
        }
        let fine = [
            ("status", "exited"),
            ("health", "none"),
            ("exited", "137"),
            ("publish", "80-90/udp"),
        ];
        check(&fine.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
    }
}
