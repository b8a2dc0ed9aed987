//! `search`.

use super::ps::ellipsis;
use crate::args::{filter, integer};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use clap::Args;
use engine::images::{Found, SearchFilter};
use std::process::ExitCode;

/// Flags of `search`.
#[derive(Debug, Args)]
pub(super) struct Search {
    /// Filter output based on conditions provided
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_parser = integer::unsigned::<usize>, default_value = "0", hide_default_value = true, value_name = "int")]
    limit: usize,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
}

const LAYOUT: Layout<'_> = Layout {
    kind: "*formatter.searchContext",
    headers: &[
        ("Description", "DESCRIPTION"),
        ("IsAutomated", "AUTOMATED"),
        ("IsOfficial", "OFFICIAL"),
        ("Name", "NAME"),
        ("StarCount", "STARS"),
    ],
    default: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
};
/// Longer descriptions are cut, as Docker cuts them.
const LONGEST: usize = 45;

impl Verb for Search {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let wanted = SearchFilter::new(&self.filter)?;
        let found = cli.engine()?.images().search(&words[0], self.limit)?;
        let json = self.format.as_deref() == Some("json");
        let rows: Vec<Row> = found
            .iter()
            .filter(|found| wanted.accepts(found))
            .map(|found| row(found, json, !self.no_trunc))
            .collect();
        table::print(&LAYOUT, &rows, self.format.as_deref(), false)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(found: &Found, json: bool, truncate: bool) -> Row {
    let mark = |is: bool| {
        match (json, is) {
            (true, _) => {
                if is {
                    "true"
                } else {
                    "false"
                }
            }
            (false, true) => "[OK]",
            (false, false) => "",
        }
        .to_owned()
    };
    let description = if truncate {
        ellipsis(&found.description, LONGEST)
    } else {
        found.description.clone()
    };
    Row::new([
        ("Description", description),
        ("IsAutomated", mark(found.automated)),
        ("IsOfficial", mark(found.official)),
        ("Name", found.name.clone()),
        ("StarCount", found.stars.to_string()),
    ])
}
