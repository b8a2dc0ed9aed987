//! The flags of `docker run` that are taken but do nothing here yet. What only tunes is ignored with a warning; what
//! would change what the container is or sees is refused, so that nobody believes in an isolation that is not there.

use clap::{Arg, ArgAction, ArgMatches, Command};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Warn, go on.
    Ignore,
    /// Refuse unless the value is one of these.
    Only(&'static [&'static str]),
}

use Treatment::{Ignore, Only};

/// Name, kind of value as Docker's help has it (empty: none), help, treatment.
const FLAGS: &[(&str, &str, &str, Treatment)] = &[
    (
        "annotation",
        "map",
        "Add an annotation to the container (passed through to the OCI runtime)",
        Ignore,
    ),
    (
        "blkio-weight-device",
        "list",
        "Block IO weight (relative device weight)",
        Ignore,
    ),
    (
        "cgroupns",
        "string",
        "Cgroup namespace to use (host|private)",
        Only(&["", "private"]),
    ),
    (
        "cpu-rt-period",
        "int",
        "Limit CPU real-time period in microseconds",
        Ignore,
    ),
    (
        "cpu-rt-runtime",
        "int",
        "Limit CPU real-time runtime in microseconds",
        Ignore,
    ),
    (
        "device-cgroup-rule",
        "list",
        "Add a rule to the cgroup allowed devices list",
        Only(&[]),
    ),
    (
        "device-read-bps",
        "list",
        "Limit read rate (bytes per second) from a device",
        Ignore,
    ),
    (
        "device-read-iops",
        "list",
        "Limit read rate (IO per second) from a device",
        Ignore,
    ),
    (
        "device-write-bps",
        "list",
        "Limit write rate (bytes per second) to a device",
        Ignore,
    ),
    (
        "device-write-iops",
        "list",
        "Limit write rate (IO per second) to a device",
        Ignore,
    ),
    (
        "disable-content-trust",
        "",
        "Skip image verification (default true)",
        Ignore,
    ),
    (
        "gpus",
        "gpu-request",
        "GPU devices to add to the container ('all' to pass all GPUs)",
        Only(&[]),
    ),
    ("ip", "string", "IPv4 address (e.g., 172.30.100.104)", Only(&[])),
    ("ip6", "string", "IPv6 address (e.g., 2001:db8::33)", Only(&[])),
    (
        "ipc",
        "string",
        "IPC mode to use",
        Only(&["", "private", "shareable"]),
    ),
    (
        "isolation",
        "string",
        "Container isolation technology",
        Only(&["", "default"]),
    ),
    ("kernel-memory", "bytes", "Kernel memory limit", Ignore),
    ("link", "list", "Add link to another container", Only(&[])),
    (
        "link-local-ip",
        "list",
        "Container IPv4/IPv6 link-local addresses",
        Only(&[]),
    ),
    (
        "mac-address",
        "string",
        "Container MAC address (e.g., 92:d0:c6:0a:29:33)",
        Only(&[]),
    ),
    (
        "memory-swappiness",
        "int",
        "Tune container memory swappiness (0 to 100) (default -1)",
        Ignore,
    ),
    (
        "network-alias",
        "list",
        "Add network-scoped alias for the container",
        Ignore,
    ),
    ("oom-kill-disable", "", "Disable OOM Killer", Ignore),
    ("pid", "string", "PID namespace to use", Only(&["", "private"])),
    ("runtime", "string", "Runtime to use for this container", Ignore),
    (
        "storage-opt",
        "list",
        "Storage driver options for the container",
        Ignore,
    ),
    (
        "use-api-socket",
        "",
        "Bind mount Docker API socket and required auth",
        Only(&[]),
    ),
    ("userns", "string", "User namespace to use", Only(&["", "host"])),
    ("uts", "string", "UTS namespace to use", Only(&["", "private"])),
    (
        "volume-driver",
        "string",
        "Optional volume driver for the container",
        Only(&["", "local"]),
    ),
    (
        "volumes-from",
        "list",
        "Mount volumes from the specified container(s)",
        Only(&[]),
    ),
];

/// Which of these flags were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    given: Vec<(usize, String)>,
}

impl Others {
    /// Returns a warning for each ignored flag, or the refusal of the first that cannot be ignored.
    pub(crate) fn judge(&self) -> Result<Vec<String>, super::Invalid> {
        let mut warnings = Vec::new();
        for (index, value) in &self.given {
            let (name, _, _, treatment) = FLAGS[*index];
            match treatment {
                Only(values) if values.contains(&value.as_str()) => {}
                Only(_) => {
                    return super::invalid(format!("'--{name}' is not there yet: leave it out"));
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
                    given.push((index, String::new()));
                }
            } else if let Some(values) = matches.get_many::<String>(name) {
                given.extend(values.map(|value| (index, value.clone())));
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
