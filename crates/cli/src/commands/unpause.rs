//! `unpause`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use std::process::ExitCode;

/// `unpause` has no flags.
#[derive(Debug, Args)]
pub(super) struct Unpause {}

impl Verb for Unpause {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        super::each_container(cli, &words, |id| containers.unpause(id))
    }
}
