//! `rmi`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::process::ExitCode;

/// Flags of `rmi`.
#[derive(Debug, Args)]
pub(super) struct Rmi {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
}

impl Verb for Rmi {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        Ok(super::each(cli, &words, |name| {
            for removed in images.remove(name, self.force)? {
                output::line(&super::prune::removed(&removed))?;
            }
            Ok(())
        }))
    }
}
