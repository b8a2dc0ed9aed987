//! `load`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::{output, terminal};
use clap::Args;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<PathBuf>,
    /// Load only the given platform(s)
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    platform: Vec<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

impl Verb for Load {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let platforms = super::for_platform::parse(&self.platform)?;
        let mut archive = match &self.input {
            Some(path) => open(path)?,
            None if terminal::stdin_is_terminal() => {
                return Err(Failure::new("requested load from stdin, but stdin is empty"));
            }
            None => Box::new(std::io::stdin().lock()),
        };
        let loaded = cli.engine()?.images().load(archive.as_mut(), &platforms)?;
        let mut told = BTreeSet::new();
        for image in &loaded {
            if image.tags.is_empty() {
                output::line(&format!("Loaded image ID: {}", image.id))?;
            }
            for tag in &image.tags {
                // Images for several platforms may come under one name.
                if told.insert(tag) {
                    output::line(&format!("Loaded image: {}", tag.familiar()))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens an archive that the user named.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}
