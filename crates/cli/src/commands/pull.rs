//! `pull`.

use crate::args::container::platform;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use crate::output::progress::{PullProgress, Target};
use clap::Args;
use oci::{DEFAULT_REGISTRY, Reference};
use std::process::ExitCode;

/// Flags of `pull`.
#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image verification (default true)
    #[arg(long)]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
}

impl Verb for Pull {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let reference: Reference = words[0].parse()?;
        if self.all_tags {
            return Err(
                Failure::new("'pull --all-tags' is not there yet").with_hint("pull each tag by its name")
            );
        }
        let has_tag =
            reference.digest().is_some() || words[0].rsplit('/').next().is_some_and(|end| end.contains(':'));
        if !self.quiet && !has_tag {
            output::line("Using default tag: latest")?;
        }
        let platform = platform(self.platform.as_deref())?;
        let progress = PullProgress::new(if self.quiet {
            Target::Nowhere
        } else {
            Target::Stdout
        });
        let engine = cli.engine()?;
        let pulled = engine
            .images()
            .pull(&reference, platform.as_ref(), &|event| progress.event(event));
        progress.finish();
        pulled?;
        output::line(&full_name(&reference))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The reference with its registry, which Docker prints last: `docker.io/library/ubuntu:latest`.
pub(super) fn full_name(reference: &Reference) -> String {
    let familiar = reference.familiar();
    if reference.registry() == DEFAULT_REGISTRY {
        let suffix = familiar
            .strip_prefix(&reference.familiar_name())
            .unwrap_or_default();
        return format!("{}{suffix}", reference.name());
    }
    familiar
}
