//! `prune`, of everything or of one kind.

use crate::args::{filter, size};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::{self, units};
use clap::Args;
use engine::PruneRequest;
use engine::builds::CacheLimits;
use engine::images::{Keeping, Removed};
use std::process::ExitCode;

const QUESTION: &str = "Are you sure you want to continue? [y/N] ";

macro_rules! flags {
    ($name:ident, $command:literal, all: $all:literal) => {
        #[doc = concat!("Flags of `", $command, "`.")]
        #[derive(Debug, Args)]
        pub(crate) struct $name {
            #[arg(short, long, help = $all)]
            all: bool,
            /// Provide filter values (e.g. "until=<timestamp>")
            #[arg(long, value_parser = filter::parse, value_name = "filter")]
            filter: Vec<(String, String)>,
            /// Do not prompt for confirmation
            #[arg(short, long)]
            force: bool,
        }
    };
}

flags!(PruneVolumes, "volume prune", all: "Remove all unused volumes, not just anonymous ones");

/// Flags of `image prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneImages {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Remove unused images except the newest so many of each repository
    #[arg(long, value_name = "number")]
    keep: Option<usize>,
    /// Remove unused images, the longest unused first, until all images and the build cache take up no more than this
    #[arg(long, value_name = "bytes", value_parser = size::bytes)]
    max_size: Option<i64>,
    /// Remove unused images except those used within this time (e.g. "240h") or since this moment
    #[arg(long, value_name = "time")]
    until: Option<String>,
}

/// Flags of `builder prune`.
#[derive(Debug, Args)]
pub(super) struct PruneBuilder {
    /// Remove all unused build cache, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Amount of disk space to keep for cache
    #[arg(long, value_parser = size::bytes, value_name = "bytes")]
    keep_storage: Option<i64>,
    /// Amount of disk space always allowed to keep for cache
    #[arg(long, value_parser = size::bytes, value_name = "bytes")]
    reserved_space: Option<i64>,
    /// Maximum amount of disk space allowed to keep for cache
    #[arg(long, value_parser = size::bytes, value_name = "bytes")]
    max_used_space: Option<i64>,
    /// Target amount of free disk space after pruning
    #[arg(long, value_parser = size::bytes, value_name = "bytes")]
    min_free_space: Option<i64>,
    /// Override the configured builder instance
    #[arg(long, value_name = "string")]
    builder: Option<String>,
    /// Provide a more verbose output
    #[arg(long)]
    verbose: bool,
}

/// Flags of `container prune`.
#[derive(Debug, Args)]
pub(super) struct PruneContainers {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Flags of `system prune`.
#[derive(Debug, Args)]
pub(super) struct PruneSystem {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

const FILTERS: &[&str] = &["label", "label!", "until"];
const CACHE_FILTERS: &[&str] = &["label", "label!", "type", "until"];

/// Asks, unless `--force` was given. Who says no has nothing to be told; that is no failure.
fn agreed(force: bool, warning: &str) -> Result<bool, Failure> {
    Ok(force || output::confirm(&format!("WARNING! {warning}\n{QUESTION}"))?)
}

/// Adds the filters of the user's `config.json`, except those that the command line says the opposite of.
fn with_configured(cli: &Cli, given: Vec<(String, String)>) -> Result<Vec<(String, String)>, Failure> {
    let mut all = given;
    for text in &cli.client().prune_filters {
        let (key, value) = filter::parse(text)?;
        let opposite = match key.as_str() {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !all
            .iter()
            .any(|(there, known)| there == opposite && *known == value)
        {
            all.push((key, value));
        }
    }
    Ok(all)
}

/// Returns a size of which nothing is 0.
fn bytes(size: Option<i64>) -> u64 {
    size.unwrap_or_default().unsigned_abs()
}

fn section(title: &str, lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    output::line(&format!("{title}\n{}\n", lines.join("\n")))
}

fn reclaimed(bytes: u64) -> Result<ExitCode, Failure> {
    output::line(&format!("Total reclaimed space: {}", units::human_size(bytes)))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what `rmi` and `prune` did with an image.
pub(super) fn removed(removed: &Removed) -> String {
    match removed {
        Removed::Deleted(digest) => format!("Deleted: {digest}"),
        Removed::Untagged(reference) => format!("Untagged: {}", reference.familiar()),
    }
}

fn removed_lower(one: &Removed) -> String {
    let text = removed(one);
    // `prune` writes small what `rmi` writes large.
    text.replacen("Deleted", "deleted", 1)
        .replacen("Untagged", "untagged", 1)
}

impl Verb for PruneContainers {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, FILTERS)?;
        if !agreed(self.force, "This will remove all stopped containers.")? {
            return Ok(ExitCode::SUCCESS);
        }
        let filters = with_configured(cli, self.filter)?;
        let (ids, bytes) = cli.engine()?.containers().prune(&filters)?;
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        section("Deleted Containers:", &ids)?;
        reclaimed(bytes)
    }
}

impl Verb for PruneImages {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, &["dangling", "label", "label!", "until"])?;
        if self.keep.is_some() || self.max_size.is_some() || self.until.is_some() {
            return self.by_age(cli);
        }
        let warning = if self.all {
            "This will remove all images without at least one container associated to them."
        } else {
            "This will remove all dangling images."
        };
        if !agreed(self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        // `dangling=false` says the same as --all.
        let all = self.all
            || self
                .filter
                .iter()
                .any(|(key, value)| key == "dangling" && matches!(value.as_str(), "false" | "0"));
        let filters: Vec<(String, String)> = with_configured(cli, self.filter)?
            .into_iter()
            .filter(|(key, _)| key != "dangling")
            .collect();
        let (gone, bytes) = cli.engine()?.images().prune(all, &filters)?;
        deleted_images(&gone, bytes)
    }
}

impl PruneImages {
    /// What Docker has not: by how long nobody has used them, and how much room there is.
    fn by_age(self, cli: &Cli) -> Result<ExitCode, Failure> {
        if self.all || !self.filter.is_empty() {
            return Err(Failure::bare(
                "conflicting options: --keep, --max-size and --until choose among all unused images and cannot be combined \
                 with --all or --filter",
            ));
        }
        let keeping = Keeping {
            newest: self.keep,
            used_since: self.until.as_deref().map(engine::moment).transpose()?,
            room: self.max_size.map(i64::unsigned_abs),
        };
        let warning = "This will remove images without at least one container associated to them, \
                       except those that the options keep.";
        if !agreed(self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let (gone, bytes) = cli.engine()?.images().prune_except(keeping)?;
        deleted_images(&gone, bytes)
    }
}

fn deleted_images(gone: &[Removed], bytes: u64) -> Result<ExitCode, Failure> {
    let gone: Vec<String> = gone.iter().map(removed_lower).collect();
    section("Deleted Images:", &gone)?;
    reclaimed(bytes)
}

impl Verb for PruneVolumes {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, &["all", "label", "label!"])?;
        let asks_all =
            |(key, value): &(String, String)| key == "all" && matches!(value.as_str(), "true" | "1");
        let all = self.all || self.filter.iter().any(asks_all);
        let warning = if all {
            "This will remove all local volumes not used by at least one container."
        } else {
            "This will remove anonymous local volumes not used by at least one container."
        };
        if !agreed(self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let filters: Vec<(String, String)> = with_configured(cli, self.filter)?
            .into_iter()
            .filter(|(key, _)| key != "all")
            .collect();
        let volumes = cli.engine()?.volumes();
        let (names, bytes) = volumes.prune(all, &filters)?;
        section("Deleted Volumes:", &names)?;
        let spared: Vec<String> = volumes
            .list()?
            .into_iter()
            .filter(|volume| volume.versions > 0 && volume.containers == 0 && (all || volume.anonymous))
            .map(|volume| volume.name)
            .collect();
        if !spared.is_empty() {
            output::note(&format!(
                "kept, because they have versions ('volume rm --versions' removes both): {}",
                spared.join(", ")
            ));
        }
        reclaimed(bytes)
    }
}

impl Verb for PruneBuilder {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, CACHE_FILTERS)?;
        let limits = CacheLimits {
            // Two names of the same.
            reserved: bytes(self.reserved_space).max(bytes(self.keep_storage)),
            most: bytes(self.max_used_space),
            least_free: bytes(self.min_free_space),
        };
        // There is one builder, whatever it is called.
        let _: Option<String> = self.builder;
        let warning = if limits != CacheLimits::default() {
            "This will remove the least recently used build cache."
        } else if self.all {
            "This will remove all build cache."
        } else {
            "This will remove all dangling build cache."
        };
        if !agreed(self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let (steps, bytes) = cli.engine()?.builds().prune(self.all, &self.filter, limits)?;
        if self.verbose {
            section("Deleted build cache objects:", &steps)?;
        }
        output::line(&format!("Total:\t{}", units::human_size(bytes)))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for PruneSystem {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, FILTERS)?;
        // A volume does not say when it was last used.
        if self.volumes && self.filter.iter().any(|(key, _)| key == "until") {
            return Err(Failure::bare(
                "ERROR: The \"until\" filter is not supported with \"--volumes\"",
            ));
        }
        let filters = with_configured(cli, self.filter)?;
        let warning = warning(self.all, self.volumes, &filters);
        if !agreed(self.force, &warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let pruned = cli.engine()?.prune(&PruneRequest {
            all: self.all,
            volumes: self.volumes,
            filters,
        })?;
        section("Deleted Containers:", &pruned.containers)?;
        section("Deleted Networks:", &pruned.networks)?;
        section("Deleted Volumes:", &pruned.volumes)?;
        let images: Vec<String> = pruned.images.iter().map(removed_lower).collect();
        section("Deleted Images:", &images)?;
        section("Deleted build cache objects:", &pruned.build_cache)?;
        reclaimed(pruned.bytes)
    }
}

/// What `system prune` is about to do.
fn warning(all: bool, volumes: bool, filters: &[(String, String)]) -> String {
    let mut text =
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
            .to_owned();
    if volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(if all {
        "  - all images without at least one container associated to them\n  - all build cache\n"
    } else {
        "  - all dangling images\n  - unused build cache\n"
    });
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        let mut lines: Vec<String> = filters
            .iter()
            .map(|(key, value)| format!("  - {key}={value}\n"))
            .collect();
        lines.sort();
        text.push_str(&lines.concat());
    }
    text
}

/// Flags of `network prune`.
#[derive(Debug, Args)]
pub(super) struct PruneNetworks {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Verb for PruneNetworks {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(&self.filter, FILTERS)?;
        let warning = "This will remove all custom networks not used by at least one container.";
        if !agreed(self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let filters = with_configured(cli, self.filter)?;
        let names = cli.engine()?.networks().prune(&filters)?;
        section("Deleted Networks:", &names)?;
        Ok(ExitCode::SUCCESS)
    }
}
