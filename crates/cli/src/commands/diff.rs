//! `diff`.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use engine::containers::ChangeKind;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// `diff` has no flags.
#[derive(Debug, Args)]
pub(super) struct Diff {}

impl Verb for Diff {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let containers = cli.engine()?.containers();
        let changes = containers.diff(&containers.find(&words[0])?)?;
        let to_terminal = output::stdout_is_terminal();
        let mut out = BufWriter::new(output::raw_stdout());
        for change in &changes {
            let letter: &[u8] = match change.kind {
                ChangeKind::Added => b"A ",
                ChangeKind::Changed => b"C ",
                ChangeKind::Deleted => b"D ",
            };
            let path = change.path.as_os_str();
            out.write_all(letter)?;
            if to_terminal {
                // The container chose the name; nothing in it may act on the user's terminal.
                let shown = path.to_string_lossy().replace(char::is_control, "?");
                out.write_all(shown.as_bytes())?;
            } else {
                out.write_all(path.as_bytes())?;
            }
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
