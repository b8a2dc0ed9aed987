//! `Up 5 minutes (healthy)`: what a container does, in a line for people.

use engine::containers::record::{Activity, Container, HealthStatus};

/// Writes how long something takes or is ago: `5 minutes` (go-units' HumanDuration).
pub fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // go-units rounds the hours.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Writes how long before `now` a moment was; both in nanoseconds since 1970.
pub fn since(moment: i64, now: i64) -> String {
    human_duration(now.saturating_sub(moment) / 1_000_000_000)
}

/// Writes what a container does; `why` stands behind an end that does not explain itself.
pub fn status_line(container: &Container, now: i64, why: Option<&str>) -> String {
    let status = &container.status;
    let up = || since(status.started.unwrap_or(now), now);
    let exit = status.exit.as_ref();
    let ended = || {
        let (code, finished) = exit.map_or((0, now), |exit| (exit.code, exit.finished));
        format!("({code}) {} ago", since(finished, now))
    };
    let health = container.health.as_ref().map(|health| match health.status {
        HealthStatus::Starting => " (health: starting)",
        HealthStatus::Healthy => " (healthy)",
        HealthStatus::Unhealthy => " (unhealthy)",
    });
    match container.activity {
        Activity::Created => "Created".into(),
        Activity::Exited => match why {
            Some(why) => format!("Exited {} ({why})", ended()),
            None => format!("Exited {}", ended()),
        },
        Activity::Paused => format!("Up {} (Paused)", up()),
        Activity::Removing => "Removal In Progress".into(),
        Activity::Restarting => format!("Restarting {}", ended()),
        Activity::Running => format!("Up {}{}", up(), health.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_for_people() {
        let hour = 3600;
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (hour, "About an hour"),
            (89 * 60, "About an hour"),
            (90 * 60, "2 hours"),
            (47 * hour, "47 hours"),
            (48 * hour, "2 days"),
            (14 * 24 * hour, "2 weeks"),
            (61 * 24 * hour, "2 months"),
            (3 * 365 * 24 * hour, "3 years"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }
}
