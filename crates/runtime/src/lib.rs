//! From an OCI runtime specification and a root filesystem to a process.
//!
//! In: a [`Plan`] in which everything is resolved. Out: a process whose every namespace, mount, limit and right is as
//! the plan says, and its exit. Stands on `sys`; spec types come from `oci-spec`. Does not know images, registries or
//! networks: between [`create`] and [`Created::start`] the caller equips the network namespace.

use oci::Overlay;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub mod capabilities;
pub mod cgroups;
pub mod seccomp;

mod channel;
mod command;
mod container;
mod error;
mod exec;
mod family;
mod init;
mod links;
mod lookup;
mod lsm;
mod namespaces;
mod parent;
mod peer;
mod process;
mod rootfs;
mod sysctl;
mod user;

pub use cgroups::oom::OomWatch;
pub use container::{Created, close_cgroup, create, remove_cgroup};
pub use exec::{Starting, begin_exec, exec};
pub use peer::Peer;
pub use process::Process;
pub use rootfs::detached_mount;
pub use user::{NoSuchUser, ids_of};

/// Everything that starting a container needs, resolved beforehand.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The OCI runtime configuration: process, mounts, namespaces (with paths to join), limits, seccomp.
    /// `root.path` is not used.
    pub spec: Spec,
    /// What becomes `/`.
    pub rootfs: Rootfs,
    /// `user[:group]` by name or number, looked up in the container's own files; overrides `spec.process.user`.
    pub user: Option<String>,
    /// Further groups by name or number, likewise looked up.
    pub groups: Vec<String>,
    /// Run the built-in init as process 1, which forwards signals and reaps.
    pub init: bool,
    /// Namespaces of other processes that it joins; the specification does not have them.
    #[serde(default)]
    pub joined: Vec<Joined>,
    /// What mounts of the type [`TREE`] show: the source of such a mount is a number here, from 0.
    #[serde(default)]
    pub trees: Vec<TreeSource>,
    /// Symbolic links that are made when everything is mounted, where nothing has their name.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// The type of mounts that show one of [`Plan::trees`].
pub const TREE: &str = "coracle.tree";

/// A namespace of another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// Which of its namespaces; not `mount`.
    pub kind: oci_spec::runtime::LinuxNamespaceType,
    /// Whose.
    pub process: Peer,
}

/// A source of mounts that an OCI specification has no words for.
#[derive(Clone, Serialize, Deserialize)]
pub enum TreeSource {
    /// What is at `subpath` in a directory that containers may have written to: links are followed inside it.
    Directory {
        /// The directory, a trusted path.
        path: PathBuf,
        /// What of it.
        subpath: PathBuf,
    },
    /// A file that is in memory only.
    File {
        /// What it holds; may be secret.
        content: Vec<u8>,
        /// Its permissions.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A union of layers. What is written goes into its upper directory, if it has one.
    Union {
        /// Its layers.
        overlay: Overlay,
        /// What of it, all if it is empty.
        subpath: PathBuf,
    },
    /// What another process sees at `/dev/shm`.
    SharedMemory(Peer),
}

impl std::fmt::Debug for TreeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory { path, subpath } => f
                .debug_struct("Directory")
                .field("path", path)
                .field("subpath", subpath)
                .finish(),
            Self::File { mode, owner, .. } => f
                .debug_struct("File")
                .field("mode", mode)
                .field("owner", owner)
                .finish_non_exhaustive(),
            Self::Union { overlay, subpath } => f
                .debug_struct("Union")
                .field("overlay", overlay)
                .field("subpath", subpath)
                .finish(),
            Self::SharedMemory(peer) => f.debug_tuple("SharedMemory").field(peer).finish(),
        }
    }
}

/// A symbolic link in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it says.
    pub target: String,
    /// Where it is, absolute.
    pub path: PathBuf,
}

/// What becomes a container's `/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory as it is.
    Directory(PathBuf),
    /// A union of layers, mounted for this container alone.
    Overlay(Overlay),
}

/// Where a container's standard streams lead.
#[derive(Debug)]
pub enum Streams {
    /// Descriptors that become 0, 1 and 2; `None` is `/dev/null`.
    Files {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: Option<OwnedFd>,
        /// Standard error.
        stderr: Option<OwnedFd>,
    },
    /// A terminal made inside the container's own devpts; its master comes back in [`Created`].
    Terminal {
        /// Its size at the start, if known.
        rows: u16,
        /// Likewise.
        columns: u16,
    },
}

/// Whose fault a failed start is; decides the exit code that users see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// The command is not in the container: exit code 127.
    CommandNotFound,
    /// It is there and cannot be executed: 126.
    CommandNotExecutable,
    /// Anything else: 125.
    Setup,
}

/// Why no process came about. Serialisable, so that a monitor can report it.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct StartError {
    /// Whose fault.
    pub failure: StartFailure,
    /// What was attempted, on what, and why it failed.
    pub message: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, or 128 + the signal's number.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// A further process for a running container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecPlan {
    /// Pid of the container's first process, in our pid namespace.
    pub container_pid: i32,
    /// Its start time (field 22 of `/proc/PID/stat`), so that a recycled pid is never joined.
    pub container_start_time: u64,
    /// The process: arguments, environment, working directory, capabilities, `no_new_privileges`, terminal.
    pub process: oci_spec::runtime::Process,
    /// `user[:group]`, looked up in the container; overrides `process.user`.
    pub user: Option<String>,
    /// The container's seccomp rules.
    pub seccomp: Option<oci_spec::runtime::LinuxSeccomp>,
    /// The container's cgroup, as in its spec.
    pub cgroup: Option<PathBuf>,
    /// Whether it has its own user namespace.
    pub user_namespace: bool,
    /// Whether the process stays the ancestor of all that comes of it, so that [`Process::kill_family`] finds it:
    /// orphans become its children, not those of the container's first process.
    #[serde(default)]
    pub keeps_orphans: bool,
}
