//! Health checks as they are asked for: what the image says, what the request puts in its place, and what is done.

use super::record::Settings;
use super::request::{HealthRequest, OnUnhealthy};
use super::{Containers, invalid, rows::Record};
use super::{request::ExecRequest, running::Running};
use crate::EngineError;
use oci::Healthcheck;
use runtime::ExecPlan;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Docker's defaults, where neither request nor image says anything.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// The least that a time may be, unless it is 0, which is the default's.
const LEAST: Duration = Duration::from_millis(1);
/// The shell of `CMD-SHELL` where the image names none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What a monitor needs to check a container's health.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HealthPlan {
    /// The check; whose process it joins is filled in when there is one.
    pub(super) exec: ExecPlan,
    pub(super) terms: Terms,
}

/// When a check is done, and what it counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) start_period: Duration,
    pub(super) start_interval: Duration,
    pub(super) retries: u32,
    pub(super) on_failure: OnUnhealthy,
}

impl Containers<'_> {
    /// Returns what the monitor needs, if the container's health is to be checked.
    pub(super) fn health_plan(self, record: &Record) -> Result<Option<HealthPlan>, EngineError> {
        let Some(command) = command(&record.settings) else {
            return Ok(None);
        };
        let request = ExecRequest {
            command,
            ..ExecRequest::default()
        };
        let mut exec = self.exec_in(record, &request, &Running::default())?;
        exec.keeps_orphans = true;
        Ok(Some(HealthPlan {
            exec,
            terms: terms(&record.settings),
        }))
    }
}

/// Says what is wrong with a request.
pub(super) fn validate(request: &HealthRequest) -> Result<(), EngineError> {
    for (name, time) in [
        ("Interval", request.interval),
        ("Timeout", request.timeout),
        ("StartPeriod", request.start_period),
        ("StartInterval", request.start_interval),
    ] {
        if time.is_some_and(|time| !time.is_zero() && time < LEAST) {
            return Err(invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    Ok(())
}

/// Says if something is to be done with the unhealthy where nobody looks.
pub(super) fn warning(settings: &Settings) -> Option<String> {
    let acts = settings.request.health.on_failure != OnUnhealthy::Nothing;
    (acts && command(settings).is_none()).then(|| {
        "--health-on-failure does nothing: neither the flags nor the image have a health check".to_owned()
    })
}

/// Merges the request into the image's check: what it leaves open, or says as 0, is the image's.
pub(super) fn in_force(request: &HealthRequest, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let asked = HealthRequest {
        on_failure: OnUnhealthy::Nothing,
        ..request.clone()
    };
    if asked == HealthRequest::default() {
        return image.cloned();
    }
    let of_image = image.cloned().unwrap_or_default();
    let time = |asked: Option<Duration>, of_image: i64| match asked {
        Some(asked) if !asked.is_zero() => i64::try_from(asked.as_nanos()).unwrap_or(i64::MAX),
        _ => of_image,
    };
    let test = match &request.test {
        _ if request.none => vec!["NONE".to_owned()],
        Some(test) if !test.is_empty() => test.clone(),
        _ => of_image.test,
    };
    let retries = match request.retries {
        Some(retries) if retries != 0 => retries.into(),
        _ => of_image.retries,
    };
    Some(Healthcheck {
        test,
        interval: time(request.interval, of_image.interval),
        timeout: time(request.timeout, of_image.timeout),
        start_period: time(request.start_period, of_image.start_period),
        start_interval: time(request.start_interval, of_image.start_interval),
        retries,
    })
}

/// Returns the words of a container's check; `None` if it has none, or one of a kind that nobody knows.
pub(super) fn command(settings: &Settings) -> Option<Vec<String>> {
    let (kind, words) = settings.healthcheck.as_ref()?.test.split_first()?;
    if words.is_empty() {
        return None;
    }
    match kind.as_str() {
        "CMD" => Some(words.to_vec()),
        "CMD-SHELL" => {
            let mut command = settings.shell.clone();
            if command.is_empty() {
                command.extend(SHELL.map(str::to_owned));
            }
            command.extend_from_slice(words);
            Some(command)
        }
        _ => None,
    }
}

fn terms(settings: &Settings) -> Terms {
    let check = settings.healthcheck.clone().unwrap_or_default();
    let time = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
        Ok(0) | Err(_) => default,
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
    };
    Terms {
        interval: time(check.interval, INTERVAL),
        timeout: time(check.timeout, TIMEOUT),
        start_period: time(check.start_period, Duration::ZERO),
        start_interval: time(check.start_interval, START_INTERVAL),
        retries: match u32::try_from(check.retries) {
            Ok(0) | Err(_) => RETRIES,
            Ok(retries) => retries,
        },
        on_failure: settings.request.health.on_failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Healthcheck {
        Healthcheck {
            test: vec!["CMD".into(), "/check".into()],
            interval: 7_000_000_000,
            retries: 9,
            ..Healthcheck::default()
        }
    }

    #[test]
    fn the_request_goes_before_the_image() {
        let nothing = HealthRequest::default();
        assert_eq!(in_force(&nothing, None), None);
        assert_eq!(in_force(&nothing, Some(&image())), Some(image()));
        let only_action = HealthRequest {
            on_failure: OnUnhealthy::Kill,
            ..HealthRequest::default()
        };
        assert_eq!(in_force(&only_action, None), None);
        let none = HealthRequest {
            none: true,
            ..HealthRequest::default()
        };
        assert_eq!(in_force(&none, Some(&image())).unwrap().test, ["NONE"]);
        let some = HealthRequest {
            timeout: Some(Duration::from_secs(2)),
            interval: Some(Duration::ZERO),
            retries: Some(1),
            ..HealthRequest::default()
        };
        let merged = in_force(&some, Some(&image())).unwrap();
        assert_eq!(
            merged,
            Healthcheck {
                timeout: 2_000_000_000,
                retries: 1,
                ..image()
            }
        );
    }

    #[test]
    fn the_command_depends_on_its_kind() {
        let settings = |test: &[&str], shell: &[&str]| Settings {
            healthcheck: Some(Healthcheck {
                test: test.iter().map(|&word| word.to_owned()).collect(),
                ..Healthcheck::default()
            }),
            shell: shell.iter().map(|&word| word.to_owned()).collect(),
            ..Settings::default()
        };
        for (test, shell, expected) in [
            (&["CMD", "a", "b"][..], &[][..], Some(vec!["a", "b"])),
            (&["CMD-SHELL", "a b"], &[], Some(vec!["/bin/sh", "-c", "a b"])),
            (
                &["CMD-SHELL", "a"],
                &["/bin/bash", "-ec"],
                Some(vec!["/bin/bash", "-ec", "a"]),
            ),
            (&["NONE"], &[], None),
            (&["CMD"], &[], None),
            (&["ASK", "a"], &[], None),
            (&[], &[], None),
        ] {
            let expected: Option<Vec<String>> =
                expected.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(command(&settings(test, shell)), expected, "{test:?}");
        }
    }

    #[test]
    fn times_have_docker_s_defaults_and_bounds() {
        let defaults = terms(&Settings::default());
        assert_eq!(
            (defaults.interval, defaults.timeout, defaults.retries),
            (INTERVAL, TIMEOUT, RETRIES)
        );
        assert_eq!(defaults.start_period, Duration::ZERO);
        let short = HealthRequest {
            timeout: Some(Duration::from_micros(1)),
            ..HealthRequest::default()
        };
        let refused = validate(&short).unwrap_err().to_string();
        assert_eq!(refused, "Timeout in Healthcheck cannot be less than 1ms");
        validate(&HealthRequest::default()).unwrap();
    }
}
