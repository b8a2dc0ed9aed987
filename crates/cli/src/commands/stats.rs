//! `stats`.

mod history;

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{self, units};
use crate::terminal;
use clap::Args;
use engine::containers::Containers;
use engine::containers::record::ContainerId;
use engine::containers::request::ListContainers;
use engine::containers::stats::Sample;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `stats`.
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show what past runs have used, also those of removed containers
    #[arg(long)]
    history: bool,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
}

/// Between two samples. Less would say little: the host's time is counted in hundredths of a second.
const INTERVAL: Duration = Duration::from_secs(1);
/// To the top left corner, and everything behind it away; from here to the end of the line; of the screen.
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[2J";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

const LAYOUT: Layout<'_> = Layout {
    kind: "*container.statsContext",
    headers: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

/// A container that is watched: as the user named it, its id, and the sample before.
struct Watched {
    named: String,
    id: ContainerId,
    last: Option<Sample>,
}

impl Verb for Stats {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let format = self.format.as_deref().or(cli.client().stats_format.as_deref());
        if self.history {
            return history::show(containers, &words, format, !self.no_trunc);
        }
        let mut watched = Vec::new();
        for name in &words {
            watched.push(Watched {
                id: containers.find(name)?,
                named: name.clone(),
                last: None,
            });
        }
        // A mistake in the format is told at once.
        table::render(&LAYOUT, &[], format, false)?;
        let to_terminal = !self.no_stream && output::stdout_is_terminal();
        if to_terminal {
            output::text(CLEAR)?;
        }
        let mut first = true;
        loop {
            if words.is_empty() {
                self.watch_all(containers, &mut watched)?;
            }
            let rows = self.sample(containers, &mut watched)?;
            // A first sample has nothing to be compared with; a stopped container needs no second.
            let comparable = !first || watched.iter().all(|one| !one.runs());
            if comparable {
                let text = table::render(&LAYOUT, &rows, format, false)?;
                output::text(&if to_terminal { screen(&text) } else { text })?;
                if self.no_stream {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            first = false;
            std::thread::sleep(INTERVAL);
        }
    }
}

impl Watched {
    fn runs(&self) -> bool {
        self.last.as_ref().is_some_and(|sample| sample.started != 0)
    }
}

impl Stats {
    /// Takes up containers that have come and drops those that have gone.
    fn watch_all(&self, containers: Containers<'_>, watched: &mut Vec<Watched>) -> Result<(), Failure> {
        let there = containers.list(&ListContainers {
            all: self.all,
            ..ListContainers::default()
        })?;
        let mut now = Vec::with_capacity(there.len());
        for container in there {
            let known = watched.iter_mut().find(|one| one.id == container.id);
            now.push(Watched {
                named: container.id.short().to_owned(),
                last: known.and_then(|one| one.last.take()),
                id: container.id,
            });
        }
        *watched = now;
        Ok(())
    }

    fn sample(&self, containers: Containers<'_>, watched: &mut [Watched]) -> Result<Vec<Row>, Failure> {
        let ids: Vec<ContainerId> = watched.iter().map(|one| one.id.clone()).collect();
        let mut samples = containers.samples(&ids)?.into_iter().peekable();
        let mut rows = Vec::with_capacity(watched.len());
        for one in watched {
            // What is gone is left out of the samples; their order is that of the ids.
            let sample = samples.next_if(|(id, _)| *id == one.id).map(|(_, sample)| sample);
            rows.push(row(one, sample.as_ref(), !self.no_trunc));
            one.last = sample;
        }
        Ok(rows)
    }
}

fn row(one: &Watched, sample: Option<&Sample>, truncate: bool) -> Row {
    let id = if truncate { one.id.short() } else { one.id.as_str() };
    let Some(sample) = sample else {
        // Docker's sign for what cannot be told.
        let unknown = || "--".to_owned();
        return Row::new([
            ("BlockIO", unknown()),
            ("CPUPerc", unknown()),
            ("Container", one.named.clone()),
            ("ID", id.to_owned()),
            ("MemPerc", unknown()),
            ("MemUsage", "-- / --".to_owned()),
            ("Name", unknown()),
            ("NetIO", unknown()),
            ("PIDs", unknown()),
        ]);
    };
    let cpu = one.last.as_ref().map_or(0.0, |last| sample.cpu_share(last));
    let (received, sent) = sample.traffic();
    let both =
        |first: u64, second: u64| format!("{} / {}", units::human_size(first), units::human_size(second));
    Row::new([
        (
            "BlockIO",
            both(sample.usage.read.unwrap_or(0), sample.usage.written.unwrap_or(0)),
        ),
        ("CPUPerc", format!("{cpu:.2}%")),
        ("Container", one.named.clone()),
        ("ID", id.to_owned()),
        ("MemPerc", format!("{:.2}%", sample.memory_share())),
        (
            "MemUsage",
            format!(
                "{} / {}",
                units::bytes_size(sample.memory()),
                units::bytes_size(sample.memory_limit)
            ),
        ),
        ("Name", sample.name.clone()),
        ("NetIO", both(received, sent)),
        ("PIDs", sample.usage.pids.to_string()),
    ])
}

/// Draws over what was drawn before; what the terminal has no lines for is left out.
fn screen(text: &str) -> String {
    let lines = terminal::size().map_or(usize::MAX, |(rows, _)| usize::from(rows));
    let mut drawn = String::from(HOME);
    for line in text.lines().take(lines.saturating_sub(1)) {
        drawn.push_str(line);
        drawn.push_str(CLEAR_LINE);
        drawn.push('\n');
    }
    drawn.push_str(CLEAR_BELOW);
    drawn
}
