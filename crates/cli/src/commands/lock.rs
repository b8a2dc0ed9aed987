//! `lock update`: writes down which images a Dockerfile's names mean now.

use super::build_extras::lock_path;
use crate::args::build::{BuildFlags, Context};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `lock update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    flags: BuildFlags,
    /// Name of the lock file (default: the Dockerfile's name with ".lock")
    #[arg(long, value_name = "string")]
    lock_file: Option<PathBuf>,
}

impl Verb for Update {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let dockerfile = self.flags.file.clone();
        let quiet = self.flags.quiet;
        let platforms = self.flags.platforms()?;
        let mut build = self
            .flags
            .prepare(
                Context::Directory(&words[0]),
                &BTreeMap::new(),
                cli.client().proxy_variables(),
            )?
            .build;
        let path = lock_path(self.lock_file.as_deref(), dockerfile.as_deref(), &build.context);
        let builds = cli.engine()?.builds();
        let mut lock = engine::builder::Lock::default();
        for platform in platforms {
            build.platform = platform;
            lock.extend(builds.lock(&build, &mut |line| output::warning(line))?);
        }
        let text = lock.text();
        let before = std::fs::read_to_string(&path).ok();
        if before.as_deref() != Some(&text) {
            std::fs::write(&path, &text).map_err(|error| Failure::file("write", &path, &error))?;
        }
        if !quiet {
            let verdict = if before.as_deref() == Some(&text) {
                "is as it was"
            } else {
                "written"
            };
            output::line(&format!("{} {verdict}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
