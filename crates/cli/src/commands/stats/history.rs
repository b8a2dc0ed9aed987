//! `stats --history`: what past runs have used and how they ended.

use crate::commands::ps::ellipsis;
use crate::failure::Failure;
use crate::output::table::{self, Layout, Row};
use crate::output::{time, units};
use engine::containers::Containers;
use engine::containers::record::{Cause, ExitRecord, Run};
use std::process::ExitCode;

const LAYOUT: Layout<'_> = Layout {
    kind: "*container.historyContext",
    headers: &[
        ("BlockIO", "READ / WRITTEN"),
        ("CPU", "CPU"),
        ("Cause", "CAUSE"),
        ("Command", "COMMAND"),
        ("Duration", "DURATION"),
        ("Exit", "EXIT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("MemPeak", "PEAK MEMORY"),
        ("Name", "NAME"),
        ("PIDsPeak", "PEAK PIDS"),
        ("Read", "READ"),
        ("Started", "STARTED"),
        ("Written", "WRITTEN"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Started}}\t{{.Duration}}\t{{.Exit}}\t{{.Cause}}\t{{.CPU}}\t{{.MemPeak}}\t{{.BlockIO}}",
    quiet: "{{.ID}}",
};

/// What the kernel or the record do not tell.
const UNKNOWN: &str = "--";

/// Prints the runs of the named containers, which may be gone, or of all.
pub(super) fn show(
    containers: Containers<'_>,
    names: &[String],
    format: Option<&str>,
    truncate: bool,
) -> Result<ExitCode, Failure> {
    let mut runs = containers.runs(None)?;
    if !names.is_empty() {
        let mut ids = Vec::new();
        for name in names {
            match containers.find(name) {
                Ok(id) => ids.push(id),
                // One that is gone is known by what its runs say.
                Err(error) => {
                    let of =
                        |run: &&Run| run.name == *name || run.container.as_str().starts_with(name.as_str());
                    let before = ids.len();
                    ids.extend(runs.iter().filter(of).map(|run| run.container.clone()));
                    if ids.len() == before {
                        return Err(error.into());
                    }
                }
            }
        }
        runs.retain(|run| ids.contains(&run.container));
    }
    let now = time::now();
    let rows: Vec<Row> = runs.iter().map(|run| row(run, now, truncate)).collect();
    table::print(&LAYOUT, &rows, format, false)?;
    Ok(ExitCode::SUCCESS)
}

fn row(run: &Run, now: i64, truncate: bool) -> Row {
    let exit = run.exit.as_ref();
    let usage = exit.map(|exit| &exit.usage);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| UNKNOWN.to_owned(), units::human_size);
    let (read, written) = (
        size(usage.and_then(|usage| usage.read)),
        size(usage.and_then(|usage| usage.written)),
    );
    let ended = exit.map_or(now, |exit| exit.finished);
    let id = if truncate {
        run.container.short()
    } else {
        run.container.as_str()
    };
    let command = if truncate {
        ellipsis(&run.command, 20)
    } else {
        run.command.clone()
    };
    Row::new([
        ("BlockIO", format!("{read} / {written}")),
        (
            "CPU",
            usage
                .and_then(|usage| usage.cpu)
                .map_or_else(|| UNKNOWN.to_owned(), span),
        ),
        ("Cause", cause(exit)),
        ("Command", command),
        (
            "Duration",
            span(u64::try_from(ended.saturating_sub(run.started)).unwrap_or(0)),
        ),
        (
            "Exit",
            exit.map_or_else(|| "running".to_owned(), |exit| exit.code.to_string()),
        ),
        ("ID", id.to_owned()),
        ("Image", run.image.clone()),
        (
            "MemPeak",
            usage
                .and_then(|usage| usage.memory_peak)
                .map_or_else(|| UNKNOWN.to_owned(), units::bytes_size),
        ),
        ("Name", run.name.clone()),
        (
            "PIDsPeak",
            usage
                .and_then(|usage| usage.pids_peak)
                .map_or_else(|| UNKNOWN.to_owned(), |peak| peak.to_string()),
        ),
        ("Read", read.clone()),
        ("Started", time::rfc3339_local(run.started)),
        ("Written", written.clone()),
    ])
}

/// Says in a few words why a run ended.
fn cause(exit: Option<&ExitRecord>) -> String {
    let Some(exit) = exit else {
        return String::new();
    };
    let signal = |number: i32| sys::signal::name(number).unwrap_or_else(|| format!("signal {number}"));
    match &exit.cause {
        Some(Cause::OutOfMemory { process, .. }) => match process {
            Some(process) => format!("out of memory ({})", process.replace(char::is_control, "?")),
            None => "out of memory".to_owned(),
        },
        Some(Cause::Unhealthy { .. }) => "unhealthy".to_owned(),
        Some(Cause::Timeout { limit }) => format!("timeout ({})", span(*limit)),
        Some(Cause::Asked { signal: number }) => format!("stopped ({})", signal(*number)),
        Some(Cause::MonitorDied) => "monitor died".to_owned(),
        Some(Cause::Reboot) => "reboot".to_owned(),
        None if exit.oom_killed => "out of memory".to_owned(),
        None if exit.error.is_some() => "not started".to_owned(),
        None => exit.signal.map_or_else(String::new, signal),
    }
}

/// Writes a span of time with two units at most: `12.3s`, `2m05s`, `3h04m`, `2d03h`.
fn span(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        const SECOND: u64 = 1_000_000_000;
        for (nanoseconds, expected) in [
            (0, "0ms"),
            (12_345_678, "12ms"),
            (SECOND * 12 + SECOND / 3, "12.3s"),
            (SECOND * 125, "2m05s"),
            (SECOND * 11_045, "3h04m"),
            (SECOND * 86_400 * 2 + SECOND * 11_045, "2d03h"),
        ] {
            assert_eq!(span(nanoseconds), expected);
        }
    }

    #[test]
    fn why_it_ended_in_a_few_words() {
        let with = |cause| ExitRecord {
            code: 137,
            cause: Some(cause),
            ..ExitRecord::default()
        };
        for (cause_of, expected) in [
            (
                Cause::OutOfMemory {
                    process: Some("sh\x1b[1m".into()),
                    limit: None,
                    peak: None,
                },
                "out of memory (sh?[1m)",
            ),
            (Cause::Timeout { limit: 5_000_000_000 }, "timeout (5.0s)"),
            (Cause::Asked { signal: 15 }, "stopped (SIGTERM)"),
            (Cause::Reboot, "reboot"),
        ] {
            assert_eq!(cause(Some(&with(cause_of))), expected);
        }
        let killed = ExitRecord {
            signal: Some(9),
            ..ExitRecord::default()
        };
        assert_eq!(cause(Some(&killed)), "SIGKILL");
        assert_eq!(cause(Some(&ExitRecord::default())), "");
        assert_eq!(cause(None), "");
    }
}
