//! `build`.

use crate::args::build::BuildFlags;
use crate::dispatch::Verb;
use crate::failure::{Failure, INTERRUPTED};
use crate::front::Cli;
use crate::output::build::{BuildProgress, Style};
use crate::{output, signals};
use clap::Args;
use engine::EngineError;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// `build`.
#[derive(Debug, Args)]
pub(super) struct BuildCommand {
    #[command(flatten)]
    flags: BuildFlags,
}

impl Verb for BuildCommand {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let quiet = self.flags.quiet;
        let progress = self.flags.progress.clone();
        let iidfile = self.flags.iidfile.clone();
        let from_environment = std::env::var("BUILDKIT_PROGRESS").ok();
        let style = match progress.as_deref().or(from_environment.as_deref()) {
            _ if quiet => Style::Quiet,
            Some("quiet" | "none") => Style::Quiet,
            Some("plain") => Style::Plain,
            Some("tty") if !output::stderr_is_terminal() => {
                return Err(
                    Failure::new("failed to get console: standard error is not a terminal")
                        .with_hint("leave --progress=tty out"),
                );
            }
            Some("tty") => Style::Terminal,
            _ if output::stderr_is_terminal() => Style::Terminal,
            _ => Style::Plain,
        };
        let prepared = self.flags.prepare(&words[0], cli.client().proxy_variables())?;
        for warning in &prepared.warnings {
            output::warning(warning);
        }
        let engine = cli.engine()?;
        let cancelled = signals::cancellation()?;
        let build = prepared.build;
        let shown = BuildProgress::new(style);
        let result = shown.while_it_runs(|events| engine.builds().build(&build, events, &cancelled));
        shown.finish(result.is_ok());
        let digest = match result {
            Ok(digest) => digest,
            Err(_) if cancelled.load(Ordering::SeqCst) => {
                return Err(
                    Failure::bare("ERROR: failed to solve: canceled: the build was interrupted")
                        .with_code(INTERRUPTED),
                );
            }
            Err(error) => return Err(failed(&shown, &error, &build.dockerfile)),
        };
        if let Some(path) = &iidfile {
            std::fs::write(path, digest.to_string()).map_err(|error| Failure::file("write", path, &error))?;
        }
        if quiet || style == Style::Quiet {
            output::line(&digest.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn failed(
    shown: &BuildProgress,
    error: &EngineError,
    (name, text): &(std::path::PathBuf, String),
) -> Failure {
    let place = output::build::place(error);
    shown.explain(place.map(|lines| (name.as_path(), text.as_str(), lines)));
    let hint = match error {
        EngineError::Build(error) => error.hint(),
        error => error.hint().map(str::to_owned),
    };
    let failure = Failure::bare(format!(
        "ERROR: failed to solve: {}",
        crate::failure::chain(error)
    ));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
