//! `info`, `system df`, `system prune`.
use crate::{Engine, EngineError};

/// What `info` tells about this engine and host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Containers, by what they do.
    pub running: u64,
    /// Frozen.
    pub paused: u64,
    /// Not running.
    pub stopped: u64,
    /// Images.
    pub images: u64,
    /// Kernel release.
    pub kernel: String,
    /// The host's PRETTY_NAME.
    pub operating_system: String,
    /// Go's name.
    pub architecture: String,
    /// Processors.
    pub processors: u64,
    /// Bytes.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// `1`, `2` or `hybrid`.
    pub cgroup_version: String,
    /// `cgroupfs`.
    pub cgroup_driver: String,
    /// Of the kernel: `seccomp`, `apparmor`, …
    pub security: Vec<String>,
    /// Root, run root and the configuration in force, key and value.
    pub settings: Vec<(String, String)>,
    /// What works less well than it could here, and what to do.
    pub warnings: Vec<String>,
}

/// One line of `system df`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// `Images`, `Containers`, `Local Volumes`, `Build Cache`.
    pub kind: &'static str,
    /// How many there are.
    pub total: u64,
    /// How many are in use.
    pub active: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that pruning would give back.
    pub reclaimable: u64,
}

/// What `system prune` shall remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Every image that no container uses, not only dangling ones.
    pub all: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
    /// `until`, `label`, `label!`.
    pub filters: Vec<(String, String)>,
}

/// What `system prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Containers' ids.
    pub containers: Vec<String>,
    /// Networks' names.
    pub networks: Vec<String>,
    /// Volumes' names.
    pub volumes: Vec<String>,
    /// Images and references.
    pub images: Vec<crate::images::Removed>,
    /// Build cache entries.
    pub build_cache: u64,
    /// Bytes given back.
    pub bytes: u64,
}

impl Engine {
    /// Looks at this engine and host.
    pub fn info(&self) -> Result<Info, EngineError> {
        todo!()
    }

    /// Measures what is stored: images, containers, volumes, build cache, in this order.
    pub fn disk_usage(&self) -> Result<Vec<DiskUsage>, EngineError> {
        todo!()
    }

    /// Removes what nothing uses: stopped containers, images, build cache, the idle default bridge with its rules.
    pub fn prune(&self, request: &PruneRequest) -> Result<Pruned, EngineError> {
        todo!("{request:?}")
    }
}
