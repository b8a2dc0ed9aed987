//! `ps`.
use super::record::{Activity, Container, ContainerId, HealthStatus};
use super::request::{ListContainers, NetworkMode};
use super::rows::{self, Record};
use super::{Containers, invalid};
use crate::EngineError;

/// Docker's filters that mean something here.
const FILTERS: [&str; 14] = [
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
];

impl Containers<'_> {
    /// Returns containers, the newest first.
    pub fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EngineError> {
        let filters = &request.filters;
        if let Some((key, _)) = filters
            .iter()
            .find(|(key, _)| !FILTERS.contains(&key.as_str()) && key != "volume")
        {
            return Err(invalid(format!("invalid filter '{key}'")));
        }
        let wants = |key: &str| filters.iter().any(|(there, _)| there == key);
        let all = request.all || request.last.is_some() || wants("status") || wants("exited");
        let mut bounds = self.bounds(filters)?;
        bounds.images = self.images_named(filters)?;
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
            let container = self.describe(record, request.size)?;
            let alive = matches!(
                container.activity,
                Activity::Running | Activity::Paused | Activity::Restarting
            );
            if (all || alive) && matches(&container, filters, &bounds)? {
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

    /// Resolves `ancestor`.
    fn images_named(self, filters: &[(String, String)]) -> Result<Vec<oci::Digest>, EngineError> {
        let mut images = Vec::new();
        for (_, name) in filters.iter().filter(|(key, _)| key == "ancestor") {
            match self.engine.images().find(name) {
                Ok(image) => images.push(image.id),
                // The image may be gone, its containers not; they are then found by the name they were made with.
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }
}

#[derive(Debug, Default)]
struct Bounds {
    before: Option<i64>,
    since: Option<i64>,
    images: Vec<oci::Digest>,
}

impl Bounds {
    fn contain(&self, record: &Record) -> bool {
        self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
    }
}

/// All keys must hold; of several values of one key, one must (of labels, all).
fn matches(
    container: &Container,
    filters: &[(String, String)],
    bounds: &Bounds,
) -> Result<bool, EngineError> {
    for key in FILTERS.iter().chain(&["volume"]) {
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
            let holds = holds(container, key, value, bounds)?;
            any |= holds;
            every &= holds;
        }
        if !(if *key == "label" { every } else { any }) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(container: &Container, key: &str, value: &str, bounds: &Bounds) -> Result<bool, EngineError> {
    let settings = &container.settings;
    Ok(match key {
        "ancestor" => settings.image_name == value || bounds.images.contains(&container.image),
        "exited" => {
            let code: i32 = value
                .parse()
                .map_err(|error| invalid(format!("invalid filter 'exited={value}': {error}")))?;
            container.activity == Activity::Exited
                && container
                    .status
                    .exit
                    .as_ref()
                    .is_some_and(|exit| exit.code == code)
        }
        "expose" => settings.exposed.iter().any(|port| is_port(port, value)),
        "health" => health_name(container) == checked_health(value)?,
        "id" => id_matches(&container.id, value),
        "is-task" => matches!(value, "false" | "0"),
        "label" => match value.split_once('=') {
            Some((name, value)) => settings.labels.get(name).is_some_and(|there| there == value),
            None => settings.labels.contains_key(value),
        },
        "name" => name_matches(&container.name, value),
        "network" => network_name(&settings.request.network) == value,
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
        "status" => status_name(container.activity) == checked_status(value)?,
        "volume" => settings
            .mounts
            .iter()
            .any(|mount| mount.name.as_deref() == Some(value) || mount.target == value),
        // Isolation is a word of another system; before and since have been seen to.
        _ => true,
    })
}

fn id_matches(id: &ContainerId, value: &str) -> bool {
    id.as_str().starts_with(value.trim_start_matches('^'))
}

/// Docker takes a regular expression; what people write are parts of names, and names between `^` and `$`.
fn name_matches(name: &str, value: &str) -> bool {
    let (from_start, value) = match value.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (to_end, value) = match value.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let value = value.strip_prefix('/').unwrap_or(value);
    match (from_start, to_end) {
        (true, true) => name == value,
        (true, false) => name.starts_with(value),
        (false, true) => name.ends_with(value),
        (false, false) => name.contains(value),
    }
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

fn network_name(mode: &NetworkMode) -> &str {
    match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Container(id) => id,
        NetworkMode::Host => "host",
        NetworkMode::Named(name) => name,
        NetworkMode::None => "none",
    }
}

fn health_name(container: &Container) -> &'static str {
    match container.health.as_ref().map(|health| health.status) {
        None => "none",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    }
}

fn checked_health(value: &str) -> Result<&str, EngineError> {
    let known = ["none", "starting", "healthy", "unhealthy"];
    if known.contains(&value) {
        return Ok(value);
    }
    Err(EngineError::Invalid {
        message: format!("unrecognized filter value for health: {value}"),
        hint: Some(format!("health is one of {}", known.join(", "))),
    })
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

fn checked_status(value: &str) -> Result<&str, EngineError> {
    let known = [
        "created",
        "dead",
        "exited",
        "paused",
        "removing",
        "restarting",
        "running",
    ];
    if known.contains(&value) {
        return Ok(value);
    }
    Err(EngineError::Invalid {
        message: format!("invalid filter 'status={value}'"),
        hint: Some(format!("status is one of {}", known.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_by_part_or_between_anchors() {
        for (name, value, expected) in [
            ("web_1", "web", true),
            ("web_1", "^web$", false),
            ("web", "^/web$", true),
            ("my_web", "^web", false),
            ("my_web", "web$", true),
        ] {
            assert_eq!(name_matches(name, value), expected, "{name} {value}");
        }
    }

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
    }
}
