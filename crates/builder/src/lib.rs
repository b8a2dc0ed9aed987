//! Builds: a context and a Dockerfile become a graph of cached steps, and that an image.
//!
//! In: a [`Build`]. Out: an image in the store, and [`BuildEvent`]s on the way. Stands on `dockerfile` and `store`;
//! what it needs from elsewhere (base images, running a command) comes through [`Services`], which the engine gives.
//! Never prints.
//!
//! # What a step is keyed by
//!
//! A step that makes a layer is looked up in the table `build_steps` under the sha256 of its operation (variables
//! expanded), the layers below it, by the digests of their tars, and the digests of just the files that it reads.
//! Configuration (`ENV`, `LABEL`, …) costs nothing and is computed anew each time; what of it a command can see is in
//! that command's key. The digests of context files are remembered in `file_digests` by what stat(2) says.
//!
//! # Reproducible images
//!
//! When it was built is local knowledge and not part of the image. Its `created` and the history entries that a build
//! adds are `SOURCE_DATE_EPOCH` if the build was given one, else the time of the commit that the context is checked out
//! at, else [`FIXED_EPOCH`]. The times of all files that `COPY`, `ADD`, `WORKDIR` and `RUN` make are `SOURCE_DATE_EPOCH`,
//! else [`FIXED_EPOCH`]: were they the commit's, each commit would change every layer. What a `RUN` leaves behind of
//! logs and caches that differ each time is taken out ([`tidy`]). What the base image says about itself is kept as it
//! is. docs/reproducibility.md has all of it.
//!
//! # When it fails
//!
//! Each finished step is recorded as it finishes. A step that fails or is interrupted drops its snapshot; tags move
//! only together with the finished image.

mod agent;
mod archive;
mod arguments;
mod build;
mod cache;
pub mod cache_mounts;
pub mod call;
mod changes;
mod checks;
mod commit_time;
mod config;
mod configure;
mod context;
mod digests;
mod elsewhere;
mod error;
mod exclude;
mod fetched;
pub mod git;
mod graph;
mod lock;
mod mode;
mod pins;
mod place;
mod platforms;
mod progress;
mod report;
mod scratch;
mod source;
mod stage;
mod steps;
mod tidy;
mod users;

pub use build::build;
pub use changes::apply_changes;
pub use dockerfile::{CHECKS, Warning, nearest, rule_url};
pub use elsewhere::{Elsewhere, elsewhere};
pub use error::{BuildError, CommandFailure, Place, StepError};
pub use fetched::{FetchedContext, from_address, from_stream};
pub use lock::{Lock, LockError, Pin, SourcePin, images};
pub use pins::{pin_source, sources};
pub use report::{StepReport, first_difference};

use oci::{Platform, Reference};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The time that everything made by a build bears where no `SOURCE_DATE_EPOCH` is given: 1980-01-01T00:00:00Z, the
/// earliest that zip files can hold, which some packers refuse to go below.
pub const FIXED_EPOCH: i64 = 315_532_800;

/// A build, as the user asked for it.
#[derive(Debug, Clone)]
pub struct Build {
    /// The directory whose files `COPY` and `ADD` see, read in place.
    pub context: PathBuf,
    /// The Dockerfile: its name for messages, and its text.
    pub dockerfile: (PathBuf, String),
    /// The ignore file's text, if there is one (`<Dockerfile>.dockerignore` before `.dockerignore`).
    pub ignore: Option<(PathBuf, String)>,
    /// `--build-arg`; a value that is `None` comes from the client's environment, which the caller has looked up.
    pub arguments: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `-t`.
    pub tags: Vec<Reference>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// `--network` for `RUN`: `default`, `none` or `host`.
    pub network: RunNetwork,
    /// `--platform`.
    pub platform: Platform,
    /// When the image says it was made, if that is not to be asked of the context's commit.
    pub image_time: Option<i64>,
    /// `SOURCE_DATE_EPOCH`, from the build arguments or the client's environment.
    pub source_date_epoch: Option<i64>,
    /// Whether what `RUN` makes is brought into a form that is the same each time (`--reproducible`).
    pub reproducible: bool,
    /// `--locked`: the lock file, and what it says.
    pub lock: Option<(PathBuf, Lock)>,
    /// Proxy variables for `RUN`, which reach neither image nor cache keys.
    pub proxy: BTreeMap<String, String>,
    /// `--add-host` (name, address).
    pub extra_hosts: Vec<(String, String)>,
    /// `--allow`.
    pub allowed: Allowed,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: the sockets of agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
    /// `--no-cache-filter`: stages that are built anew.
    pub uncached_stages: Vec<String>,
    /// Limits of `RUN` steps.
    pub limits: StepLimits,
    /// `--cache-from`: where finished steps are taken from.
    pub cache_from: Vec<CachePlace>,
    /// Whether the image says by which keys its layers are found (`--cache-to type=inline`).
    pub inline_cache: bool,
    /// `--debug-shell`: whether the first command that fails is handed to [`Services::debug`].
    pub debug_shell: bool,
}

/// Where a build cache is kept apart from this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// A directory.
    Directory(PathBuf),
    /// A registry, under this name.
    Registry(Reference),
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Registry(reference) => f.write_str(&reference.familiar()),
        }
    }
}

/// What a build may ask for beyond a container's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// `network.host`.
    pub host_network: bool,
    /// `security.insecure`.
    pub insecure: bool,
}

/// Files besides those of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image.
    Image(Reference),
    /// An image that is in the store, one for each platform: what another target gave, or an OCI layout.
    Stored {
        /// What it is called in messages.
        name: Reference,
        /// The images.
        images: Vec<(Platform, oci::Digest)>,
    },
}

/// A secret of the user's. Its value is in no layer, history, cache key, log or message.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// What a file holds when it is needed.
    File(PathBuf),
    /// This.
    Value(Vec<u8>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}

/// Limits of `RUN` steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepLimits {
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft and hard limit; -1 is none.
    pub ulimits: Vec<(String, i64, i64)>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
}

/// The network of a `RUN` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunNetwork {
    /// The default bridge.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None but `lo`.
    None,
}

/// A command to run in a snapshot.
#[derive(Debug)]
pub struct RunStep<'a> {
    /// The root filesystem, upper directory included.
    pub rootfs: oci::Overlay,
    /// Program and arguments.
    pub arguments: &'a [String],
    /// `NAME=value`.
    pub environment: &'a [String],
    /// Absolute; made if it is not there.
    pub working_directory: &'a str,
    /// `user[:group]`; empty is root.
    pub user: &'a str,
    /// Its network.
    pub network: RunNetwork,
    /// Further lines of /etc/hosts (name, address).
    pub extra_hosts: &'a [(String, String)],
    /// What it sees besides its root filesystem, parents before what lies in them.
    pub mounts: &'a [StepMount],
    /// Whether it gets all rights there are.
    pub insecure: bool,
    /// Its limits.
    pub limits: &'a StepLimits,
}

/// A `RUN` whose command has failed.
#[derive(Debug, Clone, Copy)]
pub struct FailedStep<'a> {
    /// The instruction.
    pub instruction: &'a str,
    /// The command's exit code.
    pub code: i32,
}

/// Something mounted in a `RUN`.
#[derive(Debug, Clone)]
pub struct StepMount {
    /// Where, absolute.
    pub target: String,
    /// Whether it may not be written to.
    pub read_only: bool,
    /// What.
    pub source: MountSource,
}

/// What is mounted in a `RUN`.
#[derive(Clone)]
pub enum MountSource {
    /// What is at `subpath` in a directory; links are followed inside it, whoever has made them.
    Directory {
        /// The directory, a trusted path.
        path: PathBuf,
        /// What of it, absolute.
        subpath: PathBuf,
    },
    /// A file that exists in memory only.
    File {
        /// What it holds. May be secret.
        content: Vec<u8>,
        /// Its permissions.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A socket of ours, a trusted path.
    Socket(PathBuf),
    /// Memory that is empty at first, with its size in bytes.
    Tmpfs(Option<u64>),
    /// What is at `subpath` in a union of directories.
    Union {
        /// Its directories; if there is an upper one, it takes what is written.
        overlay: oci::Overlay,
        /// What of it, absolute.
        subpath: PathBuf,
    },
}

impl std::fmt::Debug for MountSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory { path, subpath } => write!(f, "Directory({path:?}, {subpath:?})"),
            Self::File { mode, owner, .. } => write!(f, "File({mode:o}, {owner:?})"),
            Self::Socket(path) => write!(f, "Socket({path:?})"),
            Self::Tmpfs(size) => write!(f, "Tmpfs({size:?})"),
            Self::Union { overlay, subpath } => write!(f, "Union({overlay:?}, {subpath:?})"),
        }
    }
}

/// Which of its standard streams a step wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

/// Why a service failed, in words for the user; `not_found` marks an image that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What happened.
    pub message: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What is known of a file that came from the web.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Downloaded {
    /// What the server would call it, without directories.
    pub file_name: Option<String>,
}

/// What a build needs from the engine. Several threads call it at once.
pub trait Services: Sync {
    /// Returns the base image, from the store or (if it is not here, or `refresh`) from its registry. `progress` gets
    /// lines for people.
    fn base_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        refresh: bool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<store::Image, ServiceError>;

    /// Writes what is at an http or https URL into a file. `authorization` is the value of that header, for the URL's own
    /// server only.
    fn download(
        &self,
        url: &str,
        authorization: Option<&str>,
        into: std::fs::File,
    ) -> Result<Downloaded, ServiceError>;

    /// Runs a command in a container of its own with the default rights, and returns its exit code. `output` gets what
    /// it writes as it writes it. Is stopped as soon as `stopped` says so. Leaves nothing but the files in the upper
    /// directory.
    fn run(
        &self,
        step: &RunStep<'_>,
        output: &mut dyn FnMut(OutputStream, &[u8]),
        stopped: &dyn Fn() -> bool,
    ) -> Result<i32, ServiceError>;

    /// Says whether the user has asked to stop (Ctrl-C).
    fn cancelled(&self) -> bool;

    /// Lets the user look at what a command that has failed saw and left behind: runs `step`, an interactive shell, on
    /// their terminal, until they leave it.
    fn debug(&self, _step: &RunStep<'_>, _failed: &FailedStep<'_>) -> Result<(), ServiceError> {
        Ok(())
    }

    /// Reads what a cache has, for [`Services::recall`]. Returns what there is to say about it.
    fn open_cache(&self, place: &CachePlace, _platform: &Platform) -> Result<String, ServiceError> {
        Err(ServiceError {
            message: format!("there is nothing here that reads {place}"),
            source: None,
        })
    }

    /// Brings a step that one of the opened caches has into the table `build_steps`, and its layer into the store. Says
    /// whether one had it.
    fn recall(&self, _key: &oci::Digest) -> Result<bool, ServiceError> {
        Ok(false)
    }

    /// Fills the directory of a new cache mount with what one of the opened caches has for its id. Says whether one had
    /// it; the directory is empty otherwise.
    fn recall_mount(&self, _id: &str, _into: &sys::path::Tree) -> Result<bool, ServiceError> {
        Ok(false)
    }
}

/// What happens during a build. Steps are numbered from 1 in the order in which they are announced.
#[derive(Debug, Clone)]
pub enum BuildEvent {
    /// The Dockerfile is understood.
    Planned {
        /// So many steps there will be, those before this included. Triggers in base images may add some.
        steps: usize,
    },
    /// A step begins, or waits for others: `[2/4] RUN pip install pandas`.
    Started {
        /// Its number.
        step: usize,
        /// What it does.
        name: String,
    },
    /// The step's result was in the cache.
    Cached {
        /// Its number.
        step: usize,
    },
    /// The step was stopped: the user has asked to, or another one has failed.
    Cancelled {
        /// Its number.
        step: usize,
    },
    /// What the step says about itself, a line.
    Note {
        /// Its number.
        step: usize,
        /// What.
        message: String,
    },
    /// What became of a step, in full.
    Report(Box<StepReport>),
    /// The step's command printed something.
    Output {
        /// Its number.
        step: usize,
        /// Where it came from.
        stream: OutputStream,
        /// The bytes, lines not necessarily whole.
        bytes: Vec<u8>,
    },
    /// The step is done.
    Done {
        /// Its number.
        step: usize,
        /// Wall-clock seconds.
        seconds: f64,
    },
    /// The step failed; the build's error says why.
    Failed {
        /// Its number.
        step: usize,
        /// In short.
        message: String,
    },
    /// Something about the Dockerfile that is worth saying.
    Warning {
        /// What.
        message: String,
        /// The Dockerfile's line, from 1.
        line: Option<usize>,
    },
}
