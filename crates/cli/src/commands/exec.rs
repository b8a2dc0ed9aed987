//! `exec`.

use super::attach::{detach_keys, need_terminal};
use crate::args::exec::ExecFlags;
use crate::attach::{Conversation, Ending, talk};
use crate::dispatch::Verb;
use crate::failure::{ENGINE, Failure};
use crate::front::Cli;
use crate::signals::Signals;
use crate::terminal;
use clap::Args;
use std::process::ExitCode;

/// `exec`.
#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    flags: ExecFlags,
}

impl Verb for Exec {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let (name, command) = (words[0].clone(), words[1..].to_vec());
        let (is_terminal, interactive, detach) = (self.flags.tty, self.flags.interactive, self.flags.detach);
        if is_terminal && interactive && !detach {
            need_terminal()?;
        }
        let detach_keys = detach_keys(cli, self.flags.detach_keys.as_deref())?;
        let size = if is_terminal { terminal::size() } else { None };
        let request = self.flags.prepare(command, size)?;
        let containers = cli.engine()?.containers();
        let id = containers.find(&name)?;
        let mut signals = Signals::catch()?;
        let Some(session) = containers.exec(&id, &request)? else {
            return Ok(ExitCode::SUCCESS);
        };
        let conversation = Conversation {
            stdin: interactive,
            terminal: is_terminal,
            stdout: true,
            stderr: true,
            // A signal that ends us ends the conversation, and the monitor ends the process; Docker passes none on.
            signals: false,
            detach_keys,
        };
        match talk(session, &mut signals, &conversation, &|what| {
            containers.tell(&id, what)
        })? {
            Ending::Detached => Ok(ExitCode::SUCCESS),
            Ending::Exited(record) => Ok(super::exit_code(record.code)),
            Ending::Interrupted(number) => Ok(super::exit_code(128 + number)),
            Ending::Lost => {
                Err(Failure::new(format!("lost the process in container {name}")).with_code(ENGINE))
            }
        }
    }
}
