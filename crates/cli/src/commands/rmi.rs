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
    /// Remove only the given platform variant
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    platform: Vec<String>,
}

impl Verb for Rmi {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        let platforms = super::for_platform::parse(&self.platform)?;
        Ok(super::each(cli, &words, |name| {
            let removed = if platforms.is_empty() {
                images.remove(name, self.force)?
            } else {
                images.remove_platforms(name, &platforms, self.force)?
            };
            for removed in removed {
                output::line(&super::prune::removed(&removed))?;
            }
            Ok(())
        }))
    }
}
