//! `rename`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use std::process::ExitCode;

/// `rename` has no flags.
#[derive(Debug, Args)]
pub(super) struct Rename {}

impl Verb for Rename {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        containers.rename(&containers.find(&words[0])?, &words[1])?;
        Ok(ExitCode::SUCCESS)
    }
}
