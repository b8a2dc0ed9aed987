//! `buildx`: what scripts do to have a builder. There is one, in this program, always ready; so names are taken for
//! it, and it is neither made nor removed.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{self, time, units};
use clap::Args;
use engine::builds::CachedStep;
use std::process::ExitCode;

const NAME: &str = "default";

/// Flags of `buildx create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Builder instance name
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Set the current builder instance
    #[arg(long = "use")]
    is_used: bool,
    /// Boot builder after creation
    #[arg(long)]
    bootstrap: bool,
    /// Driver to use (available: "docker")
    #[arg(long, value_name = "string")]
    driver: Option<String>,
    /// Options for the driver
    #[arg(long, value_name = "stringArray")]
    driver_opt: Vec<String>,
    /// BuildKit config file
    #[arg(long, alias = "config", value_name = "string")]
    buildkitd_config: Option<String>,
    /// BuildKit daemon flags
    #[arg(long, value_name = "string")]
    buildkitd_flags: Option<String>,
    /// Fixed platforms for current node
    #[arg(long, value_name = "stringArray")]
    platform: Vec<String>,
    /// Create/modify node with given name
    #[arg(long, value_name = "string")]
    node: Option<String>,
    /// Append a node to builder instead of changing it
    #[arg(long)]
    append: bool,
    /// Remove a node from builder instead of changing it
    #[arg(long)]
    leave: bool,
}

/// Flags of `buildx inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Ensure builder has booted before inspecting
    #[arg(long)]
    bootstrap: bool,
    /// Override the configured builder instance
    #[arg(long, value_name = "string")]
    builder: Option<String>,
}

/// Flags of `buildx ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Format the output
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
}

/// Flags of `buildx rm`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Remove all inactive builders
    #[arg(long)]
    all_inactive: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Keep the BuildKit daemon running
    #[arg(long)]
    keep_daemon: bool,
    /// Keep BuildKit state
    #[arg(long)]
    keep_state: bool,
}

/// `buildx stop` has no flags.
#[derive(Debug, Args)]
pub(super) struct Stop {}

/// Flags of `buildx use`.
#[derive(Debug, Args)]
pub(super) struct Use {
    /// Set builder as default for current context
    #[arg(long)]
    default: bool,
    /// Builder persists context changes
    #[arg(long)]
    global: bool,
}

/// Flags of `buildx du`.
#[derive(Debug, Args)]
pub(super) struct DiskUsage {
    /// Override the configured builder instance
    #[arg(long, value_name = "string")]
    builder: Option<String>,
    /// Format the output
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Shows a more verbose output
    #[arg(long)]
    verbose: bool,
}

impl Verb for Create {
    fn run(self, _cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if let Some(driver) = self
            .driver
            .as_deref()
            .filter(|driver| !matches!(*driver, "docker" | "docker-container"))
        {
            return Err(
                Failure::new(format!("there is no build driver \"{driver}\" here"))
                    .with_hint("leave --driver out: builds run in this program"),
            );
        }
        let ignored = [
            ("--append", self.append),
            ("--buildkitd-config", self.buildkitd_config.is_some()),
            ("--buildkitd-flags", self.buildkitd_flags.is_some()),
            ("--driver-opt", !self.driver_opt.is_empty()),
            ("--leave", self.leave),
            ("--node", self.node.is_some()),
            ("--platform", !self.platform.is_empty()),
            ("the endpoint", !words.is_empty()),
        ];
        for (flag, _) in ignored.iter().filter(|(_, is_given)| *is_given) {
            output::warning(&format!(
                "{flag} has no effect: there is one builder, and it is no daemon"
            ));
        }
        // Using and booting it is what it always is.
        let _: (bool, bool) = (self.is_used, self.bootstrap);
        output::line(self.name.as_deref().unwrap_or(NAME))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Inspect {
    fn run(self, _cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let name = words
            .into_iter()
            .next()
            .or(self.builder)
            .unwrap_or_else(|| NAME.to_owned());
        let _: bool = self.bootstrap;
        output::text(&format!(
            "Name:          {name}\nDriver:        docker\n\nNodes:\nName:             {NAME}\nEndpoint:         {NAME}\nStatus:           running\nBuildKit version: none; coracle {}\nPlatforms:        {}\n",
            env!("CARGO_PKG_VERSION"),
            oci::Platform::host()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

const BUILDERS: Layout<'_> = Layout {
    kind: "*commands.lsContext",
    headers: &[
        ("Buildkit", "BUILDKIT"),
        ("DriverEndpoint", "DRIVER/ENDPOINT"),
        ("Name", "NAME/NODE"),
        ("Platforms", "PLATFORMS"),
        ("Status", "STATUS"),
    ],
    default: "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}",
    quiet: "{{.Name}}",
};

impl Verb for List {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let _: bool = self.no_trunc;
        let row = |name: &str, endpoint: &str, status: &str, version: String, platforms: String| {
            Row::new([
                ("Buildkit", version),
                ("DriverEndpoint", endpoint.to_owned()),
                ("Name", name.to_owned()),
                ("Platforms", platforms),
                ("Status", status.to_owned()),
            ])
        };
        let version = format!("coracle {}", env!("CARGO_PKG_VERSION"));
        let rows = [
            row("default*", "docker", "", String::new(), String::new()),
            row(
                " \\_ default",
                " \\_ default",
                "running",
                version,
                oci::Platform::host().to_string(),
            ),
        ];
        table::print(&BUILDERS, &rows, self.format.as_deref(), false)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Remove {
    fn run(self, _cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if words.iter().any(|name| name == NAME) {
            return Err(Failure::new("the builder \"default\" cannot be removed")
                .with_hint("'builder prune' empties its cache"));
        }
        let _: (bool, bool, bool, bool) = (self.all_inactive, self.force, self.keep_daemon, self.keep_state);
        for name in &words {
            output::line(&format!("{name} removed"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Stop {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb for Use {
    fn run(self, _cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        // Whatever it is called, it is in use.
        let _: (bool, bool) = (self.default, self.global);
        Ok(ExitCode::SUCCESS)
    }
}

/// `system df -v` shows the same.
pub(super) const CACHE: Layout<'_> = Layout {
    kind: "*formatter.buildCacheContext",
    headers: &[
        ("CacheType", "CACHE TYPE"),
        ("CreatedSince", "CREATED"),
        ("Description", "DESCRIPTION"),
        ("ID", "CACHE ID"),
        ("InUse", "IN USE"),
        ("LastUsedSince", "LAST USED"),
        ("Parent", "PARENT"),
        ("Shared", "SHARED"),
        ("Size", "SIZE"),
        ("UsageCount", "USAGE"),
    ],
    default: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    quiet: "{{.ID}}",
};

/// A row of the build cache.
pub(super) fn cache_row(step: &CachedStep, now: i64, truncate: bool) -> Row {
    let id = if truncate {
        step.key.chars().take(12).collect()
    } else {
        step.key.clone()
    };
    Row::new([
        ("CacheType", step.kind.to_owned()),
        ("CreatedSince", time::ago(step.created, now)),
        ("Description", step.summary.clone()),
        ("ID", id),
        ("InUse", step.in_use.to_string()),
        ("LastUsedSince", time::ago(step.last_used, now)),
        ("Parent", String::new()),
        ("Shared", step.shared.to_string()),
        ("Size", units::human_size(step.size)),
        ("UsageCount", "1".to_owned()),
    ])
}

impl Verb for DiskUsage {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let _: Option<String> = self.builder;
        let steps = cli.engine()?.builds().cache()?;
        let now = time::now();
        let rows: Vec<Row> = steps
            .iter()
            .map(|step| cache_row(step, now, !self.verbose))
            .collect();
        let layout = Layout {
            kind: CACHE.kind,
            headers: &[
                ("CreatedSince", "CREATED"),
                ("Description", "DESCRIPTION"),
                ("ID", "ID"),
                ("InUse", "IN USE"),
                ("LastUsedSince", "LAST ACCESSED"),
                ("Shared", "SHARED"),
                ("Size", "SIZE"),
            ],
            default: if self.verbose {
                "{{.ID}}\t{{.InUse}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Description}}"
            } else {
                "{{.ID}}\t{{.InUse}}\t{{.Size}}\t{{.LastUsedSince}}"
            },
            quiet: CACHE.quiet,
        };
        table::print(&layout, &rows, self.format.as_deref(), false)?;
        if self.format.is_none() {
            let sum = |wanted: &dyn Fn(&&CachedStep) -> bool| {
                units::human_size(steps.iter().filter(wanted).map(|step| step.size).sum())
            };
            output::text(&format!(
                "Shared:\t\t{}\nPrivate:\t{}\nReclaimable:\t{}\nTotal:\t\t{}\n",
                sum(&|step| step.shared),
                sum(&|step| !step.shared),
                sum(&|step| !step.shared),
                sum(&|_| true),
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
