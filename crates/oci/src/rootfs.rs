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
}
