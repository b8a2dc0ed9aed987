//! `network create`, `ls`, `rm`, `connect` and `disconnect`.

mod create;
mod list;
mod membership;

pub(super) use create::Create;
pub(super) use list::List;
pub(super) use membership::{Connect, Disconnect};

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::Kind;
use std::process::ExitCode;

/// Flags of `network rm`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
}

impl Verb for Remove {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let networks = cli.engine()?.networks();
        Ok(super::each(cli, &words, |name| match networks.remove(name) {
            Ok(()) => output::line(name),
            Err(error) if self.force && error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }))
    }
}
