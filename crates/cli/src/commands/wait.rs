//! `wait`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::process::ExitCode;

/// `wait` has no flags.
#[derive(Debug, Args)]
pub(super) struct Wait {}

impl Verb for Wait {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        Ok(super::each(cli, &words, |name| {
            let record = containers.wait(&containers.find(name)?)?;
            output::line(&record.code.to_string())
        }))
    }
}
