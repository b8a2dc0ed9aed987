//! The front door: global flags, then one command. Only the chosen command's flags are ever built, and the engine is
//! opened when a command asks for it, so that `version` and `--help` cost next to nothing.

use crate::client_config::ClientConfig;
use crate::failure::Failure;
use crate::{dispatch, help, output};
use engine::{Engine, HostCa, Locations};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Cli {
    /// The name that we were called by.
    pub program: String,
    /// `--debug`.
    pub debug: bool,
    /// `--host-ca`.
    pub host_ca: Option<bool>,
    locations: Locations,
    client_directory: Option<PathBuf>,
    engine: OnceLock<Engine>,
    client: OnceLock<ClientConfig>,
}

/// A failure, and the name to say it under.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The name that we were called by.
    pub program: String,
    /// What went wrong.
    pub failure: Failure,
}

impl Cli {
    /// Opens the engine, once.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new("running without root is not there yet")
                .with_hint(format!("run it as root: sudo {}", self.program)));
        }
        let mut engine = Engine::open(self.locations.clone())?;
        if let Some(directory) = &self.client_directory {
            engine.set_client_directory(directory);
        }
        if let Some(trusted) = self.host_ca {
            engine.set_host_ca(if trusted { HostCa::Auto } else { HostCa::Off });
        }
        Ok(self.engine.get_or_init(|| engine))
    }

    /// Returns where the engine keeps its things.
    pub(crate) fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Reads the user's `config.json`, once. One that cannot be read counts as empty, with a warning.
    pub(crate) fn client(&self) -> &ClientConfig {
        self.client.get_or_init(|| {
            ClientConfig::load(self.client_directory.as_deref()).unwrap_or_else(|why| {
                output::warning(&why);
                ClientConfig::default()
            })
        })
    }
}

/// Global flags: long name, short name, whether a value follows, help.
pub(crate) const GLOBAL_FLAGS: &[(&str, Option<char>, &str, &str)] = &[
    (
        "config",
        None,
        "string",
        "Location of client config files (default \"~/.docker\")",
    ),
    (
        "config-file",
        None,
        "string",
        "The engine's configuration file (default \"/etc/coracle/config.toml\")",
    ),
    (
        "context",
        Some('c'),
        "string",
        "Accepted for Docker's sake; there is one, \"default\"",
    ),
    ("debug", Some('D'), "", "Enable debug mode"),
    (
        "host",
        Some('H'),
        "list",
        "Accepted for Docker's sake; there is no daemon to connect to",
    ),
    (
        "host-ca",
        None,
        "string",
        "Trust the host's own extra CA certificates in containers (\"auto\", \"off\")",
    ),
    (
        "log-level",
        Some('l'),
        "string",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
    ),
    (
        "root",
        None,
        "string",
        "Where images, containers and volumes are kept (default \"/var/lib/coracle\", $CORACLE_ROOT)",
    ),
    (
        "run-root",
        None,
        "string",
        "Where the state of running containers is kept (default \"/run/coracle\", $CORACLE_RUN_ROOT)",
    ),
    ("tls", None, "", "Accepted for Docker's sake"),
    ("tlscacert", None, "string", "Accepted for Docker's sake"),
    ("tlscert", None, "string", "Accepted for Docker's sake"),
    ("tlskey", None, "string", "Accepted for Docker's sake"),
    ("tlsverify", None, "", "Accepted for Docker's sake"),
    ("version", Some('v'), "", "Print version information and quit"),
];

#[derive(Default)]
struct Globals {
    values: Vec<(&'static str, String)>,
    help: bool,
}

impl Globals {
    fn last(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().rev().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn is_set(&self, name: &str) -> bool {
        self.last(name).is_some_and(|value| value != "false")
    }
}

/// Reads argv and does what it says.
pub(crate) fn run() -> Result<ExitCode, Failed> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = Path::new(&name).file_name().map_or_else(
        || "coracle".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let result = arguments
        .map(|argument| {
            argument.into_string().map_err(|argument| {
                Failure::new(format!(
                    "the argument '{}' is not valid UTF-8",
                    argument.display()
                ))
            })
        })
        .collect::<Result<Vec<String>, Failure>>()
        .and_then(|arguments| start(&program, arguments));
    result.map_err(|failure| Failed { program, failure })
}

fn start(program: &str, mut arguments: Vec<String>) -> Result<ExitCode, Failure> {
    let (globals, used) = globals(program, &arguments)?;
    arguments.drain(..used);
    if globals.is_set("version") {
        output::line(&format!(
            "Coracle version {}, build {}",
            env!("CARGO_PKG_VERSION"),
            crate::commands::version::BUILD
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    if globals.help || arguments.is_empty() {
        output::text(&help::overview(program))?;
        return Ok(ExitCode::SUCCESS);
    }
    let cli = cli(program, &globals)?;
    dispatch::run(&cli, &arguments)
}

fn cli(program: &str, globals: &Globals) -> Result<Cli, Failure> {
    for flag in ["tls", "tlsverify"] {
        if globals.is_set(flag) {
            output::warning(&format!("--{flag} has no effect: there is no daemon to talk to"));
        }
    }
    endpoint(program, globals)?;
    let host_ca = match globals.last("host-ca") {
        None => None,
        Some("auto") => Some(true),
        Some("off") => Some(false),
        Some(other) => {
            return Err(Failure::bare(format!(
                "invalid argument {other:?} for \"--host-ca\" flag: must be \"auto\" or \"off\""
            ))
            .with_code(crate::failure::ENGINE));
        }
    };
    if let Some(level) = globals.last("log-level")
        && !matches!(
            level,
            "debug" | "info" | "warn" | "error" | "fatal" | "panic" | "trace"
        )
    {
        return Err(Failure::bare(format!("unable to parse logging level: {level}"))
            .with_code(crate::failure::ENGINE));
    }
    let path = |flag: &str, variable: &str, default: &dyn Fn() -> PathBuf| {
        globals
            .last(flag)
            .map(PathBuf::from)
            .or_else(|| {
                std::env::var_os(variable)
                    .filter(|value| !value.is_empty())
                    .map(PathBuf::from)
            })
            .unwrap_or_else(default)
    };
    let root = path("root", "CORACLE_ROOT", &default_root);
    let run_root = path("run-root", "CORACLE_RUN_ROOT", &default_run_root);
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|error| Failure::file("make absolute", &path, &error))
    };
    Ok(Cli {
        program: program.to_owned(),
        debug: globals.is_set("debug") || globals.last("log-level") == Some("debug"),
        host_ca,
        locations: Locations {
            root: absolute(root)?,
            run_root: absolute(run_root)?,
            config: globals.last("config-file").map(PathBuf::from),
        },
        client_directory: globals.last("config").map(PathBuf::from),
        engine: OnceLock::new(),
        client: OnceLock::new(),
    })
}

/// Judges who asks for another daemon. What Docker's variables say is meant for us only where we stand in for it.
fn endpoint(program: &str, globals: &Globals) -> Result<(), Failure> {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.is_empty() && program == "docker")
    };
    let host = globals.last("host").map(str::to_owned);
    if let Some(name) = globals.last("context").map(str::to_owned).or_else(|| {
        // As with Docker, a host that is named makes the context moot.
        let is_moot = host.is_some() || variable("DOCKER_HOST").is_some();
        variable("DOCKER_CONTEXT").filter(|_| !is_moot)
    }) && name != crate::commands::CONTEXT
    {
        return Err(Failure::new(format!("context \"{name}\" does not exist"))
            .with_hint("there is one context, \"default\": this program itself, on this host"));
    }
    let (from, host) = match (host, variable("DOCKER_HOST")) {
        (Some(host), _) => ("--host", host),
        (None, Some(host)) => ("DOCKER_HOST", host),
        (None, None) => return Ok(()),
    };
    if host.starts_with("unix://") {
        // Another daemon of this host: what it has is not what we have.
        output::warning(&format!(
            "{from}={host} is not used: containers run in this program, without a daemon"
        ));
        return Ok(());
    }
    let hint = if from == "DOCKER_HOST" {
        "unset DOCKER_HOST to work on this host"
    } else {
        "leave --host out to work on this host"
    };
    Err(Failure::new(format!(
        "cannot connect to {host}: there is no remote client yet, this program works on its own host"
    ))
    .with_hint(hint))
}

/// Where the engine keeps its things unless it is told otherwise.
pub(crate) fn default_locations() -> Locations {
    Locations {
        root: default_root(),
        run_root: default_run_root(),
        config: None,
    }
}

fn default_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/coracle".into();
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    data.or(home).unwrap_or_else(|| "/var/tmp".into()).join("coracle")
}

fn default_run_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/coracle".into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.unwrap_or_else(|| "/tmp".into()).join("coracle")
}

/// Reads the flags before the command, and says how many arguments they took.
fn globals(program: &str, arguments: &[String]) -> Result<(Globals, usize), Failure> {
    let mut globals = Globals::default();
    let mut used = 0;
    let wrong = |message: String| {
        Failure::bare(message)
            .with_code(crate::failure::ENGINE)
            .with_trailer(format!(
                "Usage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
            ))
    };
    while let Some(argument) = arguments
        .get(used)
        .filter(|argument| argument.starts_with('-') && argument.len() > 1)
    {
        used += 1;
        if argument == "--" {
            break;
        }
        if argument == "--help" || argument == "-h" {
            globals.help = true;
            continue;
        }
        let (name, mut attached, long) = match argument
            .strip_prefix("--")
            .map(|long| (long, long.split_once('=')))
        {
            Some((_, Some((name, value)))) => (name.to_owned(), Some(value.to_owned()), true),
            Some((name, None)) => (name.to_owned(), None, true),
            None => {
                let mut chars = argument[1..].chars();
                let name = chars.next().unwrap_or_default().to_string();
                let rest = chars.as_str();
                let value = rest.strip_prefix('=').unwrap_or(rest);
                (name, (!rest.is_empty()).then(|| value.to_owned()), false)
            }
        };
        let known = GLOBAL_FLAGS.iter().find(|(known, short, _, _)| {
            if long {
                *known == name
            } else {
                short.is_some_and(|short| name.starts_with(short))
            }
        });
        let Some((known, _, kind, _)) = known else {
            return Err(wrong(if long {
                format!("unknown flag: --{name}")
            } else {
                format!("unknown shorthand flag: '{name}' in {argument}")
            }));
        };
        if kind.is_empty() {
            let value = attached.take().filter(|_| long).unwrap_or_else(|| "true".into());
            let value = crate::args::boolean::parse(&value).map_err(|why| {
                wrong(format!(
                    "invalid argument {value:?} for \"--{known}\" flag: {why}"
                ))
            })?;
            globals.values.push((known, value.to_string()));
            continue;
        }
        let value = match attached {
            Some(value) => value,
            None => match arguments.get(used) {
                Some(value) => {
                    used += 1;
                    value.clone()
                }
                None if long => return Err(wrong(format!("flag needs an argument: --{name}"))),
                None => return Err(wrong(format!("flag needs an argument: '{name}' in -{name}"))),
            },
        };
        globals.values.push((known, value));
    }
    Ok((globals, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<(Globals, usize), Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        globals("coracle", &arguments)
    }

    #[test]
    fn flags_before_the_command_are_ours() {
        let (globals, used) = read(&["--root", "/a", "-D", "--run-root=/b", "-lwarn", "run", "-D"]).unwrap();
        assert_eq!(used, 5);
        assert_eq!(globals.last("root"), Some("/a"));
        assert_eq!(globals.last("run-root"), Some("/b"));
        assert_eq!(globals.last("log-level"), Some("warn"));
        assert!(globals.is_set("debug"));
    }

    #[test]
    fn another_daemon_is_refused_or_said_to_be_unused() {
        for (arguments, refused) in [
            (&["-H", "tcp://far:2375"][..], true),
            (&["-H", "ssh://me@far"], true),
            (&["-H", "unix:///var/run/docker.sock"], false),
            (&["--context", "far"], true),
            (&["-c", "default"], false),
        ] {
            let (globals, _) = read(arguments).unwrap();
            assert_eq!(endpoint("coracle", &globals).is_err(), refused, "{arguments:?}");
        }
    }

    #[test]
    fn unknown_ones_are_named() {
        for (arguments, message) in [
            (vec!["--foo"], "unknown flag: --foo"),
            (vec!["-z"], "unknown shorthand flag: 'z' in -z"),
            (vec!["--root"], "flag needs an argument: --root"),
            (vec!["-H"], "flag needs an argument: 'H' in -H"),
        ] {
            assert_eq!(read(&arguments).err().unwrap().message, message);
        }
    }
}
