//! `export`.

use super::save::to_file;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
}

impl Verb for Export {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let id = containers.find(&words[0])?;
        to_file(self.output.as_deref(), "export", |into| {
            Ok(containers.export(&id, into)?)
        })
    }
}
