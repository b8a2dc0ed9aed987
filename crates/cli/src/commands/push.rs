//! `push`.

use crate::args::container::platform;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::push_progress::PushProgress;
use clap::Args;
use oci::Reference;
use std::process::ExitCode;

/// Flags of `push`.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image signing (default true)
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Push the image for this platform alone, and not the index that it is in
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
}

impl Verb for Push {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let platform = platform(self.platform.as_deref())?;
        // All names are checked before anything is sent.
        let mut references = Vec::new();
        for word in &words {
            let reference: Reference = word.parse()?;
            let has_tag = word.rsplit('/').next().is_some_and(|end| end.contains(':'));
            if self.all_tags && (has_tag || reference.digest().is_some()) {
                return Err(Failure::new("tag can't be used with --all-tags/-a"));
            }
            if !self.all_tags && !has_tag && !self.quiet && reference.digest().is_none() {
                output::line("Using default tag: latest")?;
            }
            references.push(reference);
        }
        let images = cli.engine()?.images();
        for reference in &references {
            let progress = PushProgress::new(self.quiet);
            let show = |event| progress.event(event);
            let pushed = if self.all_tags {
                images
                    .push_all_tags(reference, platform.as_ref(), &show)
                    .map(drop)
            } else {
                images.push(reference, platform.as_ref(), &show).map(drop)
            };
            progress.finish();
            pushed?;
            if self.quiet {
                let name = super::pull::full_name(reference);
                let without_tag = || name.strip_suffix(":latest").unwrap_or(&name).to_owned();
                output::line(&if self.all_tags {
                    without_tag()
                } else {
                    name.clone()
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
