//! Images: found, fetched, sent, loaded, saved, tagged, removed.

mod archive;
mod find;
mod indexes;
pub(crate) mod keeping;
mod pull;
mod push;
pub(crate) mod push_content;
mod remove;

pub use indexes::{Member, MemberPlatform, RemoteManifest};
pub use keeping::{ImagePolicy, Keeping};
pub use pull::{PullEvent, Pulled};
pub use push::{PushEvent, Pushed};
pub use remove::Removed;
pub(crate) use remove::is_alive;
pub use store::{Image, Loaded};

use crate::Engine;

/// The images of an engine; its operations are in this module's files.
#[derive(Debug, Clone, Copy)]
pub struct Images<'e> {
    pub(crate) engine: &'e Engine,
}
