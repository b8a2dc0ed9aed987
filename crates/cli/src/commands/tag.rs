//! `tag`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use clap::Args;
use oci::Reference;
use std::process::ExitCode;

/// `tag` has no flags.
#[derive(Debug, Args)]
pub(super) struct Tag {}

impl Verb for Tag {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let target = words[1].parse::<Reference>().map_err(|error| {
            Failure::new(format!(
                "error parsing reference: {:?} is not a valid repository/tag: {error}",
                words[1]
            ))
        })?;
        if target.digest().is_some() {
            return Err(Failure::new("refusing to create a tag with a digest reference"));
        }
        cli.engine()?.images().tag(&words[0], &target)?;
        Ok(ExitCode::SUCCESS)
    }
}
