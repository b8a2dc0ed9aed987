//! `kill`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
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
        let kill = |name: &str| containers.kill(&containers.find(name)?, signal);
        Ok(super::each_at_once(cli, &words, kill, |name, killed| {
            killed.map_err(|error| {
                let failure = Failure::from(error);
                Failure {
                    message: format!("cannot kill container: {name}: {}", failure.message),
                    ..failure
                }
            })?;
            output::line(name)
        }))
    }
}
