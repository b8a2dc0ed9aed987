//! `create`.

use super::run::{self, finish_prepare};
use crate::args::container::{ContainerFlags, MountFlag};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::{ArgMatches, Args};
use std::process::ExitCode;

/// `create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    flags: ContainerFlags,
    #[arg(skip)]
    order: Vec<MountFlag>,
}

impl Verb for Create {
    fn observe(&mut self, matches: &ArgMatches) {
        self.order = MountFlag::order(matches);
    }

    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let cidfile = self.flags.cidfile.clone();
        let quiet = self.flags.quiet;
        let mut request = None;
        run::with_help(cli, "create", || {
            request = Some(finish_prepare(cli, self.flags, words, false, &self.order)?);
            Ok(ExitCode::SUCCESS)
        })
        // Docker's create fails with 1 where its run fails with 125.
        .map_err(|failure| {
            if failure.code == crate::failure::ENGINE {
                failure.with_code(1)
            } else {
                failure
            }
        })?;
        if let Some(request) = request {
            let id = run::make(cli, request, cidfile.as_deref(), quiet)?;
            output::line(id.as_str())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
