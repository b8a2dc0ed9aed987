//! The flags of `docker run` that are taken but do nothing here yet. What only tunes is ignored with a warning; what
//! would change what the container is or sees is refused, so that nobody believes in an isolation that is not there.

use clap::{Arg, ArgAction, ArgMatches, Command};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Warn, go on.
    Ignore,
    /// Refuse.
    Refuse,
    /// Refuse: it means something on Windows alone.
    Windows,
}

use Treatment::{Ignore, Refuse, Windows};

/// Name, kind of value as Docker's help has it (empty: none), help, treatment.
const FLAGS: &[(&str, &str, &str, Treatment)] = &[
    ("cpu-count", "int", "CPU count (Windows only)", Windows),
    ("cpu-percent", "int", "CPU percent (Windows only)", Windows),
    (
        "disable-content-trust",
        "",
        "Skip image verification (default true)",
        Ignore,
    ),
    (
        "io-maxbandwidth",
        "bytes",
        "Maximum IO bandwidth limit for the system drive (Windows only)",
        Windows,
    ),
    (
        "io-maxiops",
        "uint",
        "Maximum IOps limit for the system drive (Windows only)",
        Windows,
    ),
    ("kernel-memory", "bytes", "Kernel memory limit", Ignore),
    (
        "use-api-socket",
        "",
        "Bind mount Docker API socket and required auth",
        Refuse,
    ),
];

/// Which of these flags were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    given: Vec<usize>,
}

impl Others {
    /// Returns a warning for each ignored flag, or the refusal of the first that cannot be ignored.
    pub(crate) fn judge(&self) -> Result<Vec<String>, super::Invalid> {
        let mut warnings = Vec::new();
        for index in &self.given {
            let (name, _, _, treatment) = FLAGS[*index];
            match treatment {
                Refuse => {
                    return super::invalid(format!("'--{name}' is not there yet: leave it out"));
                }
                Windows => {
                    return super::invalid(format!("'--{name}' is for Windows containers: leave it out"));
                }
                Ignore => warnings.push(format!("--{name} is not there yet and was ignored")),
            }
        }
        Ok(warnings)
    }
}

impl clap::FromArgMatches for Others {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for (index, (name, kind, _, _)) in FLAGS.iter().enumerate() {
            if kind.is_empty() {
                if matches.get_flag(name) {
                    given.push(index);
                }
            } else if matches.contains_id(name) {
                given.push(index);
            }
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Others {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|(name, kind, help, _)| {
            let arg = Arg::new(*name).long(*name).help(*help);
            if kind.is_empty() {
                arg.action(ArgAction::SetTrue)
            } else {
                arg.action(ArgAction::Append).value_name(*kind)
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
