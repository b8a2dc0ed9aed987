//! `kill`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use std::process::ExitCode;

/// Flags of `kill`.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
}

impl Verb for Kill {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let signal = self.signal.as_deref().unwrap_or("KILL");
        super::each_container(cli, &words, |id| containers.kill(id, signal))
    }
}
