//! `volume snapshot`, `versions`, `forget`, `diff`, `restore`, `clone`, `export` and `import`.

use super::save::to_file;
use crate::dispatch::Verb;
use crate::failure::{self, Failure};
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{self, json, time, units};
use crate::signals;
use clap::Args;
use engine::EngineError;
use engine::volumes::versions::{
    Copied, Difference, DifferenceKind, Origin, SnapshotRequest, Source, Version,
};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Flags of `volume snapshot`.
#[derive(Debug, Args)]
pub(super) struct Snapshot {
    /// Do not pause the containers that run with the volume
    #[arg(long)]
    live: bool,
}

/// Flags of `volume versions`.
#[derive(Debug, Args)]
pub(super) struct Versions {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display tags, behind the volume's name if it is not given
    #[arg(short, long)]
    quiet: bool,
}

/// `volume forget` has no flags.
#[derive(Debug, Args)]
pub(super) struct Forget {}

/// Flags of `volume diff`.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Format output: 'json' or nothing
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Display sizes
    #[arg(short, long)]
    size: bool,
}

/// Flags of `volume restore`.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Do not keep what the volume holds as a version
    #[arg(long)]
    discard: bool,
}

/// Flags of `volume clone`.
#[derive(Debug, Args)]
pub(super) struct Clone {
    /// Do not pause the containers that run with the volume
    #[arg(long)]
    live: bool,
}

/// Flags of `volume export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Do not pause the containers that run with the volume
    #[arg(long)]
    live: bool,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
}

/// `volume import` has no flags.
#[derive(Debug, Args)]
pub(super) struct Import {}

/// What Ctrl-C sets: containers must not stay paused, and nothing half-made must stay.
struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    fn new() -> Result<Self, Failure> {
        Ok(Self(signals::cancellation()?))
    }

    fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says nothing of an error that is the user's own doing.
    fn outcome<T>(&self, result: Result<T, EngineError>) -> Result<T, Failure> {
        match result {
            Err(_cancelled) if self.is_asked_for() => Err(Failure::silent(failure::INTERRUPTED)),
            result => Ok(result?),
        }
    }
}

impl Verb for Snapshot {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let volume = words[0].as_str();
        let request = SnapshotRequest {
            tag: words.get(1).cloned(),
            live: self.live,
        };
        let cancellation = Cancellation::new()?;
        let made = cli
            .engine()?
            .volumes()
            .snapshot(volume, &request, &|| cancellation.is_asked_for());
        if let Err(EngineError::NotFound { kind: "volume", .. }) = &made
            && matches!(volume, "list" | "ls" | "prune" | "remove" | "rm")
        {
            return Err(Failure::from(no_such(volume)).with_hint(format!(
                "versions are listed by '{0} volume versions' and removed by '{0} volume forget'",
                cli.program
            )));
        }
        let (version, copied) = cancellation.outcome(made)?;
        tell_of_sockets(copied);
        output::line(&version.tag)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn no_such(volume: &str) -> EngineError {
    EngineError::NotFound {
        kind: "volume",
        name: volume.to_owned(),
    }
}

fn tell_of_sockets(copied: Copied) {
    if copied.sockets > 0 {
        let plural = if copied.sockets == 1 {
            "socket was"
        } else {
            "sockets were"
        };
        output::note(&format!(
            "{} {plural} left out: without its server a socket is nothing",
            copied.sockets
        ));
    }
}

/// Columns of `volume versions`.
const HEADERS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Frozen", "FROZEN"),
    ("Origin", "ORIGIN"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("Volume", "VOLUME NAME"),
];

impl Verb for Versions {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let volume = words.first().map(String::as_str);
        let versions = cli.engine()?.volumes().versions(volume)?;
        let layout = Layout {
            kind: "*formatter.versionContext",
            headers: HEADERS,
            default: "{{.Volume}}\t{{.Tag}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Origin}}\t{{.Frozen}}",
            quiet: if volume.is_some() {
                "{{.Tag}}"
            } else {
                "{{.Volume}}:{{.Tag}}"
            },
        };
        let rows: Vec<Row> = versions.iter().map(row).collect();
        table::print(&layout, &rows, self.format.as_deref(), self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(version: &Version) -> Row {
    let frozen = if version.frozen == Duration::ZERO {
        "-".to_owned()
    } else {
        format!("{:.1}ms", version.frozen.as_secs_f64() * 1000.0)
    };
    let origin = match version.origin {
        Origin::Consistent => "snapshot",
        Origin::Live => "live",
        Origin::Replaced => "replaced",
    };
    Row::new([
        ("CreatedAt", time::go_string(version.created)),
        ("CreatedSince", time::ago(version.created, time::now())),
        ("Frozen", frozen),
        ("Origin", origin.to_owned()),
        ("Size", units::human_size(version.size)),
        ("Tag", version.tag.clone()),
        ("Volume", version.volume.clone()),
    ])
}

impl Verb for Forget {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let volumes = cli.engine()?.volumes();
        Ok(super::each(cli, &words[1..], |tag| {
            volumes.forget(&words[0], tag)?;
            output::line(tag)
        }))
    }
}

impl Verb for Diff {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let as_json = match self.format.as_deref() {
            None | Some("") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Failure::new(format!("unknown format '{other}'"))
                    .with_hint("'--format json' writes one object a line"));
            }
        };
        let volumes = cli.engine()?.volumes();
        let volume = words[0].as_str();
        let from = match words.get(1) {
            Some(tag) => tag.clone(),
            None => match volumes.versions(Some(volume))?.pop() {
                Some(version) => version.tag,
                None => {
                    return Err(
                        Failure::new(format!("the volume {volume} has no versions to compare with"))
                            .with_hint(format!("make one: '{} volume snapshot {volume}'", cli.program)),
                    );
                }
            },
        };
        let cancellation = Cancellation::new()?;
        let to = words.get(2).map(String::as_str);
        let found = volumes.diff(volume, &from, to, &|| cancellation.is_asked_for());
        let differences = cancellation.outcome(found)?;
        let mut out = BufWriter::new(output::raw_stdout());
        for difference in &differences {
            if as_json {
                out.write_all(json::compact(&value(difference)).as_bytes())?;
                out.write_all(b"\n")?;
            } else {
                write(&mut out, difference, self.size)?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn letter(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Added => "A",
        DifferenceKind::Changed => "C",
        DifferenceKind::Deleted => "D",
    }
}

fn value(difference: &Difference) -> serde_json::Value {
    serde_json::json!({
        "After": difference.after,
        "Before": difference.before,
        "Kind": letter(difference.kind),
        "Path": difference.path.to_string_lossy(),
    })
}

fn write(out: &mut impl Write, difference: &Difference, size: bool) -> std::io::Result<()> {
    write!(out, "{} ", letter(difference.kind))?;
    if size {
        let change = i128::from(difference.after) - i128::from(difference.before);
        let sign = match change {
            0 => ' ',
            change if change > 0 => '+',
            _ => '-',
        };
        let bytes = u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX);
        write!(out, "{:>10} ", format!("{sign}{}", units::human_size(bytes)))?;
    }
    let path = difference.path.as_os_str();
    if output::stdout_is_terminal() {
        // A container chose the name; nothing in it may act on the user's terminal.
        let shown = path.to_string_lossy().replace(char::is_control, "?");
        out.write_all(shown.as_bytes())?;
    } else {
        out.write_all(path.as_bytes())?;
    }
    out.write_all(b"\n")
}

impl Verb for Restore {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let cancellation = Cancellation::new()?;
        let volume = words[0].as_str();
        let restored = cli
            .engine()?
            .volumes()
            .restore(volume, &words[1], self.discard, &|| cancellation.is_asked_for());
        if let Some(kept) = cancellation.outcome(restored)? {
            output::note(&format!(
                "what was in {volume} is kept as its version {}",
                kept.tag
            ));
        }
        output::line(volume)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Clone {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let cancellation = Cancellation::new()?;
        let source = Source::parse(&words[0]);
        let cloned = cli
            .engine()?
            .volumes()
            .clone_to(&source, &words[1], self.live, &|| cancellation.is_asked_for());
        let (volume, copied) = cancellation.outcome(cloned)?;
        tell_of_sockets(copied);
        output::line(&volume.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Export {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let cancellation = Cancellation::new()?;
        let source = Source::parse(&words[0]);
        let volumes = cli.engine()?.volumes();
        let path = self.output.filter(|path| path != Path::new("-"));
        to_file(path.as_deref(), "export", |into| {
            let mut into = Stoppable {
                into,
                cancellation: &cancellation,
            };
            cancellation
                .outcome(volumes.export(&source, self.live, &mut into, &|| cancellation.is_asked_for()))
        })
    }
}

/// Ends with an error when the user has had enough.
struct Stoppable<'w> {
    into: &'w mut dyn Write,
    cancellation: &'w Cancellation,
}

impl Write for Stoppable<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        if self.cancellation.is_asked_for() {
            return Err(std::io::Error::other("it was cancelled"));
        }
        self.into.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.into.flush()
    }
}

impl Verb for Import {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let source = words[1].as_str();
        let mut tar: Box<dyn std::io::Read> = if source == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            super::load::open(Path::new(source))?
        };
        let volume = cli.engine()?.volumes().import(&words[0], tar.as_mut())?;
        output::line(&volume.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
