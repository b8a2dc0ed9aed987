//! The build cache: what a step is keyed by, and the layer that it made.
//!
//! A row of `build_steps` keeps its layer from garbage collection, so a layer found here needs no lease.

use crate::error::StepError;
use crate::{BuildEvent, Services, StepReport};
use oci::Digest;
use ring::digest::{Context, SHA256};
use state::{Database, StateError};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use store::{Layer, LayerId};

/// Raised when the meaning of a key changes, so that old rows are not mistaken for new ones.
const GENERATION: &str = "2";

/// Hashes the parts of a key, each with its length, so that no two lists of parts give the same bytes.
pub(crate) struct KeyHasher(Context);

impl KeyHasher {
    pub(crate) fn new(operation: &str) -> Self {
        let mut hasher = Self(Context::new(&SHA256));
        hasher.part(GENERATION).part(operation);
        hasher
    }

    pub(crate) fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(crate) fn parts(&mut self, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> &mut Self {
        let mut count = 0_u64;
        for part in parts {
            self.part(part);
            count += 1;
        }
        self.0.update(&count.to_le_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    pub(crate) fn finish(self) -> Digest {
        finish(self.0)
    }
}

/// Turns a finished hash into a digest.
pub(crate) fn finish(context: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest::from_sha256(bytes)
}

/// Returns what stands for a stack of layers in a key.
pub(crate) fn chain(layers: &[Layer]) -> Digest {
    let mut hasher = KeyHasher::new("layers");
    hasher.parts(layers.iter().map(|layer| layer.diff_id.as_bytes()));
    hasher.finish()
}

/// A step that was done before; it may have made no layer.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) layer: Option<Layer>,
}

pub(crate) struct Cache<'a> {
    database: &'a Database,
    events: &'a (dyn Fn(BuildEvent) + Sync),
    services: &'a dyn Services,
    boot: String,
    /// Whether steps of earlier builds count.
    lookups: bool,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    /// What this build has done or looked up.
    steps: HashMap<Digest, Finished>,
    used: Vec<Digest>,
}

/// The steps that this process is doing just now. Builds that run side by side, as the targets of a bake file do, have
/// many in common.
static RUNNING: Mutex<BTreeSet<Digest>> = Mutex::new(BTreeSet::new());
static ENDED: Condvar = Condvar::new();
/// How often a build that waits for another one's step looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(50);

fn running() -> MutexGuard<'static, BTreeSet<Digest>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to do a step: other stages with the same step, of this build and of others, wait for it.
pub(crate) struct Turn {
    key: Digest,
    /// Whoever is cancelled does not wait, and is about to see that by itself.
    is_ours: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_ours {
            running().remove(&self.key);
            ENDED.notify_all();
        }
    }
}

/// What is kept about a finished step besides its layer.
pub(crate) struct Record<'a> {
    pub(crate) summary: &'a str,
    pub(crate) inputs: serde_json::Value,
    pub(crate) seconds: f64,
}

impl<'a> Cache<'a> {
    pub(crate) fn new(
        database: &'a Database,
        lookups: bool,
        events: &'a (dyn Fn(BuildEvent) + Sync),
        services: &'a dyn Services,
    ) -> Result<Self, sys::SysError> {
        Ok(Self {
            database,
            events,
            services,
            boot: sys::fs::boot_id()?,
            lookups,
            done: Mutex::default(),
        })
    }

    /// Returns the step's result, or the right to do it. If somebody else is doing it just now, waits for that.
    /// Without `earlier`, results of earlier builds do not count.
    pub(crate) fn find(&self, key: &Digest, earlier: bool) -> Result<Result<Finished, Turn>, StepError> {
        let turn = self.turn(key);
        if let Some(finished) = self.lock().steps.get(key) {
            return Ok(Ok(finished.clone()));
        }
        if !(self.lookups && earlier) {
            return Ok(Err(turn));
        }
        if let Some(found) = self.look_up(key)? {
            return Ok(Ok(self.take(key, found)));
        }
        // Fetching a layer takes its time: only who wants the same step waits for it.
        if self.recall(key)
            && let Some(found) = self.look_up(key)?
        {
            return Ok(Ok(self.take(key, found)));
        }
        Ok(Err(turn))
    }

    /// Waits until nobody else does the step.
    fn turn(&self, key: &Digest) -> Turn {
        let mut running = running();
        while running.contains(key) {
            if self.services.cancelled() {
                return Turn {
                    key: *key,
                    is_ours: false,
                };
            }
            running = ENDED
                .wait_timeout(running, GLANCE)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(running, _)| running);
        }
        running.insert(*key);
        Turn {
            key: *key,
            is_ours: true,
        }
    }

    /// Says whether an instruction like this one was ever done, so that its result may be known.
    pub(crate) fn may_know(&self, summary: &str) -> Result<bool, StateError> {
        if !self.lookups {
            return Ok(false);
        }
        self.database.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM build_steps WHERE summary = ?1)")?;
            Ok(query.query_row([summary], |row| row.get(0))?)
        })
    }

    fn take(&self, key: &Digest, (finished, report): (Finished, StepReport)) -> Finished {
        (self.events)(BuildEvent::Report(Box::new(report)));
        let mut done = self.lock();
        done.steps.insert(*key, finished.clone());
        done.used.push(*key);
        finished
    }

    /// Asks the caches of `--cache-from`. One that cannot be read makes the build slower, not wrong.
    fn recall(&self, key: &Digest) -> bool {
        self.services.recall(key).unwrap_or_else(|error| {
            (self.events)(BuildEvent::Warning {
                message: crate::error::chain(&error),
                line: None,
            });
            false
        })
    }

    fn look_up(&self, key: &Digest) -> Result<Option<(Finished, StepReport)>, StateError> {
        self.database.read(|connection| {
            // A layer that may not have reached the disk before a power cut is not trusted.
            let mut query = connection.prepare_cached(
                "SELECT s.layer, l.diff_id, l.size, s.summary, s.seconds
                 FROM build_steps s LEFT JOIN layers l ON l.id = s.layer
                 WHERE s.key = ?1 AND (s.layer IS NULL
                    OR (l.diff_id IS NOT NULL AND (l.durable = 1 OR l.boot = ?2)))",
            )?;
            let mut rows = query.query((key.to_string(), &self.boot))?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let id: Option<String> = row.get(0)?;
            let layer = match id {
                None => None,
                Some(id) => {
                    let diff_id: String = row.get(1)?;
                    let size: i64 = row.get(2)?;
                    let Ok(diff_id) = diff_id.parse() else {
                        return Ok(None);
                    };
                    Some(Layer {
                        id: LayerId::from_record(id),
                        diff_id,
                        size: size.unsigned_abs(),
                    })
                }
            };
            let report = StepReport {
                summary: row.get(3)?,
                key: *key,
                cached: true,
                seconds: row.get(4)?,
                layer: layer.clone(),
                inputs: serde_json::Value::Null,
            };
            Ok(Some((Finished { layer }, report)))
        })
    }

    /// Records a step that was just done, under each of its keys.
    pub(crate) fn record(
        &self,
        keys: &[Digest],
        layer: Option<&Layer>,
        record: &Record<'_>,
    ) -> Result<(), StepError> {
        self.note(keys, layer, record)?;
        if let Some(key) = keys.first() {
            (self.events)(BuildEvent::Report(Box::new(StepReport {
                summary: record.summary.to_owned(),
                key: *key,
                cached: false,
                seconds: record.seconds,
                layer: layer.cloned(),
                inputs: record.inputs.clone(),
            })));
        }
        Ok(())
    }

    /// Notes under which keys a step's result will be found.
    pub(crate) fn note(
        &self,
        keys: &[Digest],
        layer: Option<&Layer>,
        record: &Record<'_>,
    ) -> Result<(), StepError> {
        let now = now();
        let layer_id = layer.map(|layer| layer.id.as_str());
        let inputs = record.inputs.to_string();
        self.database.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO build_steps (key, layer, summary, inputs, seconds, created, last_used)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT (key) DO UPDATE SET layer = ?2, summary = ?3, inputs = ?4, seconds = ?5, created = ?6,
                    last_used = ?6",
            )?;
            for key in keys {
                insert.execute((
                    key.to_string(),
                    &layer_id,
                    record.summary,
                    &inputs,
                    record.seconds,
                    now,
                ))?;
            }
            Ok::<_, StateError>(())
        })?;
        let mut done = self.lock();
        for key in keys {
            done.steps.insert(
                *key,
                Finished {
                    layer: layer.cloned(),
                },
            );
        }
        Ok(())
    }

    /// Notes when the steps that were found were last of use.
    pub(crate) fn mark_used(&self) -> Result<(), StateError> {
        let used = std::mem::take(&mut self.lock().used);
        if used.is_empty() {
            return Ok(());
        }
        let now = now();
        self.database.write(|transaction| {
            let mut update =
                transaction.prepare_cached("UPDATE build_steps SET last_used = ?2 WHERE key = ?1")?;
            for key in &used {
                update.execute((key.to_string(), now))?;
            }
            Ok(())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}
