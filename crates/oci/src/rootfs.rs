//! How layers become one tree: what the store says and the runtime mounts.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A union of layers, as overlayfs takes it. All paths lie below the store's own root, which no container can
/// reach, so they may be used as paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only directories, the topmost first (overlayfs's order). Never empty.
    pub lower: Vec<PathBuf>,
    /// The writable top. Without it the mount is read-only.
    pub upper: Option<PathBuf>,
    /// Overlayfs's scratch directory, on the same filesystem as `upper`.
    pub work: Option<PathBuf>,
    /// What is written need not outlive a crash of the host, because `upper` goes with it or is synced by somebody
    /// else: nothing is synced, neither at fsync(2) nor at the end, when it would be all of `upper`'s filesystem.
    #[serde(default)]
    pub temporary: bool,
}
