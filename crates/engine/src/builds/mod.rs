//! Builds: the builder, given what it needs of the engine.

mod cache_document;
mod cache_export;
mod cache_import;
mod cache_mounts;
mod contexts;
mod explain;
mod inputs;
mod lock;
mod outputs;
mod prune;
mod services;
mod verify;

pub use cache_export::CacheExport;
pub use contexts::KeptContext;
pub use explain::Explanation;
pub use inputs::{NamedText, dockerfile_in, ignore_file_in};
pub use prune::CacheLimits;
pub use services::DebugShell;
pub use store::{Aspect, Choice, Difference, LayoutOptions};
pub use verify::{UnequalStep, Verification};

use crate::{Engine, EngineError, durable, events};
use builder::cache_mounts::CacheMounts;
use oci::Digest;
use state::StateError;
use std::sync::atomic::AtomicBool;

/// The builds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'e> {
    pub(crate) engine: &'e Engine,
}

/// A finished step that the cache remembers, or the directory of a `RUN --mount=type=cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    /// `regular`, `exec.cachemount`, or `source.local`.
    pub kind: &'static str,
    /// Whether a build uses it just now.
    pub in_use: bool,
    /// Its key, hex digits.
    pub key: String,
    /// The instruction, for people.
    pub summary: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Nanoseconds since 1970.
    pub last_used: i64,
    /// Bytes of its layer.
    pub size: u64,
    /// Whether an image has that layer, too.
    pub shared: bool,
}

/// The kind of a step.
const STEP: &str = "regular";
/// The kind of a cache mount.
pub(crate) const MOUNT: &str = "exec.cachemount";
/// The kind of a context that a client has sent.
const LOCAL: &str = "source.local";

/// Returns the sha256 of some bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest::from_sha256(digest)
}

impl Builds<'_> {
    /// Builds an image. `cancelled` is looked at all the time; setting it ends the build within a second.
    pub fn build(
        &self,
        build: &builder::Build,
        events: &(dyn Fn(builder::BuildEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Digest, EngineError> {
        self.build_with(build, events, cancelled, None)
    }

    /// Like [`Builds::build`]; where a command fails and the build has `debug_shell`, `shell` gets the conversation with a
    /// shell in its snapshot before the build fails.
    pub fn build_with(
        &self,
        build: &builder::Build,
        events: &(dyn Fn(builder::BuildEvent) + Sync),
        cancelled: &AtomicBool,
        shell: Option<&DebugShell<'_>>,
    ) -> Result<Digest, EngineError> {
        let services = services::EngineServices {
            shell,
            ..services::EngineServices::new(self.engine, cancelled)
        };
        let building = self.building()?;
        let (store, database) = (&self.engine.store, &self.engine.database);
        let built = match &build.lock {
            None => builder::build(store, database, &services, build, events),
            Some((file, lock)) => {
                let locked = lock::Locked { services, lock, file };
                builder::build(store, database, &locked, build, events)
            }
        };
        drop(building);
        self.keep_within_limit()?;
        // A failed build, too, has finished steps that are kept.
        durable::sync_behind(self.engine);
        let built = built.map_err(Box::new)?;
        let id = built.to_string();
        let image = self.engine.store.image_by_id(&built)?;
        events::image(self.engine, "create", &id, &id, image.as_ref())?;
        for tag in &build.tags {
            events::image(self.engine, "tag", &id, &tag.familiar(), image.as_ref())?;
        }
        Ok(built)
    }

    /// Makes the build checks without building anything.
    pub fn check(&self, build: &builder::Build) -> Result<Vec<builder::Warning>, EngineError> {
        Ok(builder::call::check(&self.engine.store, build).map_err(Box::new)?)
    }

    /// Returns the finished steps that the cache remembers, and the directories of cache mounts, the last used first.
    pub fn cache(&self) -> Result<Vec<CachedStep>, EngineError> {
        let mut steps = self.engine.database.read(|connection| {
            let mut query = connection.prepare(
                "SELECT s.key, s.summary, s.created, s.last_used, coalesce(l.size, 0),
                        EXISTS (SELECT 1 FROM image_layers i WHERE i.layer = s.layer)
                 FROM build_steps s LEFT JOIN layers l ON l.id = s.layer ORDER BY s.last_used DESC, s.key",
            )?;
            let rows = query.query_map([], |row| {
                let size: i64 = row.get(4)?;
                Ok(CachedStep {
                    kind: STEP,
                    in_use: false,
                    key: row.get(0)?,
                    summary: row.get(1)?,
                    created: row.get(2)?,
                    last_used: row.get(3)?,
                    size: size.unsigned_abs(),
                    shared: row.get(5)?,
                })
            })?;
            Ok::<_, StateError>(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        steps.extend(self.mounts().list()?.into_iter().map(|mount| CachedStep {
            kind: MOUNT,
            in_use: mount.in_use,
            key: mount.key,
            summary: format!("cached mount {}", mount.id),
            created: mount.created,
            last_used: mount.last_used,
            size: mount.size,
            shared: false,
        }));
        steps.extend(self.contexts().list()?.into_iter().map(|context| CachedStep {
            kind: LOCAL,
            in_use: context.in_use,
            key: context.key,
            summary: "build context of a client".to_owned(),
            created: context.last_used,
            last_used: context.last_used,
            size: context.size,
            shared: false,
        }));
        steps.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.key.cmp(&b.key)));
        Ok(steps)
    }

    fn mounts(self) -> CacheMounts {
        CacheMounts::new(self.engine.store.cache_mounts())
    }
}

impl<'e> Builds<'e> {
    /// Unpacks a context that comes as a stream: a tar, or a Dockerfile alone.
    pub fn context_from_stream(
        self,
        input: &mut dyn std::io::Read,
    ) -> Result<builder::FetchedContext<'e>, EngineError> {
        Ok(builder::from_stream(&self.engine.store, input).map_err(Box::new)?)
    }

    /// Takes the images of a context that is an OCI image layout, one for each platform, into the store, without names.
    /// Those that are for this build alone are to be let go of with [`Builds::forget`].
    pub fn context_from_layout(
        self,
        directory: &std::path::Path,
        choice: &Choice,
    ) -> Result<Vec<(oci::Platform, Digest)>, EngineError> {
        let loaded = self.engine.store.load_layout(directory, &[], choice)?;
        let images = loaded.into_iter().filter_map(|loaded| loaded.image);
        Ok(images.map(|image| (image.platform, image.id)).collect())
    }

    /// Fetches a context by its address: a Git repository, or an archive or a Dockerfile on the web. With a lock file it
    /// is what that says.
    pub fn context_from_address(
        self,
        address: &str,
        keep_git_directory: bool,
        lock: Option<&(std::path::PathBuf, builder::Lock)>,
        cancelled: &AtomicBool,
    ) -> Result<builder::FetchedContext<'e>, EngineError> {
        let services = services::EngineServices::new(self.engine, cancelled);
        let store = &self.engine.store;
        let fetched = builder::from_address(store, &services, address, keep_git_directory, lock);
        Ok(fetched.map_err(Box::new)?)
    }
}
