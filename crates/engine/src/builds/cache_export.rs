//! `--cache-to`: the steps of a build, for builds elsewhere.

use super::Builds;
use super::cache_document::{CACHE_TYPE, Document, KeptLayer, KeptMount, KeptStep, MOUNT_TYPE};
use crate::EngineError;
use crate::images::push_content::{Bytes, FileContent, Sending};
use builder::{CachePlace, StepReport};
use oci::{Digest, Reference};
use rusqlite::OptionalExtension;
use state::StateError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use store::{ArtifactBlob, Layer, LayoutOptions, Lease};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Nanoseconds that the slowest kernels have between two ticks.
const TICK: i64 = 10_000_000;
/// Blobs that are sent at once.
const PARALLEL_UPLOADS: usize = 5;

/// How a cache is written.
#[derive(Debug, Clone)]
pub struct CacheExport {
    /// Where.
    pub place: CachePlace,
    /// Whether the steps of all stages go there, or only those whose layers the image has.
    pub all: bool,
    /// Whether the cache mounts that steps have used go there, too.
    pub mounts: bool,
    /// How layers are compressed.
    pub options: LayoutOptions,
    /// Whether layers that are here in another compressed form stay in it.
    pub as_they_are: bool,
}

impl Builds<'_> {
    /// Writes the steps of a build. Steps that are there by an earlier build, and not in this one, are forgotten there.
    /// `since` is when the build began, in nanoseconds since 1970. Returns how many steps there are.
    pub fn export_cache(
        &self,
        reports: &[StepReport],
        image: &Digest,
        since: i64,
        export: &CacheExport,
    ) -> Result<usize, EngineError> {
        let store = &self.engine.store;
        let lease = store.lease()?;
        let image = self.image(image)?;
        let is_wanted = |report: &&StepReport| {
            export.all
                || report
                    .layer
                    .as_ref()
                    .is_none_or(|layer| image.layers.iter().any(|own| own.diff_id == layer.diff_id))
        };
        let mut layers: Vec<Layer> = Vec::new();
        let mut known = BTreeSet::new();
        let reports: Vec<&StepReport> = reports.iter().filter(is_wanted).collect();
        for report in &reports {
            if let Some(layer) = &report.layer
                && known.insert(layer.diff_id)
                && let Some(layer) = store.find_layer(&lease, &layer.diff_id)?
            {
                layers.push(layer);
            }
        }
        layers.sort_by_key(|layer| layer.diff_id);
        let mut blobs = store.layer_forms(&lease, &layers, &export.options, export.as_they_are)?;
        let forms: BTreeMap<Digest, Digest> = layers
            .iter()
            .zip(&blobs)
            .map(|(layer, blob)| (layer.diff_id, blob.digest))
            .collect();
        let with_inputs = matches!(export.place, CachePlace::Directory(_));
        let mut document = Document {
            steps: self.kept_steps(&reports, &forms, with_inputs)?,
            mounts: Vec::new(),
        };
        if export.mounts {
            for (id, blob) in self.mount_blobs(&lease, since)? {
                document.mounts.push(KeptMount {
                    id,
                    blob: blob.digest,
                });
                blobs.push(blob);
            }
        }
        // Strings, numbers and documents that were read as such: this cannot fail.
        let config = serde_json::to_vec(&document).unwrap_or_default();
        match &export.place {
            CachePlace::Directory(directory) => {
                sys::fs::create_directories(directory, 0o755)?;
                store.write_artifact(&blobs, (CACHE_TYPE, &config), directory)?;
            }
            CachePlace::Registry(reference) => self.push_artifact(&lease, &blobs, &config, reference)?,
        }
        Ok(document.steps.len())
    }

    /// Returns what is kept of steps: each under all the keys that lead to its layer.
    fn kept_steps(
        self,
        reports: &[&StepReport],
        forms: &BTreeMap<Digest, Digest>,
        with_inputs: bool,
    ) -> Result<Vec<KeptStep>, StateError> {
        let mut steps = BTreeMap::new();
        self.engine.database.read(|connection| {
            let mut own = connection.prepare_cached("SELECT inputs FROM build_steps WHERE key = ?1")?;
            let mut others = connection
                .prepare_cached("SELECT key, inputs FROM build_steps WHERE layer = ?1 AND summary = ?2")?;
            for report in reports {
                let inputs: Option<String> = own
                    .query_row([report.key.to_string()], |row| row.get(0))
                    .optional()?;
                let mut keys = vec![(report.key, inputs.unwrap_or_default())];
                if let Some(layer) = &report.layer {
                    let rows = others.query_map((layer.id.as_str(), &report.summary), |row| {
                        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
                    })?;
                    for row in rows {
                        let (key, inputs) = row?;
                        keys.extend(key.parse().ok().map(|key| (key, inputs)));
                    }
                }
                let diff_id = report.layer.as_ref().map(|layer| layer.diff_id);
                let layer = diff_id.and_then(|diff_id| {
                    let blob = *forms.get(&diff_id)?;
                    Some(KeptLayer { diff_id, blob })
                });
                // A layer that is not here any more leaves nothing to be kept.
                if layer.is_some() != diff_id.is_some() {
                    continue;
                }
                for (key, inputs) in keys {
                    steps.insert(
                        key,
                        KeptStep {
                            key,
                            layer: layer.clone(),
                            summary: report.summary.clone(),
                            seconds: report.seconds,
                            inputs: with_inputs
                                .then(|| serde_json::from_str(&inputs).ok())
                                .flatten()
                                .unwrap_or_default(),
                        },
                    );
                }
            }
            Ok::<_, StateError>(())
        })?;
        Ok(steps.into_values().collect())
    }

    /// Packs the cache mounts that were used since a moment. One that a step uses just now is left out.
    fn mount_blobs(self, lease: &Lease, since: i64) -> Result<Vec<(String, ArtifactBlob)>, EngineError> {
        let mounts = self.mounts();
        // Files' times are those of the kernel's last tick.
        let since = since - TICK;
        let mut packed = Vec::new();
        for mount in mounts.list()? {
            if mount.last_used < since || mount.id.is_empty() {
                continue;
            }
            let Some(held) = mounts.hold(&mount.key)? else {
                continue;
            };
            let blob = self.engine.store.put_stream(lease, MOUNT_TYPE, &mut |into| {
                super::cache_mounts::pack(&held, into)
            })?;
            packed.push((mount.id, blob));
        }
        packed.sort_by(|(one, _), (other, _)| one.cmp(other));
        packed.dedup_by(|(one, _), (other, _)| one == other);
        Ok(packed)
    }

    /// Sends an artifact to a registry.
    fn push_artifact(
        self,
        lease: &Lease,
        blobs: &[ArtifactBlob],
        config: &[u8],
        reference: &Reference,
    ) -> Result<(), EngineError> {
        let client = self.engine.registry_client()?;
        let target = client.target(reference, Vec::new());
        let next = AtomicUsize::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let failure = Mutex::new(None);
        let work = || {
            while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody listens to the progress.
                let (events, _) = channel();
                let sending = Sending::new(blob.digest.short(), Arc::clone(&stop), events);
                let sent = self
                    .engine
                    .store
                    .open_artifact_blob(lease, blob)
                    .map_err(EngineError::from)
                    .and_then(|file| {
                        let content = FileContent::new(Some(file), blob.digest, blob.size, sending);
                        Ok(client.push_blob(&target, Arc::new(content), Vec::new())?)
                    });
                if let Err(error) = sent {
                    stop.store(true, Ordering::Relaxed);
                    // The first failure is the reason; what it has stopped has nothing to say.
                    failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_UPLOADS.min(blobs.len()) {
                scope.spawn(work);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let digest = sha256(config);
        let content = Bytes::new(digest, config.to_vec());
        client.push_blob(&target, Arc::new(content), Vec::new())?;
        let manifest = store::artifact_manifest(blobs, (CACHE_TYPE, config))?;
        let tag = reference.tag().unwrap_or("latest");
        client.push_manifest(&target, tag, MANIFEST_TYPE, &manifest)?;
        Ok(())
    }
}

/// Hashes bytes.
pub(super) fn sha256(content: &[u8]) -> Digest {
    let found = ring::digest::digest(&ring::digest::SHA256, content);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(found.as_ref());
    Digest::from_sha256(bytes)
}
