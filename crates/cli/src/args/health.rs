//! `--health-*`, `--no-healthcheck` and `--timeout`.

use super::{Invalid, duration, integer, invalid};
use clap::Args;
use engine::containers::request::{HealthRequest, OnUnhealthy};
use std::time::Duration;

/// The flags of `run` and `create` about a container's health and time.
#[derive(Debug, Default, Args)]
pub(crate) struct HealthFlags {
    /// Command to run to check health
    #[arg(long, value_name = "string")]
    health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_parser = duration::nanoseconds, value_name = "duration", allow_negative_numbers = true)]
    health_interval: Option<i64>,
    /// What to do with the container when it becomes unhealthy ("none", "kill", "restart", "stop") (default "none")
    #[arg(long, value_parser = on_failure, value_name = "string")]
    health_on_failure: Option<OnUnhealthy>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_parser = duration::nanoseconds, value_name = "duration", allow_negative_numbers = true)]
    health_start_interval: Option<i64>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_parser = duration::nanoseconds, value_name = "duration", allow_negative_numbers = true)]
    health_start_period: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_parser = duration::nanoseconds, value_name = "duration", allow_negative_numbers = true)]
    health_timeout: Option<i64>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
    /// Stop the container if it runs longer (seconds, or a duration like 1m30s)
    #[arg(long, value_parser = time_limit, value_name = "duration")]
    timeout: Option<Duration>,
}

impl HealthFlags {
    /// Returns `--timeout`; 0 is none.
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.timeout.filter(|timeout| !timeout.is_zero())
    }

    /// Makes the request, or says what is wrong with it.
    pub(crate) fn request(self) -> Result<HealthRequest, Invalid> {
        let command = self.health_cmd.filter(|command| !command.is_empty());
        let times = [
            ("--health-interval", self.health_interval),
            ("--health-timeout", self.health_timeout),
            ("--health-retries", self.health_retries),
            ("--health-start-period", self.health_start_period),
            ("--health-start-interval", self.health_start_interval),
        ];
        let is_set = |value: Option<i64>| value.is_some_and(|value| value != 0);
        let any = command.is_some()
            || self
                .health_on_failure
                .is_some_and(|action| action != OnUnhealthy::Nothing)
            || times.iter().any(|(_, value)| is_set(*value));
        if self.no_healthcheck {
            if any {
                return invalid("--no-healthcheck conflicts with --health-* options");
            }
            return Ok(HealthRequest {
                none: true,
                ..HealthRequest::default()
            });
        }
        for (flag, value) in times {
            if value.is_some_and(|value| value < 0) {
                return invalid(format!("{flag} cannot be negative"));
            }
        }
        // None of them is negative.
        let time = |value: Option<i64>| {
            value
                .and_then(|value| u64::try_from(value).ok())
                .filter(|&value| value != 0)
                .map(Duration::from_nanos)
        };
        Ok(HealthRequest {
            none: false,
            test: command.map(|command| vec!["CMD-SHELL".to_owned(), command]),
            interval: time(self.health_interval),
            timeout: time(self.health_timeout),
            retries: self
                .health_retries
                .filter(|&retries| retries != 0)
                .map(|retries| u32::try_from(retries).unwrap_or(u32::MAX)),
            start_period: time(self.health_start_period),
            start_interval: time(self.health_start_interval),
            on_failure: self.health_on_failure.unwrap_or_default(),
        })
    }
}

fn on_failure(text: &str) -> Result<OnUnhealthy, Invalid> {
    match text {
        "" | "none" => Ok(OnUnhealthy::Nothing),
        "kill" => Ok(OnUnhealthy::Kill),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        _ => invalid("must be one of \"none\", \"kill\", \"restart\" or \"stop\""),
    }
}

fn time_limit(text: &str) -> Result<Duration, Invalid> {
    let nanoseconds = match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1_000_000_000),
        Err(_) => Some(duration::nanoseconds(text)?),
    };
    match nanoseconds.map(u64::try_from) {
        Some(Ok(nanoseconds)) => Ok(Duration::from_nanos(nanoseconds)),
        Some(Err(_)) => invalid("a timeout cannot be negative"),
        None => invalid(format!("time: invalid duration {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_request() {
        assert_eq!(
            HealthFlags::default().request().unwrap(),
            HealthRequest::default()
        );
        let flags = HealthFlags {
            health_cmd: Some("/check -q".into()),
            health_interval: Some(4_500_000_000),
            health_retries: Some(3),
            health_timeout: Some(0),
            ..HealthFlags::default()
        };
        let request = flags.request().unwrap();
        assert_eq!(request.test.unwrap(), ["CMD-SHELL", "/check -q"]);
        assert_eq!(request.interval, Some(Duration::from_millis(4500)));
        assert_eq!((request.retries, request.timeout), (Some(3), None));
        let none = HealthFlags {
            no_healthcheck: true,
            ..HealthFlags::default()
        };
        assert!(none.request().unwrap().none);
    }

    #[test]
    fn contradictions_are_refused_in_docker_s_words() {
        let both = HealthFlags {
            no_healthcheck: true,
            health_retries: Some(1),
            ..HealthFlags::default()
        };
        assert_eq!(
            both.request().unwrap_err().0,
            "--no-healthcheck conflicts with --health-* options"
        );
        let negative = HealthFlags {
            health_start_period: Some(-1),
            ..HealthFlags::default()
        };
        assert_eq!(
            negative.request().unwrap_err().0,
            "--health-start-period cannot be negative"
        );
    }

    #[test]
    fn a_time_limit_is_seconds_or_a_duration() {
        for (text, expected) in [
            ("30", Duration::from_secs(30)),
            ("1m30s", Duration::from_secs(90)),
            ("0", Duration::ZERO),
        ] {
            assert_eq!(time_limit(text), Ok(expected), "{text}");
        }
        for text in ["-1", "-1s", "x", "9223372036854775807"] {
            assert!(time_limit(text).is_err(), "{text}");
        }
    }
}
