//! `rm`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::Kind;
use std::process::ExitCode;

/// Flags of `rm`.
#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
}

impl Verb for Rm {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let remove = |name: &str| {
            if self.link {
                return containers.remove_link(name);
            }
            let id = containers.find(name)?;
            containers.remove(&id, self.force, self.volumes)
        };
        Ok(super::each_at_once(cli, &words, remove, |name, removed| {
            match removed {
                // With --force the wish is that it be gone; Docker says that it was and is content.
                Err(error) if self.force && error.kind() == Kind::NotFound => {
                    output::failure(&cli.program, &error.into());
                    Ok(())
                }
                Err(error) => Err(error.into()),
                Ok(()) => output::line(name),
            }
        }))
    }
}
