//! `rmi`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::process::ExitCode;

/// Flags of `rmi`.
#[derive(Debug, Args)]
pub struct Rmi {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    #[expect(dead_code, reason = "parents that nothing names are not images here, so there is none to delete")]
    no_prune: bool,
}

impl Verb for Rmi {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        super::each(cli, &words, |name| {
            for removed in images.remove(name, self.force)? {
                output::line(&super::prune::removed(&removed))?;
            }
            Ok(())
        })
    }
}
