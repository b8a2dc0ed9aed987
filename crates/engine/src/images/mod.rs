//! Images: found, fetched, loaded, saved, tagged, removed.
use crate::{Engine, EngineError};
use oci::{Digest, Platform, Reference};
use std::io::{Read, Write};
pub use store::Image;

/// The images of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Images<'e> {
    pub(crate) engine: &'e Engine,
}

/// What happens while an image is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// A line for people: `latest: Pulling from library/ubuntu`.
    Status {
        /// The line.
        message: String,
    },
    /// A layer has been read up to here. The first event of each layer comes with `done` 0, in the image's order.
    Layer {
        /// Short id: 12 digits of its digest.
        id: String,
        /// Bytes read.
        done: u64,
        /// Bytes of the whole.
        total: u64,
    },
    /// A layer is complete.
    LayerDone {
        /// Short id.
        id: String,
        /// It was here already.
        existed: bool,
    },
}

/// What a pull came to.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Digest of what the reference names.
    pub digest: Digest,
    /// Whether anything was fetched.
    pub changed: bool,
}

/// What `rmi` did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// An image's record went.
    Deleted(Digest),
    /// A reference went.
    Untagged(Reference),
}

impl Images<'_> {
    /// Finds an image by reference, id, or unambiguous id prefix.
    pub fn find(&self, text: &str) -> Result<Image, EngineError> {
        todo!("{text} {:?}", self.engine)
    }

    /// Finds the image for a container or a build: here, or from its registry as `policy` says.
    pub fn ensure(
        &self,
        text: &str,
        platform: Option<&Platform>,
        policy: crate::containers::request::PullPolicy,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Image, EngineError> {
        progress(PullEvent::Status {
            message: String::new(),
        });
        todo!("{text} {platform:?} {policy:?}")
    }

    /// Fetches an image from its registry, whatever is here.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, EngineError> {
        progress(PullEvent::Status {
            message: String::new(),
        });
        todo!("{reference} {platform:?}")
    }

    /// Returns all images, the newest first.
    pub fn list(&self) -> Result<Vec<Image>, EngineError> {
        todo!()
    }

    /// Makes `target` lead to the image that `source` names.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), EngineError> {
        todo!("{source} {target}")
    }

    /// Removes a reference, and the image with the last one. With `force`, all references of an id, and images that
    /// stopped containers use. Without `prune`, untagged parents stay.
    pub fn remove(&self, text: &str, force: bool, prune: bool) -> Result<Vec<Removed>, EngineError> {
        todo!("{text} {force} {prune}")
    }

    /// Removes dangling images (with `all`, every image that no container uses). Returns what went and the bytes.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<(Vec<Removed>, u64), EngineError> {
        todo!("{all} {filters:?}")
    }

    /// Reads images from an archive (docker-archive or OCI layout, any compression).
    pub fn load(&self, archive: &mut dyn Read) -> Result<Vec<store::Loaded>, EngineError> {
        todo!("{}", archive.read(&mut []).is_ok())
    }

    /// Writes images, named as users name them, into one archive.
    pub fn save(&self, names: &[String], into: &mut dyn Write) -> Result<(), EngineError> {
        todo!("{names:?} {}", into.flush().is_ok())
    }

    /// Makes an image from a root filesystem's tar; `changes` are Dockerfile instructions (`CMD …`).
    pub fn import(
        &self,
        tar: &mut dyn Read,
        reference: Option<&Reference>,
        changes: &[String],
        message: &str,
        platform: Option<&Platform>,
    ) -> Result<Image, EngineError> {
        todo!(
            "{reference:?} {changes:?} {message} {platform:?} {}",
            tar.read(&mut []).is_ok()
        )
    }
}
