//! `run`: create, start, talk.

use super::attach::{detach_keys, need_terminal};
use crate::args::container::{ContainerFlags, MountFlag};
use crate::attach::{Conversation, Ending, talk};
use crate::dispatch::Verb;
use crate::failure::{ENGINE, Failure};
use crate::front::Cli;
use crate::output::progress::{PullProgress, Target};
use crate::signals::{Signals, terminates};
use crate::{output, terminal};
use clap::{ArgMatches, Args};
use engine::containers::record::ContainerId;
use engine::containers::request::CreateContainer;
use engine::containers::start::StartRequest;
use std::path::Path;
use std::process::ExitCode;

/// `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process (default true)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::args::boolean::parse, value_name = "")]
    sig_proxy: Option<bool>,
    #[arg(skip)]
    order: Vec<MountFlag>,
}

impl Verb for Run {
    fn observe(&mut self, matches: &ArgMatches) {
        self.order = MountFlag::order(matches);
    }

    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.detach && !self.flags.attach.is_empty() {
            return Err(Failure::bare(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        if !self.detach && self.flags.interactive && self.flags.tty {
            need_terminal()?;
        }
        with_help(cli, "run", || self.go(cli, words))
    }
}

impl Run {
    fn go(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let detach_keys = detach_keys(cli, self.detach_keys.as_deref())?;
        let (cidfile, quiet) = (self.flags.cidfile.clone(), self.flags.quiet);
        let request = finish_prepare(cli, self.flags, words, self.detach, &self.order)?;
        let (attach, has_terminal, remove) = (request.attach, request.terminal, request.remove_when_done);
        let id = make(cli, request, cidfile.as_deref(), quiet)?;
        let containers = cli.engine()?.containers();
        // From here on the container is ours to clean up, so no signal ends us unseen.
        let mut signals = Signals::catch()?;
        let start = StartRequest {
            attach: !self.detach,
            size: if has_terminal { terminal::size() } else { None },
        };
        let session = match containers.start(&id, start) {
            Ok(session) => session,
            Err(error) => {
                if remove {
                    clear_away(cli, &id);
                }
                return Err(error.into());
            }
        };
        let Some(session) = session else {
            output::line(id.as_str())?;
            return Ok(ExitCode::SUCCESS);
        };
        let conversation = Conversation {
            stdin: attach.stdin,
            terminal: has_terminal,
            stdout: attach.stdout,
            stderr: attach.stderr,
            signals: self.sig_proxy.unwrap_or(true),
            detach_keys,
        };
        match talk(session, &mut signals, &conversation, &|what| {
            containers.tell(&id, what)
        })? {
            Ending::Detached => Ok(ExitCode::SUCCESS),
            Ending::Exited(record) => {
                output::end(&cli.program, &record);
                Ok(super::exit_code(record.code))
            }
            Ending::Interrupted(number) if terminates(number) => Ok(super::exit_code(128 + number)),
            Ending::Interrupted(_) => Ok(ExitCode::FAILURE),
            Ending::Lost => match containers.wait(&id) {
                Ok(record) => Ok(super::exit_code(record.code)),
                // With --rm the record went with the container, and its exit code with the record.
                Err(_) => Err(Failure::new(format!("lost the monitor of container {id}")).with_code(ENGINE)),
            },
        }
    }
}

/// Makes the request, and says what was ignored.
pub(super) fn finish_prepare(
    cli: &Cli,
    flags: ContainerFlags,
    words: Vec<String>,
    detached: bool,
    order: &[MountFlag],
) -> Result<CreateContainer, Failure> {
    if let Some(path) = &flags.cidfile
        && path.exists()
    {
        return Err(Failure::new(format!(
            "container ID file found, make sure the other container isn't running or delete {}",
            path.display()
        )));
    }
    let proxy = cli.client().proxy_variables();
    let proxy = proxy
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let prepared = flags.prepare(words, proxy, cli.host_ca, detached, order)?;
    for warning in &prepared.warnings {
        output::warning(warning);
    }
    Ok(prepared.request)
}

/// Makes the container, fetching its image first if need be, and writes the id where the user wants it.
pub(super) fn make(
    cli: &Cli,
    request: CreateContainer,
    cidfile: Option<&Path>,
    quiet: bool,
) -> Result<ContainerId, Failure> {
    let engine = cli.engine()?;
    let progress = PullProgress::new(if quiet { Target::Nowhere } else { Target::Stderr });
    let created = engine
        .containers()
        .create(request, &|event| progress.event(event))?;
    progress.finish();
    for warning in &created.warnings {
        output::warning(warning);
    }
    if let Some(path) = cidfile
        && let Err(error) = std::fs::write(path, created.id.as_str())
    {
        clear_away(cli, &created.id);
        return Err(Failure::file(
            "failed to create the container ID file: open",
            path,
            &error,
        ));
    }
    Ok(created.id)
}

/// Removes a container that never served. That this fails is said, but the first failure is what the user must hear.
fn clear_away(cli: &Cli, id: &ContainerId) {
    let removed = cli
        .engine()
        .and_then(|engine| engine.containers().remove(id, true, true).map_err(Failure::from));
    // The monitor of a `--rm` container may have been faster.
    if let Err(failure) = removed
        && !failure.message.starts_with("No such container")
    {
        output::warning(&format!("cannot remove container {id}: {}", failure.message));
    }
}

/// Gives failures of `run` and `create` their exit code and the pointer to the help.
pub(super) fn with_help(
    cli: &Cli,
    name: &str,
    act: impl FnOnce() -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    act().map_err(|failure| {
        if failure.message.is_empty() {
            return failure;
        }
        let code = if failure.code == 1 { ENGINE } else { failure.code };
        let program = &cli.program;
        failure
            .with_code(code)
            .with_trailer(format!("Run '{program} {name} --help' for more information"))
    })
}
