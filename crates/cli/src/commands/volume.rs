//! `volume create`, `ls` and `rm`.

use crate::args::{filter, label};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::table::{self, Layout, Row};
use clap::Args;
use engine::volumes::Volume;
use engine::volumes::filter::Filter;
use std::process::ExitCode;

/// Flags of `volume create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Specify volume driver name (default "local")
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Set metadata for a volume
    #[arg(long, value_parser = label::parse, value_name = "list")]
    label: Vec<(String, String)>,
    /// Specify volume name
    #[arg(long, hide = true, value_name = "string")]
    name: Option<String>,
    /// Set driver specific options
    #[arg(short, long, value_parser = label::parse, value_name = "map")]
    opt: Vec<(String, String)>,
}

/// Flags of `volume ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

/// Flags of `volume rm`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    /// Remove their versions with them
    #[arg(long)]
    versions: bool,
}

impl Verb for Create {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.name.is_some() && !words.is_empty() {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        engine::volumes::check_driver(self.driver.as_deref())?;
        let name = words.into_iter().next().or(self.name);
        let labels = self.label.into_iter().collect();
        let options = self.opt.into_iter().collect();
        let volume = cli.engine()?.volumes().create(name.as_deref(), labels, options)?;
        output::line(&volume.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Remove {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let volumes = cli.engine()?.volumes();
        Ok(super::each(cli, &words, |name| {
            volumes.remove(name, self.force, self.versions)?;
            output::line(name)
        }))
    }
}

/// Columns.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.volumeContext",
    headers: HEADERS,
    default: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

impl Verb for List {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let filter = Filter::new(self.filter)?;
        let volumes = cli.engine()?.volumes().list()?;
        let rows: Vec<Row> = volumes
            .iter()
            .filter(|volume| filter.accepts(volume))
            .map(row)
            .collect();
        let format =
            self.format
                .as_deref()
                .or(cli.client().volumes_format.as_deref().filter(|_| !self.quiet));
        table::print(&LAYOUT, &rows, format, self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A row of the table.
pub(super) fn row(volume: &Volume) -> Row {
    Row::new([
        ("Availability", "N/A".to_owned()),
        ("Driver", "local".to_owned()),
        ("Group", "N/A".to_owned()),
        ("Links", "N/A".to_owned()),
        ("Mountpoint", volume.mountpoint.display().to_string()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
        ("Size", "N/A".to_owned()),
        ("Status", "N/A".to_owned()),
    ])
    .with_labels(&volume.labels)
}
