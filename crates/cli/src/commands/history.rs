//! `history`.

use super::ps::ellipsis;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{time, units};
use api::wire::HistoryEntry;
use clap::Args;
use std::process::ExitCode;

/// Flags of `history`.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format (default true)
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::args::boolean::parse, value_name = "")]
    human: Option<bool>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*history.historyContext",
    headers: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
    default: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

impl Verb for History {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        let platforms = super::for_platform::parse(self.platform.as_slice())?;
        let image = images.find_for(&words[0], platforms.first())?;
        let now = time::now();
        let human = self.human.unwrap_or(true);
        let rows: Vec<Row> = HistoryEntry::all(&image)
            .iter()
            .map(|entry| row(entry, now, human, !self.no_trunc))
            .collect();
        table::print(&LAYOUT, &rows, self.format.as_deref(), self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(entry: &HistoryEntry, now: i64, human: bool, truncate: bool) -> Row {
    let by = entry.created_by.replace('\t', " ");
    let id = match entry.id.strip_prefix("sha256:") {
        Some(hex) if truncate => hex.chars().take(12).collect(),
        _ => entry.id.clone(),
    };
    let at = entry.created.map(time::rfc3339_local).unwrap_or_default();
    // A step at the epoch had its time taken out.
    let since = match entry.created.filter(|moment| *moment > 0) {
        Some(moment) if human => time::ago(moment, now),
        Some(_) => at.clone(),
        None => "N/A".to_owned(),
    };
    Row::new([
        ("Comment", entry.comment.clone()),
        ("CreatedAt", at),
        ("CreatedBy", if truncate { ellipsis(&by, 45) } else { by }),
        ("CreatedSince", since),
        ("ID", id),
        (
            "Size",
            if human {
                units::human_size(entry.size)
            } else {
                entry.size.to_string()
            },
        ),
    ])
}
