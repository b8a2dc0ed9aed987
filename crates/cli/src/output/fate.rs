//! Why a container ended, in words.

use super::units::bytes_size;
use engine::containers::record::{Cause, ExitRecord};
use std::time::Duration;

/// Signals that tell of a fault of the program's: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ,
/// SIGSYS (those that dump core, in signal(7), but for the keyboard's).
const FAULTS: [i32; 9] = [4, 5, 6, 7, 8, 11, 24, 25, 31];
const KILL: i32 = 9;

/// Says in a word or two why a container ended, for `ps`; `None` where the exit code says it all, or who stopped it
/// knows.
pub(crate) fn short(exit: &ExitRecord) -> Option<String> {
    match &exit.cause {
        Some(Cause::OutOfMemory { .. }) => Some("out of memory".into()),
        Some(Cause::Unhealthy { .. }) => Some("unhealthy".into()),
        Some(Cause::Timeout { .. }) => Some("timeout".into()),
        Some(Cause::MonitorDied) => Some("monitor died".into()),
        Some(Cause::Reboot) => Some("shutdown".into()),
        Some(Cause::Asked { .. }) => None,
        None => exit.signal.and_then(engine::signal_name),
    }
}

/// Says it in a sentence, for who was attached to it; `None` where there is nothing to say.
pub(crate) fn sentence(exit: &ExitRecord) -> Option<String> {
    match &exit.cause {
        Some(Cause::OutOfMemory { process, limit, peak }) => {
            let what = process.as_ref().map_or_else(
                || "the container".to_owned(),
                |process| format!("'{}' in the container", printable(process)),
            );
            let numbers: Vec<String> = [("limit", limit), ("peak", peak)]
                .into_iter()
                .filter_map(|(name, bytes)| Some(format!("{name} {}", bytes_size((*bytes)?))))
                .collect();
            let numbers = if numbers.is_empty() {
                String::new()
            } else {
                format!(" ({})", numbers.join(", "))
            };
            Some(format!("out of memory: the kernel killed {what}{numbers}"))
        }
        Some(Cause::Unhealthy { output }) if output.is_empty() => {
            Some("the container was ended because it is unhealthy".into())
        }
        Some(Cause::Unhealthy { output }) => Some(format!(
            "the container was ended because it is unhealthy; the last check wrote: {}",
            printable(output)
        )),
        Some(Cause::Timeout { limit }) => Some(format!(
            "the container was stopped: it lasted longer than its timeout of {}",
            duration(Duration::from_nanos(*limit))
        )),
        Some(Cause::Reboot) => Some("the container was stopped: its monitor was told to shut down".into()),
        Some(Cause::Asked { .. } | Cause::MonitorDied) => None,
        None => {
            let signal = exit
                .signal
                .filter(|signal| *signal == KILL || FAULTS.contains(signal))?;
            let name = engine::signal_name(signal)?;
            Some(format!("the container was ended by {name}"))
        }
    }
}

/// What a container chose is not to act on our terminal, nor to fill it.
fn printable(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{} ms", time.as_millis()),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(signal: Option<i32>, cause: Option<Cause>) -> ExitRecord {
        ExitRecord {
            signal,
            cause,
            ..ExitRecord::default()
        }
    }

    #[test]
    fn what_the_user_did_is_not_explained_to_them() {
        for signal in [9, 15] {
            let asked = exit(Some(signal), Some(Cause::Asked { signal }));
            assert_eq!((short(&asked), sentence(&asked)), (None, None));
        }
        assert_eq!(sentence(&exit(Some(15), None)), None);
        assert_eq!(short(&exit(Some(15), None)).unwrap(), "SIGTERM");
    }

    #[test]
    fn causes_are_sentences() {
        let memory = |process: Option<&str>, limit, peak| {
            let cause = Cause::OutOfMemory {
                process: process.map(str::to_owned),
                limit,
                peak,
            };
            sentence(&exit(Some(9), Some(cause))).unwrap()
        };
        assert_eq!(
            memory(Some("d\u{1b}d"), Some(64 << 20), Some(63 << 20)),
            "out of memory: the kernel killed 'd?d' in the container (limit 64MiB, peak 63MiB)"
        );
        assert_eq!(
            memory(None, None, None),
            "out of memory: the kernel killed the container"
        );
        let timeout = Cause::Timeout {
            limit: 90_000_000_000,
        };
        assert_eq!(
            sentence(&exit(None, Some(timeout))).unwrap(),
            "the container was stopped: it lasted longer than its timeout of 1m30s"
        );
        assert_eq!(
            sentence(&exit(Some(11), None)).unwrap(),
            "the container was ended by SIGSEGV"
        );
    }
}
