//! `search`.

use super::ps::ellipsis;
use crate::args::{Invalid, boolean, filter, integer, invalid};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use clap::Args;
use engine::images::Found;
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

/// What a repository must be.
struct Wanted {
    stars: u64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl Wanted {
    fn of(filters: &[(String, String)]) -> Result<Self, Invalid> {
        filter::check(filters, &["is-automated", "is-official", "stars"])?;
        let mut wanted = Self {
            stars: 0,
            official: None,
            automated: None,
        };
        for (key, value) in filters {
            let wrong = || Invalid(format!("invalid filter '{key}={value}'"));
            match key.as_str() {
                // All of several must hold.
                "stars" => wanted.stars = wanted.stars.max(value.parse().map_err(|_not_a_number| wrong())?),
                "is-official" => wanted.official = Some(boolean::parse(value).map_err(|_not_one| wrong())?),
                "is-automated" => wanted.automated = Some(boolean::parse(value).map_err(|_not_one| wrong())?),
                _ => return invalid(format!("invalid filter '{key}'")),
            }
        }
        Ok(wanted)
    }

    fn accepts(&self, found: &Found) -> bool {
        found.stars >= self.stars
            && self.official.is_none_or(|wanted| found.official == wanted)
            && self.automated.is_none_or(|wanted| found.automated == wanted)
    }
}

impl Verb for Search {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let wanted = Wanted::of(&self.filter)?;
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
