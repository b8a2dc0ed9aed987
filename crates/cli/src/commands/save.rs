//! `save`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `save`.
#[derive(Debug, Args)]
pub(super) struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    /// Save only the given platform(s)
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    platform: Vec<String>,
}

impl Verb for Save {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let images = cli.engine()?.images();
        let platforms = super::for_platform::parse(&self.platform)?;
        to_file(self.output.as_deref(), "save", |into| {
            Ok(images.save(&words, &platforms, into)?)
        })
    }
}

/// Writes an archive to a file, which appears only when it is whole, or to a standard output that is no terminal.
pub(super) fn to_file(
    path: Option<&Path>,
    verb: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let Some(path) = path else {
        if output::stdout_is_terminal() {
            return Err(Failure::new(format!(
                "cowardly refusing to {verb} to a terminal. Use the -o flag or redirect"
            )));
        }
        let mut out = BufWriter::new(output::raw_stdout());
        write(&mut out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    };
    let is_regular = std::fs::metadata(path).map_or(true, |found| found.is_file());
    if !is_regular {
        // A pipe or a device cannot be replaced by a file.
        let mut file = File::options()
            .write(true)
            .open(path)
            .map_err(|error| Failure::file("open", path, &error))?;
        write(&mut file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    // What is in it may be secret; Docker makes it so, too.
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(|error| Failure::file("open", path, &error))?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let written = write(&mut out)
        .and_then(|()| out.flush().map_err(|error| Failure::file("write", path, &error)))
        .and_then(|()| {
            std::fs::rename(&part, path).map_err(|error| Failure::file("rename to", path, &error))
        });
    if let Err(failure) = written {
        if let Err(error) = std::fs::remove_file(&part) {
            output::warning(&format!("cannot remove {}: {error}", part.display()));
        }
        return Err(failure);
    }
    Ok(ExitCode::SUCCESS)
}
