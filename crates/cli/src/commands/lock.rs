//! `lock update`: writes down what the images, URLs and repositories that a Dockerfile names are now.

use super::build_extras::lock_path;
use crate::args::build::{BuildFlags, Context};
use crate::dispatch::Verb;
use crate::failure::{Failure, INTERRUPTED};
use crate::front::Cli;
use crate::{output, signals};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

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
        let addresses = self.flags.addresses();
        let layouts = self.flags.layouts()?;
        // What is in them is not looked at, so that they need not be there.
        let elsewhere = addresses
            .iter()
            .map(|(name, address)| (name.clone(), PathBuf::from(address)))
            .collect();
        let addresses: Vec<String> = addresses.into_iter().map(|(_, address)| address).collect();
        let mut build = self
            .flags
            .prepare(
                Context::Directory(&words[0]),
                &elsewhere,
                cli.client().proxy_variables(),
            )?
            .build;
        for layout in layouts {
            // It is what it is made of.
            let context = layout.context(Vec::new())?;
            build.contexts.insert(layout.name, context);
        }
        let path = lock_path(self.lock_file.as_deref(), dockerfile.as_deref(), &build.context);
        let builds = cli.engine()?.builds();
        let cancelled = signals::cancellation()?;
        let mut lock = engine::builder::Lock::default();
        for platform in platforms {
            build.platform = platform;
            let locked = builds.lock(&build, &addresses, &cancelled, &mut |line| output::warning(line));
            lock.extend(match locked {
                Err(_) if cancelled.load(Ordering::SeqCst) => {
                    return Err(
                        Failure::bare("the lock file stays as it was: interrupted").with_code(INTERRUPTED)
                    );
                }
                locked => locked?,
            });
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
