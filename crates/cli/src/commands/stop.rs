//! `stop` and `restart`.

use crate::args::container::timeout;
use crate::args::integer;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use std::process::ExitCode;

/// Flags of `stop`.
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    how: How,
}

/// Flags of `restart`.
#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, alias = "time", value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
}

impl Verb for Stop {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let wait = self.how.timeout.map(timeout);
        super::each_container_at_once(cli, &words, |id| {
            containers.stop(id, self.how.signal.as_deref(), wait)
        })
    }
}

impl Verb for Restart {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let wait = self.how.timeout.map(timeout);
        super::each_container(cli, &words, |id| {
            containers.restart(id, self.how.signal.as_deref(), wait)
        })
    }
}
