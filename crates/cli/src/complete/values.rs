//! What may be written behind a flag, and the names of what there is.

use super::{Candidate, FILES};
use crate::dispatch::{Entry, Names};
use crate::failure::Failure;
use crate::front::Cli;
use clap::Arg;
use engine::containers::record::Activity;
use engine::containers::request::ListContainers;

/// Flags with few values.
const FIXED: &[(&str, &[&str])] = &[
    ("attach", &["stderr", "stdin", "stdout"]),
    ("cgroupns", &["host", "private"]),
    ("driver", &["bridge", "docker", "local"]),
    ("format", &["json", "table", "{{json .}}"]),
    ("health-on-failure", &["kill", "none", "restart", "stop"]),
    ("isolation", &["default"]),
    ("log-driver", &["json-file", "journald", "local", "none"]),
    ("log-opt", &["compress=", "max-file=", "max-size=", "mode="]),
    ("mount", &["type=bind,", "type=tmpfs,", "type=volume,"]),
    (
        "platform",
        &[
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
        ],
    ),
    ("progress", &["auto", "plain", "quiet", "tty"]),
    ("pull", &["always", "missing", "never"]),
    (
        "restart",
        &["always", "no", "on-failure", "on-failure:", "unless-stopped"],
    ),
    ("runtime", &["coracle"]),
    (
        "security-opt",
        &[
            "apparmor=",
            "label=",
            "no-new-privileges",
            "seccomp=",
            "seccomp=unconfined",
            "systempaths=unconfined",
        ],
    ),
    ("type", &["container", "image", "network", "volume"]),
    (
        "ulimit",
        &[
            "as=",
            "core=",
            "cpu=",
            "data=",
            "fsize=",
            "locks=",
            "memlock=",
            "msgqueue=",
            "nice=",
            "nofile=",
            "nproc=",
            "rss=",
            "rtprio=",
            "rttime=",
            "sigpending=",
            "stack=",
        ],
    ),
    ("userns", &["host"]),
    ("uts", &["host"]),
];

/// Flags whose values are files or directories.
const FILE_FLAGS: &[&str] = &[
    "buildkitd-config",
    "cidfile",
    "device",
    "env-file",
    "file",
    "iidfile",
    "input",
    "label-file",
    "metadata-file",
    "output",
];

/// Options of the drivers of networks.
const NETWORK_OPTIONS: &[&str] = &[
    "com.docker.network.bridge.enable_icc=",
    "com.docker.network.bridge.enable_ip_masquerade=",
    "com.docker.network.bridge.host_binding_ipv4=",
    "com.docker.network.bridge.name=",
    "com.docker.network.driver.mtu=",
    "ipvlan_flag=",
    "ipvlan_mode=",
    "macvlan_mode=",
    "parent=",
];

const SIGNALS: &[&str] = &[
    "SIGABRT", "SIGALRM", "SIGCONT", "SIGHUP", "SIGINT", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP",
    "SIGTERM", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Filters of each command that has them.
fn filters(command: &str) -> &'static [&'static str] {
    match command {
        "container ls" => engine::containers::list::FILTERS,
        "image ls" => &["before", "dangling", "label", "reference", "since", "until"],
        "image prune" => &["dangling", "label", "label!", "until"],
        "network ls" => &["dangling", "driver", "id", "label", "name", "scope", "type"],
        "system events" => engine::events::FILTERS,
        "volume ls" => &["dangling", "driver", "label", "name"],
        "volume prune" => &["all", "label", "label!"],
        _ => &["label", "label!", "until"],
    }
}

fn plain(words: &[&str]) -> Vec<Candidate> {
    words
        .iter()
        .map(|word| ((*word).to_owned(), String::new()))
        .collect()
}

fn files() -> Vec<Candidate> {
    plain(&[FILES])
}

fn prefixed(prefix: &str, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let with = |(word, about): Candidate| (format!("{prefix}{word}"), about);
    candidates.into_iter().map(with).collect()
}

/// What may follow a flag before the command.
pub(super) fn of_global_flag(name: &str) -> Vec<Candidate> {
    match name {
        "context" => plain(&[crate::commands::CONTEXT]),
        "host-ca" => plain(&["auto", "off"]),
        "log-level" => plain(&["debug", "error", "fatal", "info", "warn"]),
        "host" => Vec::new(),
        _ => files(),
    }
}

/// What may follow a command's flag of which `partial` is written.
pub(super) fn of_flag(cli: &Cli, entry: &Entry, arg: &Arg, partial: &str) -> Vec<Candidate> {
    let name = arg.get_long().unwrap_or_default();
    if let Some(found) = of_network_flag(cli, entry, name) {
        return found;
    }
    if let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == name) {
        return plain(fixed);
    }
    match name {
        "cap-add" | "cap-drop" => plain(CAPABILITIES),
        "env" => std::env::vars_os()
            .filter_map(|(name, _)| Some((name.into_string().ok()?, String::new())))
            .collect(),
        "filter" => of_filter(cli, entry, partial),
        "gpus" => plain(&["all", "count=", "device="]),
        "ipc" => shared_namespace(cli, &["host", "none", "private", "shareable"]),
        "network" | "net" if entry.name.starts_with("container ") => {
            let mut found = names(cli, Names::Networks);
            found.extend(prefixed("container:", names(cli, Names::Running)));
            found
        }
        "network" | "net" => plain(&["default", "host", "none"]),
        "pid" => shared_namespace(cli, &["host"]),
        "signal" | "stop-signal" => plain(SIGNALS),
        "volume" => {
            let volumes = names(cli, Names::Volumes).into_iter();
            let mut found: Vec<Candidate> =
                volumes.map(|(name, about)| (format!("{name}:"), about)).collect();
            found.extend(files());
            found
        }
        "volumes-from" => names(cli, Names::Containers),
        "tag" => names(cli, Names::Images),
        _ if FILE_FLAGS.contains(&name) => files(),
        _ => Vec::new(),
    }
}

/// Flags about networks, some of which mean something else with other commands.
fn of_network_flag(cli: &Cli, entry: &Entry, name: &str) -> Option<Vec<Candidate>> {
    Some(match (entry.name, name) {
        ("network create", "driver") => plain(&["bridge", "ipvlan", "macvlan"]),
        ("network create", "ipam-driver") => plain(&["default"]),
        ("network create", "opt") => plain(NETWORK_OPTIONS),
        ("network create", "scope") => plain(&["local"]),
        (_, "link") => names(cli, Names::Containers),
        _ => return None,
    })
}

fn shared_namespace(cli: &Cli, fixed: &[&str]) -> Vec<Candidate> {
    let mut found = plain(fixed);
    found.extend(prefixed("container:", names(cli, Names::Running)));
    found
}

/// First the key, then what may stand behind it.
fn of_filter(cli: &Cli, entry: &Entry, partial: &str) -> Vec<Candidate> {
    let Some((key, _)) = partial.split_once('=') else {
        return filters(entry.name)
            .iter()
            .map(|key| (format!("{key}="), String::new()))
            .collect();
    };
    let found = match (entry.name, key) {
        (_, "ancestor" | "image") | ("image ls", "before" | "since" | "reference") => {
            names(cli, Names::Images)
        }
        ("container ls", "before" | "name" | "since") | (_, "container") => names(cli, Names::Containers),
        ("network ls", "name" | "id") | (_, "network") => names(cli, Names::Networks),
        ("volume ls", "name") | (_, "volume") => names(cli, Names::Volumes),
        ("network ls", "driver") => plain(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        ("network ls", "type") => plain(&["builtin", "custom"]),
        ("system events", "type") => plain(&["builder", "container", "image", "network", "volume"]),
        ("system events", "event") => plain(&[
            "attach",
            "commit",
            "connect",
            "copy",
            "create",
            "delete",
            "destroy",
            "detach",
            "die",
            "disconnect",
            "exec_create",
            "exec_detach",
            "exec_die",
            "exec_start",
            "export",
            "health_status",
            "import",
            "kill",
            "load",
            "mount",
            "oom",
            "pause",
            "prune",
            "pull",
            "push",
            "rename",
            "resize",
            "restart",
            "save",
            "start",
            "stop",
            "tag",
            "top",
            "unmount",
            "unpause",
            "untag",
            "update",
        ]),
        (_, "driver" | "scope") => plain(&["local"]),
        (_, "all" | "dangling" | "is-task") => plain(&["false", "true"]),
        (_, "health") => plain(&["healthy", "none", "starting", "unhealthy"]),
        (_, "status") => plain(&[
            "created",
            "dead",
            "exited",
            "paused",
            "removing",
            "restarting",
            "running",
        ]),
        _ => Vec::new(),
    };
    prefixed(&format!("{key}="), found)
}

/// Names of what is there. An engine that cannot be opened has none to offer.
pub(super) fn names(cli: &Cli, kind: Names) -> Vec<Candidate> {
    let found = match kind {
        Names::Containers => containers(cli, |_| true),
        Names::Running => containers(cli, |activity| {
            matches!(activity, Activity::Running | Activity::Paused)
        }),
        Names::Stopped => containers(cli, |activity| {
            matches!(activity, Activity::Created | Activity::Exited)
        }),
        Names::Contexts => Ok(plain(&[crate::commands::CONTEXT])),
        Names::Images => images(cli),
        Names::Volumes => volumes(cli),
        Names::Networks => networks(cli),
        Names::Objects => containers(cli, |_| true)
            .and_then(|all| Ok([all, images(cli)?, volumes(cli)?, networks(cli)?].concat())),
        Names::Files => Ok(files()),
        Names::Nothing => Ok(Vec::new()),
    };
    found.unwrap_or_default()
}

fn containers(cli: &Cli, wanted: impl Fn(Activity) -> bool) -> Result<Vec<Candidate>, Failure> {
    let all = cli.engine()?.containers().list(&ListContainers {
        all: true,
        ..ListContainers::default()
    })?;
    let fitting = all.into_iter().filter(|container| wanted(container.activity));
    Ok(fitting
        .map(|container| (container.name, container.settings.image_name))
        .collect())
}

fn images(cli: &Cli) -> Result<Vec<Candidate>, Failure> {
    let all = cli.engine()?.images().list()?;
    Ok(all
        .iter()
        .flat_map(|image| image.tags.iter().map(|tag| (tag.familiar(), image.id.short())))
        .collect())
}

fn volumes(cli: &Cli) -> Result<Vec<Candidate>, Failure> {
    let all = cli.engine()?.volumes().list()?;
    Ok(all
        .into_iter()
        .map(|volume| (volume.name, String::new()))
        .collect())
}

/// The tags of a volume's versions.
pub(super) fn versions(cli: &Cli, volume: &str) -> Vec<Candidate> {
    let found = cli
        .engine()
        .and_then(|engine| Ok(engine.volumes().versions(Some(volume))?));
    let now = crate::output::time::now();
    found
        .unwrap_or_default()
        .into_iter()
        .map(|version| (version.tag, crate::output::time::ago(version.created, now)))
        .collect()
}

fn networks(cli: &Cli) -> Result<Vec<Candidate>, Failure> {
    let all = cli.engine()?.networks().list()?;
    Ok(all
        .into_iter()
        .map(|network| (network.name, network.driver))
        .collect())
}
