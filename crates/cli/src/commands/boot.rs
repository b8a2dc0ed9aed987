//! `system install`, `system start-all`, `system stop-all`: what stands around a reboot. There is no daemon that could.

use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The unit's name.
const UNIT: &str = "coracle.service";
/// Where administrators' units lie (systemd.unit(5)).
const UNITS: &str = "/etc/systemd/system";
/// It is there exactly while systemd is what the host was booted with (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// The first line of a unit that we wrote.
const MARK: &str = "# Written by 'coracle system install'; 'coracle system install --remove' takes it away.";

/// Flags of `system install`.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Print the unit and change nothing
    #[arg(long)]
    print: bool,
    /// Take the unit away; containers that run go on
    #[arg(long)]
    remove: bool,
}

/// `system start-all`.
#[derive(Debug, Args)]
pub(super) struct StartAll {}

/// `system stop-all`.
#[derive(Debug, Args)]
pub(super) struct StopAll {}

impl Verb for Install {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.print && self.remove {
            return Err(Failure::new("--print and --remove are not for the same time"));
        }
        let program = own_path()?;
        let command = command_line(cli, &program);
        if self.print {
            output::text(&unit(cli, &command))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new("writing a unit takes root")
                .with_hint(format!("run it as root: sudo {} system install", cli.program)));
        }
        let path = Path::new(UNITS).join(UNIT);
        if self.remove {
            return remove(&path);
        }
        if !Path::new(BOOTED).is_dir() {
            return Err(without_systemd(&command));
        }
        install(&path, &unit(cli, &command))
    }
}

impl Verb for StartAll {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        let mut code = ExitCode::SUCCESS;
        for revived in cli.engine()?.containers().start_all()? {
            match revived.result {
                Ok(()) => output::line(&revived.name)?,
                Err(error) => {
                    let failure = Failure::from(error);
                    let message = format!("cannot start container {}: {}", revived.name, failure.message);
                    output::failure(&cli.program, &Failure { message, ..failure });
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

impl Verb for StopAll {
    fn run(self, cli: &Cli, _words: Vec<String>) -> Result<ExitCode, Failure> {
        for name in cli.engine()?.containers().leave_all()? {
            output::line(&name)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns where this program is.
fn own_path() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program's own file: {error}")))
}

/// How the unit calls us: with this root, if it is not the usual one.
fn command_line(cli: &Cli, program: &Path) -> String {
    let locations = cli.locations();
    let usual = crate::front::default_locations();
    let mut words = vec![quoted(program)];
    for (flag, path, usual) in [
        ("--root", Some(&locations.root), Some(&usual.root)),
        ("--run-root", Some(&locations.run_root), Some(&usual.run_root)),
        ("--config-file", locations.config.as_ref(), usual.config.as_ref()),
    ] {
        if let Some(path) = path
            && Some(path) != usual
        {
            words.push(flag.to_owned());
            words.push(quoted(path));
        }
    }
    words.join(" ")
}

/// Writes a word as a unit's command line has it (systemd.service(5), "Command lines"; systemd.unit(5), specifiers).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '+' | ':');
    if text.chars().all(plain) {
        return text;
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c if c.is_control() => quoted.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn unit(cli: &Cli, command: &str) -> String {
    format!(
        "{MARK}
#
# No daemon stands behind this. At boot it starts every container whose restart policy wants it to run: 'always';
# 'unless-stopped', if it was not stopped by hand; 'on-failure', if it had failed or the host went down under it. At
# shutdown it ends what runs, each with its own stop signal and timeout, while there still is a network. In between
# nothing of it runs: each container's own monitor looks after it.

[Unit]
Description=Containers with a restart policy (Coracle)
Wants=network-online.target
After=network-online.target nss-lookup.target time-sync.target
RequiresMountsFor={root}

[Service]
Type=oneshot
# Active from boot to shutdown, so that it is stopped then.
RemainAfterExit=yes
ExecStart={command} system start-all
ExecStop={command} system stop-all
# The monitors of what it started are its processes. They end with their containers, not with it.
KillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=5min
# What is started here has no tighter limits than what is started from a shell.
LimitCORE=infinity
LimitNPROC=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
",
        root = quoted(&cli.locations().root),
    )
}

fn install(path: &Path, unit: &str) -> Result<ExitCode, Failure> {
    refuse_foreign(path)?;
    engine::write_atomically(path, unit.as_bytes(), 0o644)
        .map_err(|error| Failure::new(crate::failure::chain(&error)))?;
    let done = systemctl(&["daemon-reload"]).and_then(|()| systemctl(&["enable", "--now", UNIT]));
    if let Err(failure) = done {
        // Nothing half done: a unit that systemd would not take is no use.
        std::fs::remove_file(path).unwrap_or_default();
        return Err(failure);
    }
    output::line(&format!("Wrote {} and enabled it.", path.display()))?;
    output::line(
        "At boot, containers whose restart policy says so are started; at shutdown, all are stopped in order.",
    )?;
    output::line(&format!(
        "See 'systemctl status {UNIT}', and 'journalctl -u {UNIT}' for what could not be started."
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn remove(path: &Path) -> Result<ExitCode, Failure> {
    if !path.exists() {
        output::line(&format!("There is no {}.", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    refuse_foreign(path)?;
    let booted = Path::new(BOOTED).is_dir();
    systemctl(&["disable", UNIT])?;
    std::fs::remove_file(path).map_err(|error| Failure::file("cannot remove", path, &error))?;
    if booted {
        systemctl(&["daemon-reload"])?;
    }
    output::line(&format!("Removed {}. Containers that run go on.", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A unit of this name that somebody else wrote is left alone.
fn refuse_foreign(path: &Path) -> Result<(), Failure> {
    let there = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(|error| Failure::file("cannot read", path, &error))?,
    };
    if there.starts_with(MARK.as_bytes()) {
        return Ok(());
    }
    Err(
        Failure::new(format!("{} was not written by 'system install'", path.display()))
            .with_hint("move it away first, or add to it what 'system install --print' prints"),
    )
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("systemctl")
        .args(arguments)
        .output()
        .map_err(|error| Failure::new(format!("cannot run systemctl: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "'systemctl {}' failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

fn without_systemd(command: &str) -> Failure {
    Failure::new("this host was not booted with systemd, so there is nowhere to put a unit").with_hint(format!(
        "let what starts your host run this line as root: {command} system start-all\n      \
         as a line of /etc/rc.local, say, or as the line '@reboot root {command} system start-all' in /etc/cron.d/coracle;\n      \
         and before it shuts down: {command} system stop-all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_units() {
        for (path, expected) in [
            ("/usr/bin/coracle", "/usr/bin/coracle"),
            ("/opt/my tools/coracle", "\"/opt/my tools/coracle\""),
            ("/a\"b\\c", r#""/a\"b\\c""#),
            ("/100%$x", "\"/100%%$$x\""),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }
}
