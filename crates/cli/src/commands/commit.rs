//! `commit`.

use crate::dispatch::Verb;
use crate::failure::{self, Failure};
use crate::front::Cli;
use crate::{output, signals};
use clap::Args;
use engine::containers::commit::CommitRequest;
use oci::Reference;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Flags of `commit`.
#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "string")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Disable pausing container during commit
    #[arg(long)]
    no_pause: bool,
    /// Pause container during commit
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::args::boolean::parse, value_name = "")]
    pause: Option<bool>,
}

impl Verb for Commit {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.no_pause && self.pause.is_some() {
            return Err(Failure::new(
                "conflicting options: --no-pause and --pause cannot be used together",
            ));
        }
        let reference = match words.get(1).map(String::as_str) {
            None | Some("") => None,
            Some(text) => Some(text.parse::<Reference>()?),
        };
        let source_date_epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) if !text.is_empty() => {
                let seconds = text.parse::<u32>();
                Some(
                    seconds
                        .map_err(|error| Failure::new(format!("SOURCE_DATE_EPOCH is '{text}': {error}")))?,
                )
            }
            _ => None,
        };
        let containers = cli.engine()?.containers();
        let id = containers.find(&words[0])?;
        let request = CommitRequest {
            reference,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            no_pause: self.no_pause || self.pause == Some(false),
            source_date_epoch: source_date_epoch.map(i64::from),
        };
        // Ctrl-C must not leave the container paused.
        let cancelled = signals::cancellation()?;
        let committed = containers.commit(&id, &request, &|| cancelled.load(Ordering::Relaxed));
        if committed.is_err() && cancelled.load(Ordering::Relaxed) {
            return Err(Failure::silent(failure::INTERRUPTED));
        }
        output::line(&committed?.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
