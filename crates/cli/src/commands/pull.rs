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
    /// Download the images for all platforms, and what goes with them
    #[arg(long, conflicts_with_all = ["all_tags", "platform"])]
    all_platforms: bool,
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
        let has_tag =
            reference.digest().is_some() || words[0].rsplit('/').next().is_some_and(|end| end.contains(':'));
        if self.all_tags && has_tag {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if !self.quiet && !has_tag && !self.all_tags {
            output::line("Using default tag: latest")?;
        }
        let platform = platform(self.platform.as_deref())?;
        let progress = PullProgress::new(if self.quiet {
            Target::Nowhere
        } else {
            Target::Stdout
        });
        let images = cli.engine()?.images();
        let show = |event| progress.event(event);
        let pulled = if self.all_tags {
            images
                .pull_all_tags(&reference, platform.as_ref(), &show)
                .map(drop)
        } else if self.all_platforms {
            images.pull_all_platforms(&reference, &show).map(drop)
        } else {
            images.pull(&reference, platform.as_ref(), &show).map(drop)
        };
        progress.finish();
        pulled?;
        let name = full_name(&reference);
        let all = name.strip_suffix(":latest").filter(|_| self.all_tags);
        output::line(all.unwrap_or(&name))?;
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
