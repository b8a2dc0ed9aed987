//! What is known of a container.

use super::request::CreateContainer;
use oci::Digest;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
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
}

/// A mount of a container, resolved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerMount {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// The volume's name.
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
}

/// How a container ended, or why it never began.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExitRecord {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// Whether the kernel killed it, or a process in it, for lack of memory.
    pub oom_killed: bool,
    /// Why it could not start, if so.
    pub error: Option<String>,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// Most memory used, bytes, where the kernel tells.
    pub memory_peak: Option<u64>,
    /// Processor time, nanoseconds.
    pub cpu: Option<u64>,
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
    /// Boot id at the last start.
    pub boot: String,
    /// Network endpoints while it runs.
    pub endpoint: Option<EndpointRecord>,
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointRecord {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// What the network crate made.
    pub endpoint: network::Endpoint,
    /// Gateway.
    pub gateway: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
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
    /// Bytes of its writable layer, if they were asked for.
    pub size_rw: Option<u64>,
    /// Bytes of its image's layers, if they were asked for.
    pub size_root: Option<u64>,
}
