//! Removing build cache: all that is not needed, or so much that the rest fits.

use super::{Builds, CachedStep, LOCAL, MOUNT, STEP};
use crate::system::Filters;
use crate::{EngineError, events};
use state::StateError;
use std::collections::{BTreeMap, BTreeSet};
use sys::SysError;
use sys::lock::Lock;

/// How much build cache may stay. 0 is no bound; if all are 0, nothing stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheLimits {
    /// So many bytes may always stay (`--reserved-space`, `--keep-storage`).
    pub reserved: u64,
    /// No more than so many may stay (`--max-used-space`).
    pub most: u64,
    /// So many bytes are to be free on the disk (`--min-free-space`).
    pub least_free: u64,
}

impl CacheLimits {
    /// Returns how many of `total` bytes may stay where `free` ones are free, as BuildKit reckons; `None` where the limits
    /// say nothing.
    fn keep(&self, total: u64, free: u64) -> Option<u64> {
        if *self == Self::default() {
            return None;
        }
        let missing = self.least_free.saturating_sub(free);
        let mut keep = if self.most == 0 { u64::MAX } else { self.most };
        if missing > 0 {
            keep = keep.min(total.saturating_sub(missing));
        } else if self.most == 0 && self.least_free == 0 {
            // Nothing but what is reserved.
            keep = 0;
        }
        Some(keep.max(self.reserved))
    }
}

/// A layer that steps have made, a cache mount, or the context of a client of the API.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    what: What,
    size: u64,
    last_used: i64,
    /// Of several that were used at the same time, what was made last goes first: it stands on the others.
    created: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The id of a layer.
    Layer(String),
    /// The key of a mount.
    Mount(String),
    /// The key of a client's context.
    Context(String),
}

impl Item {
    fn kind(&self) -> &'static str {
        match self.what {
            What::Layer(_) => STEP,
            What::Mount(_) => MOUNT,
            What::Context(_) => LOCAL,
        }
    }
}

/// Chooses what goes, the least recently used first, until no more than `keep` bytes are left.
fn choose(mut items: Vec<Item>, keep: u64) -> Vec<Item> {
    let mut total: u64 = items.iter().map(|item| item.size).sum();
    items.sort_by_key(|item| (item.last_used, std::cmp::Reverse(item.created)));
    items.retain(|item| {
        let goes = total > keep && item.size > 0;
        if goes {
            total -= item.size;
        }
        goes
    });
    items
}

impl Builds<'_> {
    /// Removes build cache that no image needs; with `all` everything, so that the next build starts from its base. With
    /// limits only as much as they ask for, the least recently used first. Returns the keys of what went and the bytes
    /// given back.
    pub fn prune(
        &self,
        all: bool,
        filters: &[(String, String)],
        limits: CacheLimits,
    ) -> Result<(Vec<String>, u64), EngineError> {
        self.engine.database.make_room();
        let (kinds, filters): (Vec<_>, Vec<_>) = filters.iter().cloned().partition(|(key, _)| key == "type");
        let is_wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|(_, wanted)| wanted == kind);
        if let Some((_, unknown)) = kinds
            .iter()
            .find(|(_, kind)| ![STEP, MOUNT, LOCAL].contains(&kind.as_str()))
        {
            return Err(EngineError::Invalid {
                message: format!("there is no build cache of type '{unknown}'"),
                hint: Some(format!("write type={STEP}, type={MOUNT} or type={LOCAL}")),
            });
        }
        let filters = Filters::parse(&filters)?;
        // A step has no labels; a filter on one lets nothing through.
        let accept = |last_used| filters.accept(last_used, &BTreeMap::new());
        let pruned = if limits == CacheLimits::default() {
            self.prune_all(all, &is_wanted, &|_, last_used| accept(last_used))?
        } else {
            self.prune_down(limits, &|item| is_wanted(item.kind()) && accept(item.last_used))?
        };
        events::pruned(self.engine, "builder", pruned.1)?;
        Ok(pruned)
    }

    /// Removes like [`Builds::prune`] what `wanted` says. With limits, a layer goes that several steps have made if one of
    /// them is wanted.
    pub fn prune_those(
        &self,
        all: bool,
        wanted: &dyn Fn(&CachedStep) -> bool,
        limits: CacheLimits,
    ) -> Result<(Vec<String>, u64), EngineError> {
        self.engine.database.make_room();
        let chosen: BTreeSet<String> = self
            .cache()?
            .into_iter()
            .filter(wanted)
            .map(|step| step.key)
            .collect();
        let pruned = if limits == CacheLimits::default() {
            self.prune_all(all, &|_| true, &|key, _| chosen.contains(key))?
        } else {
            let layers = self.layers_of(&chosen)?;
            self.prune_down(limits, &|item| match &item.what {
                What::Layer(id) => layers.contains(id),
                What::Mount(key) | What::Context(key) => chosen.contains(key),
            })?
        };
        events::pruned(self.engine, "builder", pruned.1)?;
        Ok(pruned)
    }

    fn prune_all(
        self,
        all: bool,
        is_wanted: &dyn Fn(&str) -> bool,
        accept: &dyn Fn(&str, i64) -> bool,
    ) -> Result<(Vec<String>, u64), EngineError> {
        let unneeded = if all {
            "SELECT key, last_used FROM build_steps"
        } else {
            "SELECT key, last_used FROM build_steps WHERE layer IS NULL OR layer NOT IN (SELECT layer FROM image_layers)"
        };
        let mut gone = self
            .engine
            .database
            .write(|transaction| -> Result<Vec<String>, StateError> {
                let steps: Vec<(String, i64)> = transaction
                    .prepare(unneeded)?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut delete = transaction.prepare("DELETE FROM build_steps WHERE key = ?1")?;
                let mut gone = Vec::new();
                for (key, last_used) in steps.into_iter().filter(|_| is_wanted(STEP)) {
                    if accept(&key, last_used) {
                        delete.execute([&key])?;
                        gone.push(key);
                    }
                }
                Ok(gone)
            })?;
        let mut bytes = self.engine.store.collect_garbage()?.bytes;
        if is_wanted(MOUNT) {
            let mounts = self.mounts();
            for mount in mounts.list()? {
                if accept(&mount.key, mount.last_used) && mounts.remove(&mount.key)? {
                    bytes += mount.size;
                    gone.push(mount.key);
                }
            }
        }
        if is_wanted(LOCAL) {
            let contexts = self.contexts();
            for context in contexts.list()? {
                if accept(&context.key, context.last_used) && contexts.remove(&context.key)? {
                    bytes += context.size;
                    gone.push(context.key);
                }
            }
        }
        Ok((gone, bytes))
    }

    /// Removes the least recently used until what is left fits. What an image has, too, takes no space of its own: it
    /// neither counts nor goes.
    fn prune_down(
        self,
        limits: CacheLimits,
        is_wanted: &dyn Fn(&Item) -> bool,
    ) -> Result<(Vec<String>, u64), EngineError> {
        let mounts = self.mounts();
        let mut items = self.layers()?;
        items.extend(mounts.list()?.into_iter().map(|mount| Item {
            what: What::Mount(mount.key),
            size: mount.size,
            last_used: mount.last_used,
            created: mount.created,
        }));
        let contexts = self.contexts();
        items.extend(contexts.list()?.into_iter().map(|context| Item {
            what: What::Context(context.key),
            size: context.size,
            last_used: context.last_used,
            created: context.last_used,
        }));
        let total: u64 = items.iter().map(|item| item.size).sum();
        let Some(keep) = limits.keep(total, self.free()?) else {
            return Ok((Vec::new(), 0));
        };
        items.retain(is_wanted);
        // What the filters spare counts, but stays.
        let spared = total - items.iter().map(|item| item.size).sum::<u64>();
        let (mut gone, mut bytes) = (Vec::new(), 0);
        let mut layers = Vec::new();
        for Item { what, size, .. } in choose(items, keep.saturating_sub(spared)) {
            match what {
                What::Layer(id) => layers.push(id),
                What::Mount(key) => {
                    if mounts.remove(&key)? {
                        bytes += size;
                        gone.push(key);
                    }
                }
                What::Context(key) => {
                    if contexts.remove(&key)? {
                        bytes += size;
                        gone.push(key);
                    }
                }
            }
        }
        let keys = self
            .engine
            .database
            .write(|transaction| -> Result<Vec<String>, StateError> {
                let mut find = transaction.prepare("SELECT key FROM build_steps WHERE layer = ?1")?;
                let mut delete = transaction.prepare("DELETE FROM build_steps WHERE layer = ?1")?;
                let mut keys = Vec::new();
                for layer in &layers {
                    let rows = find.query_map([layer], |row| row.get(0))?;
                    keys.extend(rows.collect::<Result<Vec<String>, _>>()?);
                    delete.execute([layer])?;
                }
                Ok(keys)
            })?;
        gone.extend(keys);
        bytes += self.engine.store.collect_garbage()?.bytes;
        Ok((gone, bytes))
    }

    /// Returns the layers that some steps have made.
    fn layers_of(self, steps: &BTreeSet<String>) -> Result<BTreeSet<String>, StateError> {
        self.engine.database.read(|connection| {
            let mut query =
                connection.prepare("SELECT key, layer FROM build_steps WHERE layer IS NOT NULL")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            let all: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
            let wanted = all.into_iter().filter(|(key, _)| steps.contains(key));
            Ok(wanted.map(|(_, layer)| layer).collect())
        })
    }

    /// Returns the layers that only the cache keeps.
    fn layers(self) -> Result<Vec<Item>, StateError> {
        self.engine.database.read(|connection| {
            let mut query = connection.prepare(
                "SELECT s.layer, l.size, max(s.last_used), max(s.created)
                 FROM build_steps s JOIN layers l ON l.id = s.layer
                 WHERE NOT EXISTS (SELECT 1 FROM image_layers i WHERE i.layer = s.layer)
                 GROUP BY s.layer",
            )?;
            let rows = query.query_map([], |row| {
                let size: i64 = row.get(1)?;
                Ok(Item {
                    what: What::Layer(row.get(0)?),
                    size: size.unsigned_abs(),
                    last_used: row.get(2)?,
                    created: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns how many bytes the disk has left for us.
    fn free(self) -> Result<u64, SysError> {
        let root = &self.engine.locations().root;
        let found = rustix::fs::statvfs(root).map_err(SysError::on("look at the filesystem of", root))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Keeps others from pruning by the limit as long as it is held: a build trusts the steps that it has found.
    pub(super) fn building(self) -> Result<Option<Lock>, SysError> {
        if self.engine.config().build_cache_limit.is_none() {
            return Ok(None);
        }
        Lock::shared(&self.lock_path()).map(Some)
    }

    /// Brings the cache down to what the configuration allows, unless another build goes on: then that one will.
    pub(super) fn keep_within_limit(self) -> Result<(), EngineError> {
        let Some(limit) = self.engine.config().build_cache_limit else {
            return Ok(());
        };
        let Some(_alone) = Lock::try_exclusive(&self.lock_path())? else {
            return Ok(());
        };
        let limits = CacheLimits {
            most: limit.bytes(),
            ..CacheLimits::default()
        };
        self.prune_down(limits, &|_| true)?;
        Ok(())
    }

    fn lock_path(self) -> std::path::PathBuf {
        self.engine.locations().root.join("builds.lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_say_how_much_stays() {
        let keep = |reserved, most, least_free| {
            CacheLimits {
                reserved,
                most,
                least_free,
            }
            .keep(100, 50)
        };
        for (limits, expected) in [
            ((0, 0, 0), None),
            ((30, 0, 0), Some(30)),
            ((0, 40, 0), Some(40)),
            ((60, 40, 0), Some(60)),
            // Enough is free, so all may stay.
            ((0, 0, 50), Some(u64::MAX)),
            // 20 bytes more are to be free.
            ((0, 0, 70), Some(80)),
            ((0, 40, 70), Some(40)),
            ((0, 90, 70), Some(80)),
            ((95, 0, 70), Some(95)),
            ((0, 0, 500), Some(0)),
        ] {
            assert_eq!(keep(limits.0, limits.1, limits.2), expected, "{limits:?}");
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_stands_on_it_before_it() {
        let item = |name: &str, size, last_used, created| Item {
            what: What::Mount(name.to_owned()),
            size,
            last_used,
            created,
        };
        let items = || {
            vec![
                item("young", 10, 9, 9),
                item("base", 10, 5, 1),
                item("top", 10, 5, 2),
                item("empty", 0, 1, 1),
                item("old", 10, 2, 2),
            ]
        };
        for (keep, expected) in [
            (40, &[][..]),
            (39, &["old"]),
            (20, &["old", "top"]),
            (15, &["old", "top", "base"]),
            (0, &["old", "top", "base", "young"]),
        ] {
            let names: Vec<String> = choose(items(), keep)
                .into_iter()
                .map(|item| match item.what {
                    What::Context(name) | What::Layer(name) | What::Mount(name) => name,
                })
                .collect();
            assert_eq!(names, expected, "{keep}");
        }
    }
}
