//! Builds: the builder, given what it needs of the engine.

mod cache_files;
mod explain;
mod lock;
mod outputs;
mod services;
mod verify;

pub use explain::Explanation;
pub use store::{Aspect, Difference, LayoutOptions};
pub use verify::{UnequalStep, Verification};

use crate::system::Filters;
use crate::{Engine, EngineError, durable, events};
use oci::Digest;
use state::StateError;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// The builds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'e> {
    pub(crate) engine: &'e Engine,
}

/// A finished step that the cache remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
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

impl Builds<'_> {
    /// Builds an image. `cancelled` is looked at all the time; setting it ends the build within a second.
    pub fn build(
        &self,
        build: &builder::Build,
        events: &(dyn Fn(builder::BuildEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Digest, EngineError> {
        let services = services::EngineServices {
            engine: self.engine,
            cancelled,
        };
        let (store, database) = (&self.engine.store, &self.engine.database);
        let built = match &build.lock {
            None => builder::build(store, database, &services, build, events),
            Some((file, lock)) => {
                let locked = lock::Locked { services, lock, file };
                builder::build(store, database, &locked, build, events)
            }
        };
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

    /// Returns the finished steps that the cache remembers, the last used first.
    pub fn cache(&self) -> Result<Vec<CachedStep>, EngineError> {
        let steps = self.engine.database.read(|connection| {
            let mut query = connection.prepare(
                "SELECT s.key, s.summary, s.created, s.last_used, coalesce(l.size, 0),
                        EXISTS (SELECT 1 FROM image_layers i WHERE i.layer = s.layer)
                 FROM build_steps s LEFT JOIN layers l ON l.id = s.layer ORDER BY s.last_used DESC, s.key",
            )?;
            let rows = query.query_map([], |row| {
                let size: i64 = row.get(4)?;
                Ok(CachedStep {
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
        Ok(steps)
    }

    /// Removes build cache that no image needs; with `all` everything, so that the next build starts from its base.
    /// Returns the keys of what went and the bytes given back.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<(Vec<String>, u64), EngineError> {
        let filters = Filters::parse(filters)?;
        let unneeded = if all {
            "SELECT key, last_used FROM build_steps"
        } else {
            "SELECT key, last_used FROM build_steps WHERE layer IS NULL OR layer NOT IN (SELECT layer FROM image_layers)"
        };
        let gone = self
            .engine
            .database
            .write(|transaction| -> Result<Vec<String>, StateError> {
                let steps: Vec<(String, i64)> = transaction
                    .prepare(unneeded)?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut delete = transaction.prepare("DELETE FROM build_steps WHERE key = ?1")?;
                let mut gone = Vec::new();
                for (key, last_used) in steps {
                    // A step has no labels; a filter on one lets nothing through.
                    if filters.accept(last_used, &BTreeMap::new()) {
                        delete.execute([&key])?;
                        gone.push(key);
                    }
                }
                Ok(gone)
            })?;
        let bytes = self.engine.store.collect_garbage()?.bytes;
        events::pruned(self.engine, "builder", bytes)?;
        Ok((gone, bytes))
    }
}
