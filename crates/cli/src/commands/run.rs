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

#[cfg(test)]
mod tests {
    use crate::dispatch;

    /// Every flag of Docker's `run` but `--help`: name, letter, whether it takes a value.
    const REFERENCE: &[(&str, Option<char>, bool)] = &[
        ("add-host", None, true),
        ("annotation", None, true),
        ("attach", Some('a'), true),
        ("blkio-weight", None, true),
        ("blkio-weight-device", None, true),
        ("cap-add", None, true),
        ("cap-drop", None, true),
        ("cgroup-parent", None, true),
        ("cgroupns", None, true),
        ("cidfile", None, true),
        ("cpu-count", None, true),
        ("cpu-percent", None, true),
        ("cpu-period", None, true),
        ("cpu-quota", None, true),
        ("cpu-rt-period", None, true),
        ("cpu-rt-runtime", None, true),
        ("cpu-shares", Some('c'), true),
        ("cpus", None, true),
        ("cpuset-cpus", None, true),
        ("cpuset-mems", None, true),
        ("detach", Some('d'), false),
        ("detach-keys", None, true),
        ("device", None, true),
        ("device-cgroup-rule", None, true),
        ("device-read-bps", None, true),
        ("device-read-iops", None, true),
        ("device-write-bps", None, true),
        ("device-write-iops", None, true),
        ("dns", None, true),
        ("dns-option", None, true),
        ("dns-search", None, true),
        ("domainname", None, true),
        ("entrypoint", None, true),
        ("env", Some('e'), true),
        ("env-file", None, true),
        ("expose", None, true),
        ("gpus", None, true),
        ("group-add", None, true),
        ("health-cmd", None, true),
        ("health-interval", None, true),
        ("health-retries", None, true),
        ("health-start-interval", None, true),
        ("health-start-period", None, true),
        ("health-timeout", None, true),
        ("hostname", Some('h'), true),
        ("init", None, false),
        ("interactive", Some('i'), false),
        ("io-maxbandwidth", None, true),
        ("io-maxiops", None, true),
        ("ip", None, true),
        ("ip6", None, true),
        ("ipc", None, true),
        ("isolation", None, true),
        ("label", Some('l'), true),
        ("label-file", None, true),
        ("link", None, true),
        ("link-local-ip", None, true),
        ("log-driver", None, true),
        ("log-opt", None, true),
        ("mac-address", None, true),
        ("memory", Some('m'), true),
        ("memory-reservation", None, true),
        ("memory-swap", None, true),
        ("memory-swappiness", None, true),
        ("mount", None, true),
        ("name", None, true),
        ("network", None, true),
        ("network-alias", None, true),
        ("no-healthcheck", None, false),
        ("oom-kill-disable", None, false),
        ("oom-score-adj", None, true),
        ("pid", None, true),
        ("pids-limit", None, true),
        ("platform", None, true),
        ("privileged", None, false),
        ("publish", Some('p'), true),
        ("publish-all", Some('P'), false),
        ("pull", None, true),
        ("quiet", Some('q'), false),
        ("read-only", None, false),
        ("restart", None, true),
        ("rm", None, false),
        ("runtime", None, true),
        ("security-opt", None, true),
        ("shm-size", None, true),
        ("sig-proxy", None, false),
        ("stop-signal", None, true),
        ("stop-timeout", None, true),
        ("storage-opt", None, true),
        ("sysctl", None, true),
        ("tmpfs", None, true),
        ("tty", Some('t'), false),
        ("ulimit", None, true),
        ("use-api-socket", None, false),
        ("user", Some('u'), true),
        ("userns", None, true),
        ("uts", None, true),
        ("volume", Some('v'), true),
        ("volume-driver", None, true),
        ("volumes-from", None, true),
        ("workdir", Some('w'), true),
    ];
    /// Spellings that Docker takes and does not tell of.
    const HIDDEN: &[&str] = &[
        "disable-content-trust",
        "dns-opt",
        "kernel-memory",
        "net",
        "net-alias",
    ];
    /// What `run` has and `create` has not.
    const RUN_ALONE: &[&str] = &["detach", "detach-keys", "sig-proxy"];

    fn command(name: &str) -> clap::Command {
        let (entry, _) = dispatch::find(&[name.to_owned()]).unwrap();
        dispatch::command(entry)
    }

    fn find<'c>(command: &'c clap::Command, name: &str) -> Option<&'c clap::Arg> {
        command.get_arguments().find(|arg| {
            arg.get_long() == Some(name)
                || arg
                    .get_all_aliases()
                    .is_some_and(|aliases| aliases.contains(&name))
        })
    }

    #[test]
    fn every_flag_of_the_reference_is_known() {
        for verb in ["run", "create"] {
            let command = command(verb);
            for (name, letter, takes_value) in REFERENCE {
                if verb == "create" && RUN_ALONE.contains(name) {
                    continue;
                }
                let arg = find(&command, name).unwrap_or_else(|| panic!("{verb} does not know --{name}"));
                assert_eq!(arg.get_short(), *letter, "--{name}");
                let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
                assert_eq!(!optional, *takes_value, "--{name} and its value");
            }
            for name in HIDDEN {
                assert!(find(&command, name).is_some(), "{verb} does not know --{name}");
            }
        }
    }
}
