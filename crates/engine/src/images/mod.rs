//! Images: found, fetched, sent, loaded, saved, tagged, removed; with them indexes and artifacts.

mod archive;
mod artifacts;
pub mod filter;
mod find;
mod indexes;
pub(crate) mod keeping;
mod pull;
mod pull_whole;
mod push;
pub(crate) mod push_content;
mod push_index;
mod remove;
mod search;
mod tree;

pub use artifacts::ArtifactManifest;
pub use indexes::{Member, MemberPlatform, RemoteManifest};
pub use keeping::{ImagePolicy, Keeping};
pub use pull::{PullEvent, Pulled};
pub use push::{PushEvent, Pushed};
pub use registry::Found;
pub use remove::Removed;
pub(crate) use remove::is_alive;
pub use search::SearchFilter;
pub use store::{Artifact, Image, Index, IndexMember, LayerProgress, Loaded};
pub use tree::{Branch, Entry};

use crate::Engine;

/// The images of an engine; its operations are in this module's files.
#[derive(Debug, Clone, Copy)]
pub struct Images<'e> {
    pub(crate) engine: &'e Engine,
}
