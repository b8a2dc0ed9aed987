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

mod archive;
mod arguments;
mod build;
mod cache;
mod changes;
mod commit_time;
mod config;
mod configure;
mod context;
mod digests;
mod error;
mod graph;
mod lock;
mod mode;
mod place;
mod platforms;
mod progress;
mod report;
mod source;
mod stage;
mod steps;
mod tidy;
mod users;

pub use build::build;
pub use changes::apply_changes;
pub use error::{BuildError, CommandFailure, Place, StepError};
pub use lock::{Lock, LockError, Pin, images};
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
