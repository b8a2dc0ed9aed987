//! Which images stay when room is short: `image prune --keep --until --max-size`, and the policy of the configuration
//! file, which does the same by itself whenever something has been stored.
//!
//! Docker knows dangling images and unused ones, and leaves it to cron to remove the latter, all of them at once. Here
//! images have an age: since when they have not been used. What a container stands on is never touched.

use super::{Image, Images, Removed};
use crate::containers::request::ListContainers;
use crate::{Engine, EngineError, events, size};
use jiff::SignedDuration;
use oci::Digest;
use serde::de::{Deserialize, Deserializer, Error};
use state::StateError;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which images are kept, of those that no container stands on. What several rules keep one of them suffices to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The newest so many of each repository.
    pub newest: Option<usize>,
    /// Nanoseconds since 1970: those that were used since then.
    pub used_since: Option<i64>,
    /// Bytes: as many as there is room for in a store of this size, the last used before the others.
    pub room: Option<u64>,
}

/// The same in the configuration file, `[image_policy]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagePolicy {
    /// [`Keeping::newest`].
    pub keep: Option<usize>,
    /// What was used within this time is kept: `720h`. Whatever the policy, an hour.
    #[serde(deserialize_with = "read_duration")]
    pub until: Option<SignedDuration>,
    /// [`Keeping::room`]: `50g`.
    #[serde(deserialize_with = "read_size")]
    pub max_size: Option<u64>,
}

impl fmt::Display for ImagePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [
            self.keep.map(|number| format!("keep={number}")),
            self.until.map(|age| format!("until={age:#}")),
            self.max_size.map(|bytes| format!("max_size={bytes}")),
        ];
        let rules: Vec<String> = rules.into_iter().flatten().collect();
        f.write_str(if rules.is_empty() { "keep all" } else { "" })?;
        f.write_str(&rules.join(", "))
    }
}

/// What was used so short a time ago, somebody is perhaps about to use: a policy at work in the background must not take
/// away what was pulled for a container that is yet to be made.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

fn read_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = size::bytes(&text).map_err(Error::custom)?;
    Ok(Some(bytes.unsigned_abs()))
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(Error::custom)
}

impl ImagePolicy {
    fn keeping(&self) -> Option<Keeping> {
        if *self == Self::default() {
            return None;
        }
        let age = self.until.unwrap_or(FRESH).max(FRESH);
        let nanoseconds = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        Some(Keeping {
            newest: self.keep,
            used_since: Some(events::now().saturating_sub(nanoseconds)),
            room: self.max_size,
        })
    }
}

impl Images<'_> {
    /// Removes images that no container stands on, except those that are to be kept, the longest unused first. Returns
    /// what went and the bytes given back.
    pub fn prune_except(&self, keeping: Keeping) -> Result<(Vec<Removed>, u64), EngineError> {
        let pruned = self.remove_except(keeping)?;
        events::pruned(self.engine, "image", pruned.1)?;
        Ok(pruned)
    }

    fn remove_except(self, keeping: Keeping) -> Result<(Vec<Removed>, u64), EngineError> {
        self.engine.database.make_room();
        let all = ListContainers {
            all: true,
            ..ListContainers::default()
        };
        let containers = self.engine.containers().list(&all)?;
        let in_use: BTreeSet<&Digest> = containers.iter().map(|container| &container.image).collect();
        let images = self.list()?;
        let uses = self.last_uses(&images)?;
        let newest = keeping.newest.map(|number| newest(&images, number));
        let mut candidates: Vec<(&Image, i64)> = images
            .iter()
            .filter(|image| !in_use.contains(&image.id))
            .filter(|image| newest.as_ref().is_none_or(|kept| !kept.contains(&image.id)))
            .map(|image| (image, uses.get(&image.id).copied().unwrap_or(image.created)))
            .filter(|(_, used)| keeping.used_since.is_none_or(|since| *used < since))
            .collect();
        candidates.sort_by_key(|(_, used)| *used);
        let (mut removed, mut bytes) = (Vec::new(), 0);
        let store = &self.engine.store;
        for (image, _) in candidates {
            if let Some(room) = keeping.room {
                let usage = store.usage()?;
                if usage.layers + usage.blobs <= room {
                    break;
                }
            }
            removed.extend(self.delete(image)?);
            // Each time, because what an image gives back depends on what it shares.
            if keeping.room.is_some() {
                bytes += store.collect_garbage()?.bytes;
            }
        }
        bytes += store.collect_garbage()?.bytes;
        Ok((removed, bytes))
    }

    /// Returns when each image was used last: when it or a name of it came, a container was made of it or started, or an
    /// image was built upon it.
    fn last_uses(self, images: &[Image]) -> Result<BTreeMap<Digest, i64>, EngineError> {
        let (tagged, started) = self.engine.database.read(|connection| {
            let mut by_image: Vec<(String, i64)> = Vec::new();
            for sql in [
                "SELECT image, max(updated) FROM tags WHERE image IS NOT NULL GROUP BY image",
                "SELECT image, max(created) FROM containers GROUP BY image",
            ] {
                let mut query = connection.prepare_cached(sql).map_err(StateError::from)?;
                let rows = query
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                    .map_err(StateError::from)?;
                for row in rows {
                    by_image.push(row.map_err(StateError::from)?);
                }
            }
            let mut query = connection
                .prepare_cached("SELECT image, max(started) FROM runs GROUP BY image")
                .map_err(StateError::from)?;
            let by_name = query
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(StateError::from)?
                .collect::<Result<BTreeMap<String, i64>, _>>()
                .map_err(StateError::from)?;
            Ok::<_, StateError>((by_image, by_name))
        })?;
        let mut uses: BTreeMap<Digest, i64> = images.iter().map(|image| (image.id, image.created)).collect();
        let mut note = |id: &Digest, time: i64| {
            if let Some(known) = uses.get_mut(id) {
                *known = (*known).max(time);
            }
        };
        for (id, time) in tagged {
            if let Ok(id) = id.parse::<Digest>() {
                note(&id, time);
            }
        }
        // Runs remember an image as the user wrote it.
        for (text, time) in started {
            let Ok(reference) = text.parse::<oci::Reference>() else {
                continue;
            };
            let named = images.iter().find(|image| {
                image.tags.contains(&reference) || image.repository_digests.contains(&reference)
            });
            if let Some(image) = named {
                note(&image.id, time);
            }
        }
        let own = uses.clone();
        for base in images {
            let upon = images.iter().filter(|image| stands_on(image, base));
            if let Some(time) = upon.filter_map(|image| own.get(&image.id)).max()
                && let Some(known) = uses.get_mut(&base.id)
            {
                *known = (*known).max(*time);
            }
        }
        Ok(uses)
    }
}

/// Whether an image has all of another's layers, and more.
fn stands_on(image: &Image, base: &Image) -> bool {
    image.layers.len() > base.layers.len()
        && image
            .layers
            .iter()
            .zip(&base.layers)
            .all(|(above, below)| above.id == below.id)
}

/// Returns the newest images of each repository.
fn newest(images: &[Image], number: usize) -> BTreeSet<Digest> {
    let mut repositories: BTreeMap<String, Vec<&Image>> = BTreeMap::new();
    for image in images {
        let names: BTreeSet<String> = image.tags.iter().map(oci::Reference::name).collect();
        for name in names {
            repositories.entry(name).or_default().push(image);
        }
    }
    let kept: Vec<&Image> = repositories
        .into_values()
        .flat_map(|mut images| {
            images.sort_by_key(|image| std::cmp::Reverse(image.created));
            images.into_iter().take(number)
        })
        .collect();
    // Images for other platforms stay with the one that their name leads to.
    let variants = images.iter().filter(|image| {
        kept.iter()
            .any(|kept| kept.tags.iter().any(|tag| image.variant_of.contains(tag)))
    });
    kept.iter()
        .copied()
        .chain(variants)
        .map(|image| image.id)
        .collect()
}

/// Keeps the store as the configuration wants it. Called when something has been stored; what fails here fails nobody's
/// pull or build, and is tried again after the next.
pub(crate) fn enforce(engine: &Engine) {
    let Some(keeping) = engine.config().image_policy.keeping() else {
        return;
    };
    let images = engine.images();
    if let Ok((removed, bytes)) = images.remove_except(keeping)
        && !removed.is_empty()
    {
        events::pruned(engine, "image", bytes).unwrap_or_default();
    }
}
