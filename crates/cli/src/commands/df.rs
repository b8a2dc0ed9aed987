//! `system df`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::table::{self, Layout, Row};
use crate::output::units;
use clap::Args;
use std::process::ExitCode;

/// Flags of `system df`.
#[derive(Debug, Args)]
pub(super) struct DiskUsage {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.diskUsageContext",
    headers: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
    default: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

impl Verb for DiskUsage {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.verbose {
            output::warning("--verbose is not there yet: see 'images', 'ps -s' and 'volume ls'");
        }
        let usage = cli.engine()?.disk_usage()?;
        let rows: Vec<Row> = usage
            .iter()
            .map(|line| {
                Row::new([
                    ("Active", line.active.to_string()),
                    ("Reclaimable", reclaimable(line.reclaimable, line.size)),
                    ("Size", units::human_size(line.size)),
                    ("TotalCount", line.total.to_string()),
                    ("Type", line.kind.to_owned()),
                ])
            })
            .collect();
        table::print(&LAYOUT, &rows, self.format.as_deref(), false)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn reclaimable(bytes: u64, size: u64) -> String {
    match bytes.saturating_mul(100).checked_div(size) {
        Some(percent) => format!("{} ({percent}%)", units::human_size(bytes)),
        None => units::human_size(bytes),
    }
}
