//! Builds: the builder, given what it needs of the engine.

mod services;

use crate::system::Filters;
use crate::{Engine, EngineError, durable};
use oci::Digest;
use state::StateError;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// The builds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'e> {
    pub(crate) engine: &'e Engine,
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
        let built = builder::build(
            &self.engine.store,
            &self.engine.database,
            &services,
            build,
            events,
        );
        // A failed build, too, has finished steps that are kept.
        durable::sync_behind(self.engine);
        built.map_err(|error| Box::new(error).into())
    }

    /// Returns how many finished steps the cache remembers.
    pub fn cached_steps(&self) -> Result<u64, EngineError> {
        let count: i64 = self.engine.database.read(|connection| {
            connection
                .query_row("SELECT count(*) FROM build_steps", [], |row| row.get(0))
                .map_err(StateError::from)
        })?;
        Ok(count.unsigned_abs())
    }

    /// Removes build cache that no image needs; with `all` everything, so that the next build starts from its base.
    /// Returns the bytes given back.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<u64, EngineError> {
        let filters = Filters::parse(filters)?;
        let unneeded = if all {
            "SELECT key, last_used FROM build_steps"
        } else {
            "SELECT key, last_used FROM build_steps WHERE layer IS NULL OR layer NOT IN (SELECT layer FROM image_layers)"
        };
        self.engine
            .database
            .write(|transaction| -> Result<(), StateError> {
                let steps: Vec<(String, i64)> = transaction
                    .prepare(unneeded)?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut delete = transaction.prepare("DELETE FROM build_steps WHERE key = ?1")?;
                for (key, last_used) in steps {
                    // A step has no labels; a filter on one lets nothing through.
                    if filters.accept(last_used, &BTreeMap::new()) {
                        delete.execute([key])?;
                    }
                }
                Ok(())
            })?;
        Ok(self.engine.store.collect_garbage()?.bytes)
    }
}
