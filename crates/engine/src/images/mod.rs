//! Images: found, fetched, sent, loaded, saved, tagged, removed.

mod archive;
pub mod filter;
mod find;
mod indexes;
mod pull;
mod push;
mod push_content;
mod remove;

pub use indexes::{Member, MemberPlatform, RemoteManifest};
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
