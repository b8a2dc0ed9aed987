//! The flags of `exec`.

use super::{Invalid, environment};
use clap::Args;
use engine::containers::request::ExecRequest;
use std::path::PathBuf;

/// Flags of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecFlags {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_parser = environment::variable, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

impl ExecFlags {
    /// Makes the request for a command.
    pub(crate) fn prepare(
        self,
        command: Vec<String>,
        size: Option<(u16, u16)>,
    ) -> Result<ExecRequest, Invalid> {
        let mut variables = Vec::new();
        for file in &self.env_file {
            variables.extend(environment::file(file)?);
        }
        variables.extend(self.env);
        Ok(ExecRequest {
            command,
            // A name without a value is left to the container's own environment.
            environment: variables
                .into_iter()
                .filter(|variable| variable.contains('='))
                .collect(),
            working_directory: self.workdir.filter(|path| !path.is_empty()),
            user: self.user.filter(|user| !user.is_empty()),
            terminal: self.tty,
            open_stdin: self.interactive && !self.detach,
            privileged: self.privileged,
            size,
            detach: self.detach,
        })
    }
}
