//! What is known of a container.

use super::request::{Below, CreateContainer, NetworkAttachment};
use oci::Digest;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub(crate) String);

impl ContainerId {
    /// Returns all 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first 12 digits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that `create` decided: the request with all defaults and the image's own settings filled in.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The request, as it came.
    pub request: CreateContainer,
    /// The image as the user wrote it, for display.
    pub image_name: String,
    /// Entry point in force.
    pub entrypoint: Vec<String>,
    /// Arguments in force.
    pub command: Vec<String>,
    /// Environment in force, `NAME=value`.
    pub environment: Vec<String>,
    /// Working directory in force.
    pub working_directory: String,
    /// User in force; empty is root.
    pub user: String,
    /// Host name in force.
    pub hostname: String,
    /// Labels in force, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Exposed ports in force, `port/protocol`.
    pub exposed: Vec<String>,
    /// The networks that it is on when it runs, by their names; `connect` and `disconnect` change them.
    pub networks: Vec<NetworkAttachment>,
    /// Mounts in force, volumes by their names.
    pub mounts: Vec<ContainerMount>,
    /// Signal in force that stops it.
    pub stop_signal: String,
    /// Log driver in force.
    pub log_driver: String,
    /// Log options in force.
    pub log_options: BTreeMap<String, String>,
    /// Health check in force.
    pub healthcheck: Option<oci::Healthcheck>,
    /// The image's shell, for health checks that ask for one.
    pub shell: Vec<String>,
}

/// A mount of a container, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ContainerMount {
    /// `bind`, `image`, `tmpfs` or `volume`.
    pub kind: String,
    /// The volume's name, the image's id.
    pub name: Option<String>,
    /// On the host; empty for tmpfs.
    pub source: PathBuf,
    /// Inside.
    pub target: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Propagation.
    pub propagation: String,
    /// Options of the mount(8) kind, for tmpfs and binds.
    pub options: Vec<String>,
    /// What of the volume or the image.
    pub subpath: Option<String>,
    /// What read-only means for mounts below a bind's source.
    pub below: Below,
    /// Options as they were written, for display.
    pub mode: String,
    /// It is a volume with options: something is mounted on its directory first.
    pub mounted: bool,
}

/// How a container ended, or why it never began.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ExitRecord {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// Whether the kernel killed it, or a process in it, for lack of memory.
    pub oom_killed: bool,
    /// Why it could not start, if so.
    pub error: Option<String>,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// The signal that ended its first process, if one did.
    pub signal: Option<i32>,
    /// What brought the end about, if it was not the process itself.
    pub cause: Option<Cause>,
    /// What the run used.
    pub usage: Usage,
}

/// What ended a run that did not end by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Cause {
    /// The kernel killed a process of it for lack of memory.
    OutOfMemory {
        /// The killed process's name, where the kernel told.
        process: Option<String>,
        /// The limit, bytes; `None` where the host itself was short.
        limit: Option<u64>,
        /// Most memory used, bytes.
        peak: Option<u64>,
    },
    /// It became unhealthy, and was to be killed or stopped for it.
    Unhealthy {
        /// What the last check wrote, shortened.
        output: String,
    },
    /// It lasted longer than it was given.
    Timeout {
        /// Its time, nanoseconds.
        limit: u64,
    },
    /// `stop`, `kill` or `restart` was asked for.
    Asked {
        /// The signal that was sent last.
        signal: i32,
    },
    /// Its monitor died.
    MonitorDied,
    /// The host went down.
    Reboot,
}

impl Cause {
    /// Returns a word for it, as events and filters have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Timeout { .. } => "timeout",
            Self::Asked { .. } => "asked",
            Self::MonitorDied => "monitor-died",
            Self::Reboot => "shutdown",
        }
    }
}

/// What a run used, as far as the kernel told.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Most memory used, bytes.
    pub memory_peak: Option<u64>,
    /// Processor time, nanoseconds.
    pub cpu: Option<u64>,
    /// Of that, in the kernel.
    pub cpu_system: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to block devices.
    pub written: Option<u64>,
    /// Most processes at once.
    pub pids_peak: Option<u64>,
}

impl From<runtime::cgroups::Usage> for Usage {
    fn from(used: runtime::cgroups::Usage) -> Self {
        Self {
            memory_peak: used.memory_peak,
            cpu: Some(used.cpu),
            cpu_system: used.cpu_system,
            read: used.read,
            written: used.written,
            pids_peak: used.pids_peak,
        }
    }
}

/// One run of a container: kept when the container is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub container: ContainerId,
    /// What the container was called.
    pub name: String,
    /// Its image, as the user wrote it.
    pub image: String,
    /// Its command, as `ps` shows it.
    pub command: String,
    /// Nanoseconds since 1970.
    pub started: i64,
    /// How it ended; `None` while it runs.
    pub exit: Option<ExitRecord>,
}

/// What health checks have found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five checks, the oldest first.
    pub log: Vec<Check>,
}

/// A verdict on a container's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HealthStatus {
    /// Not yet known.
    #[default]
    Starting,
    /// The last check succeeded.
    Healthy,
    /// As many checks in a row have failed as it takes.
    Unhealthy,
}

/// One health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    /// Nanoseconds since 1970.
    pub started: i64,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// Its exit code; -1 if it took too long or could not be started.
    pub code: i32,
    /// The first 4096 bytes of what it wrote.
    pub output: String,
}

/// The changing part of a container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Status {
    /// Last start, nanoseconds since 1970.
    pub started: Option<i64>,
    /// Last end.
    pub exit: Option<ExitRecord>,
    /// Times that the restart policy started it again.
    pub restarts: u32,
    /// Stopped by hand; restart policies look at it.
    pub stopped_by_user: bool,
    /// It ended because the host went down, or its monitor was told so; it comes back with the host.
    pub interrupted: bool,
    /// Boot id at the last start.
    pub boot: String,
    /// Its places on networks while it runs, the one with the default route first.
    #[serde(alias = "endpoint", deserialize_with = "one_or_many")]
    pub endpoints: Vec<EndpointRecord>,
    /// What health checks had found when it last ended.
    pub health: Option<Health>,
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointRecord {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// Its own id, 64 hex digits; empty in records of a version that had none.
    #[serde(default)]
    pub id: String,
    /// What the network crate made.
    pub endpoint: network::Endpoint,
    /// Gateway. On an internal network nothing goes through it.
    pub gateway: Option<Ipv4Addr>,
    /// Prefix length.
    pub prefix: u8,
    /// IPv6 gateway and prefix length, on a network that has such.
    #[serde(default)]
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// The names that it is found by on this network, the container's own first; none on the default bridge.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Reads the list that is now, or the one endpoint or `null` of a version that knew no more.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<EndpointRecord>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Written {
        Many(Vec<EndpointRecord>),
        One(Box<EndpointRecord>),
        None,
    }
    use serde::Deserialize;
    Ok(match Written::deserialize(deserializer)? {
        Written::Many(list) => list,
        Written::One(endpoint) => vec![*endpoint],
        Written::None => Vec::new(),
    })
}

/// What a container does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Activity {
    /// Made, never started.
    Created,
    /// It has ended.
    Exited,
    /// Frozen.
    Paused,
    /// Being removed.
    Removing,
    /// Waiting for its restart policy's delay.
    Restarting,
    /// Its process runs.
    Running,
}

/// A container, as it stands in the database and the run directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// Its image's id.
    pub image: Digest,
    /// When it was made: nanoseconds since 1970.
    pub created: i64,
    /// What create decided.
    pub settings: Settings,
    /// What has happened since.
    pub status: Status,
    /// What it does now.
    pub activity: Activity,
    /// Pid of its first process while it runs, on the host.
    pub pid: Option<i32>,
    /// What health checks have found, if it has any.
    pub health: Option<Health>,
    /// Whether the kernel has killed a process of it for lack of memory since it was last started.
    pub oom_killed: bool,
    /// Bytes of its writable layer, if they were asked for.
    pub size_rw: Option<u64>,
    /// Bytes of its image's layers, if they were asked for.
    pub size_root: Option<u64>,
    /// Exec instances that have not ended; known where one container alone is looked at.
    pub execs: Vec<String>,
}
