//! `attach`.

use crate::args::Invalid;
use crate::attach::{Conversation, Ending, talk};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::signals::Signals;
use crate::{output, terminal};
use clap::Args;
use engine::containers::keys::DetachKeys;
use engine::containers::record::{Activity, Container};
use std::process::ExitCode;

/// Flags of `attach`.
#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::args::boolean::parse, value_name = "")]
    sig_proxy: Option<bool>,
}

impl Verb for Attach {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let detach_keys = detach_keys(cli, self.detach_keys.as_deref())?;
        let containers = cli.engine()?.containers();
        let id = containers.find(&words[0])?;
        let container = containers.inspect(&id, false)?;
        match container.activity {
            Activity::Running => {}
            Activity::Paused => {
                return Err(Failure::bare(
                    "You cannot attach to a paused container, unpause it first",
                ));
            }
            Activity::Restarting => {
                return Err(Failure::bare(
                    "You cannot attach to a restarting container, wait until it is running",
                ));
            }
            _ => {
                return Err(Failure::bare(
                    "You cannot attach to a stopped container, start it first",
                ));
            }
        }
        let stdin = !self.no_stdin && container.settings.request.open_stdin;
        if stdin && container.settings.request.terminal {
            need_terminal()?;
        }
        let mut signals = Signals::catch()?;
        let mut session = containers.attach(&id)?;
        if let (true, Some((rows, columns))) = (container.settings.request.terminal, terminal::size()) {
            session.resize(rows, columns)?;
        }
        let conversation = conversation(&container, stdin, self.sig_proxy.unwrap_or(true), detach_keys);
        let ending = talk(session, &mut signals, &conversation, &|what| {
            containers.tell(&id, what)
        })?;
        finish(cli, &container, ending)
    }
}

/// Reads the detach keys from the flag, or else from the user's configuration.
pub(super) fn detach_keys(cli: &Cli, flag: Option<&str>) -> Result<DetachKeys, Failure> {
    let text = match flag {
        Some(text) => Some(text),
        None => cli.client().detach_keys.as_deref(),
    };
    DetachKeys::parse(text.unwrap_or_default()).map_err(|bad| Invalid(bad.to_string()).into())
}

/// Refuses to put a container's terminal on something that is none.
pub(super) fn need_terminal() -> Result<(), Failure> {
    if terminal::stdin_is_terminal() {
        return Ok(());
    }
    Err(Failure::bare("the input device is not a TTY"))
}

/// How `attach` and `start -a` talk to a container.
pub(super) fn conversation(
    container: &Container,
    stdin: bool,
    signals: bool,
    detach_keys: DetachKeys,
) -> Conversation {
    Conversation {
        stdin,
        terminal: container.settings.request.terminal,
        stdout: true,
        stderr: true,
        signals,
        detach_keys,
    }
}

/// Turns the end of a conversation into an exit code. When the monitor said nothing, the container's record knows.
pub(super) fn finish(cli: &Cli, container: &Container, ending: Ending) -> Result<ExitCode, Failure> {
    match ending {
        Ending::Detached => Ok(ExitCode::SUCCESS),
        Ending::Exited(record) => {
            if let Some(error) = &record.error {
                output::note(error);
            }
            output::end(&cli.program, &record);
            Ok(super::exit_code(record.code))
        }
        Ending::Interrupted(number) => Ok(super::exit_code(128 + number)),
        Ending::Lost => {
            let record = cli.engine()?.containers().wait(&container.id)?;
            Ok(super::exit_code(record.code))
        }
    }
}
