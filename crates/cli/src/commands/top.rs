//! `top`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::{self, table};
use clap::Args;
use std::process::ExitCode;

/// `top` has no flags of its own: what follows the container is for ps(1).
#[derive(Debug, Args)]
pub(super) struct Top {}

/// Docker's narrowest column here.
const NARROWEST: usize = 20;

impl Verb for Top {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| Failure::new("no container was named"))?;
        let top = containers.top(&containers.find(name)?, arguments)?;
        let mut lines = Vec::with_capacity(top.processes.len() + 1);
        // With titles taken away by `-o pid=` or --no-headers, ps has no such line.
        if top.titles.iter().any(|title| !title.is_empty()) {
            lines.push(top.titles.join("\t"));
        }
        lines.extend(top.processes.iter().map(|cells| cells.join("\t")));
        output::text(&table::columns_of_at_least(NARROWEST, &lines))?;
        Ok(ExitCode::SUCCESS)
    }
}
