//! `start`.

use super::attach::{conversation, detach_keys, finish, need_terminal};
use crate::attach::talk;
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::signals::Signals;
use crate::terminal;
use clap::Args;
use engine::containers::start::StartRequest;
use std::process::ExitCode;

/// Flags of `start`.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
}

impl Verb for Start {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if !self.attach && !self.interactive {
            let containers = cli.engine()?.containers();
            return super::each_container(cli, &words, |id| {
                containers.start(id, StartRequest::default()).map(drop)
            });
        }
        let [name] = words.as_slice() else {
            return Err(Failure::bare(
                "you cannot start and attach multiple containers at once",
            ));
        };
        let detach_keys = detach_keys(cli, self.detach_keys.as_deref())?;
        let containers = cli.engine()?.containers();
        let id = containers.find(name)?;
        let container = containers.inspect(&id, false)?;
        let settings = &container.settings.request;
        let stdin = self.interactive && settings.open_stdin;
        if stdin && settings.terminal {
            need_terminal()?;
        }
        let mut signals = Signals::catch()?;
        let request = StartRequest {
            attach: true,
            size: if settings.terminal { terminal::size() } else { None },
        };
        // A container that runs already is attached to.
        let session = match containers.start(&id, request)? {
            Some(session) => session,
            None => containers.attach(&id)?,
        };
        let ending = talk(
            session,
            &mut signals,
            &conversation(&container, stdin, true, detach_keys),
            &|what| containers.tell(&id, what),
        )?;
        finish(cli, &container, ending)
    }
}
