//! How a container fares and fared: its health as Docker has it, and what Docker does not tell: why it ended, and what
//! its last run used.

use super::time;
use engine::containers::record::{Cause, ExitRecord, Health, HealthStatus, Usage};
use serde::Serialize;

/// `State.Health`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthState {
    status: &'static str,
    failing_streak: u32,
    log: Vec<CheckResult>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckResult {
    start: String,
    end: String,
    exit_code: i32,
    output: String,
}

/// `State.Cause`: what brought the end about, if it was not the process itself.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndCause {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

/// `State.Usage`: what the last run used, in bytes and nanoseconds; what the kernel did not tell is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RunUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak: Option<u64>,
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    cpu: Option<u64>,
    #[serde(rename = "CPUSystem", skip_serializing_if = "Option::is_none")]
    cpu_system: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_peak: Option<u64>,
}

/// Returns Docker's word for a verdict on a container's health.
pub fn health_text(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    }
}

impl HealthState {
    pub(super) fn new(health: &Health) -> Self {
        let log = health.log.iter().map(|check| CheckResult {
            start: time(Some(check.started)),
            end: time(Some(check.finished)),
            exit_code: check.code,
            output: check.output.clone(),
        });
        Self {
            status: health_text(health.status),
            failing_streak: health.failing_streak,
            log: log.collect(),
        }
    }
}

impl EndCause {
    /// Makes it of an end; `None` if the process ended by itself.
    pub(super) fn new(exit: &ExitRecord) -> Option<Self> {
        let signal = |number: i32| Some(engine::signal_name(number).unwrap_or_else(|| number.to_string()));
        let of_end = exit.signal.and_then(signal);
        let Some(cause) = &exit.cause else {
            return of_end.map(|signal| Self {
                kind: "signal",
                signal: Some(signal),
                ..Self::default()
            });
        };
        let mut told = Self {
            kind: cause.name(),
            signal: of_end,
            ..Self::default()
        };
        match cause {
            Cause::OutOfMemory { process, limit, peak } => {
                told.process.clone_from(process);
                (told.memory_limit, told.memory_peak) = (*limit, *peak);
            }
            Cause::Unhealthy { output } => told.health_output = Some(output.clone()),
            Cause::Timeout { limit } => told.timeout = Some(*limit),
            Cause::Asked { signal: asked } => told.signal = signal(*asked),
            Cause::MonitorDied | Cause::Reboot => {}
        }
        Some(told)
    }
}

impl RunUsage {
    /// Makes it of what is known of a run; `None` if nothing is.
    pub(super) fn new(usage: &Usage) -> Option<Self> {
        (*usage != Usage::default()).then_some(Self {
            memory_peak: usage.memory_peak,
            cpu: usage.cpu,
            cpu_system: usage.cpu_system,
            read: usage.read,
            written: usage.written,
            pids_peak: usage.pids_peak,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_why() {
        let text = |signal, cause| {
            let exit = ExitRecord {
                signal,
                cause,
                ..ExitRecord::default()
            };
            serde_json::to_string(&EndCause::new(&exit)).unwrap()
        };
        let memory = Cause::OutOfMemory {
            process: Some("dd".into()),
            limit: Some(5),
            peak: None,
        };
        for (signal, cause, expected) in [
            (None, None, "null"),
            (Some(11), None, r#"{"Kind":"signal","Signal":"SIGSEGV"}"#),
            (
                Some(9),
                Some(memory),
                r#"{"Kind":"out-of-memory","Signal":"SIGKILL","Process":"dd","MemoryLimit":5}"#,
            ),
            (
                None,
                Some(Cause::Asked { signal: 15 }),
                r#"{"Kind":"asked","Signal":"SIGTERM"}"#,
            ),
            (
                None,
                Some(Cause::Timeout { limit: 7 }),
                r#"{"Kind":"timeout","Timeout":7}"#,
            ),
        ] {
            assert_eq!(text(signal, cause), expected);
        }
    }
}
