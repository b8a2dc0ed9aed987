//! `ps`.

use crate::args::filter;
use crate::args::integer;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{fate, ports, time, units};
use api::wire::status_line;
use clap::Args;
use engine::containers::record::Container;
use engine::containers::request::{ListContainers, NetworkMode};
use std::process::ExitCode;

/// Flags of `ps`.
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(short = 'n', long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

/// Columns.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

impl Verb for Ps {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, engine::containers::list::FILTERS)?;
        let engine = cli.engine()?;
        let last = if self.latest {
            Some(1)
        } else {
            self.last.and_then(|last| usize::try_from(last).ok())
        };
        let format = self
            .format
            .as_deref()
            .or(cli.client().ps_format.as_deref().filter(|_| !self.quiet));
        let size = self.size || format.is_some_and(|format| format.contains(".Size"));
        let containers = engine.containers().list(&ListContainers {
            all: self.all,
            last: last.filter(|last| *last > 0),
            filters: self.filter,
            size,
        })?;
        let now = time::now();
        let rows: Vec<Row> = containers
            .iter()
            .map(|container| row(container, now, !self.no_trunc))
            .collect();
        let mut default =
            "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
                .to_owned();
        if self.size {
            default.push_str("\t{{.Size}}");
        }
        let layout = Layout {
            kind: "*formatter.ContainerContext",
            headers: HEADERS,
            default: &default,
            quiet: "{{.ID}}",
        };
        table::print(&layout, &rows, format, self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A row of the table.
pub(super) fn row(container: &Container, now: i64, truncate: bool) -> Row {
    let settings = &container.settings;
    let words: Vec<&str> = settings
        .entrypoint
        .iter()
        .chain(&settings.command)
        .map(String::as_str)
        .collect();
    let mut command = words.join(" ");
    let mut mounts: Vec<String> = settings
        .mounts
        .iter()
        .map(|mount| {
            mount
                .name
                .clone()
                .unwrap_or_else(|| mount.source.display().to_string())
        })
        .collect();
    let volumes = settings
        .mounts
        .iter()
        .filter(|mount| mount.name.is_some())
        .count();
    let mut image = settings.image_name.clone();
    if truncate {
        command = ellipsis(&command, 20);
        for mount in &mut mounts {
            *mount = ellipsis(mount, 15);
        }
        if let Some(hex) = image.strip_prefix("sha256:") {
            image = hex.chars().take(12).collect();
        }
    }
    let id = if truncate {
        container.id.short()
    } else {
        container.id.as_str()
    };
    let size = container.size_rw.map_or_else(
        || "0B".to_owned(),
        |rw| {
            let total = rw + container.size_root.unwrap_or(0);
            format!("{} (virtual {})", units::human_size(rw), units::human_size(total))
        },
    );
    Row::new([
        ("Command", quoted(&command)),
        ("CreatedAt", time::go_string(container.created)),
        ("ID", id.to_owned()),
        ("Image", image),
        ("LocalVolumes", volumes.to_string()),
        ("Mounts", mounts.join(",")),
        ("Names", container.name.clone()),
        ("Networks", networks(container)),
        ("Ports", ports::show(container)),
        ("RunningFor", time::ago(container.created, now)),
        ("Size", size),
        ("State", api::wire::status_text(container.activity).to_owned()),
        ("Status", status(container, now)),
    ])
    .with_labels(&settings.labels)
}

/// The networks that a container is on when it runs, in the order of their names.
fn networks(container: &Container) -> String {
    let attachments = container.settings.networks.iter();
    let mut names: Vec<&str> = attachments.map(|there| there.network.as_str()).collect();
    if names.is_empty() {
        names.extend(match &container.settings.request.network {
            NetworkMode::Bridge => Some("bridge"),
            NetworkMode::Host => Some("host"),
            NetworkMode::None => Some("none"),
            NetworkMode::Named(name) => Some(name.as_str()),
            NetworkMode::Container(_) => None,
        });
    }
    names.sort_unstable();
    names.join(",")
}

/// Shortens to so many characters, the last of them an ellipsis.
pub(super) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

/// Go's `strconv.Quote`: what a terminal could act on is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.extend([format!("\\x{:02x}", u32::from(c))]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn status(container: &Container, now: i64) -> String {
    let why = container.status.exit.as_ref().and_then(fate::short);
    status_line(container, now, why.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shortened_and_quoted() {
        assert_eq!(ellipsis("sleep 100", 20), "sleep 100");
        assert_eq!(
            ellipsis("docker-entrypoint.sh postgres", 20),
            "docker-entrypoint.s…"
        );
        assert_eq!(quoted("a \"b\"\x1b[1m"), r#""a \"b\"\x1b[1m""#);
    }
}
