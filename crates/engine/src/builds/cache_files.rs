//! The build cache in files: `--cache-to` and `--cache-from` with `type=local`.
//!
//! A directory is an OCI layout whose manifest lists the steps' layers, and whose configuration says by which keys the
//! steps are found. Keys are made of digests alone and so are the same on every machine. Whoever writes such a
//! directory says what a build with it makes: take it only from whom you would take the image.

use super::Builds;
use crate::{EngineError, durable};
use builder::StepReport;
use oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType};
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};
use state::StateError;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use store::{Layer, LayoutOptions};
use sys::SysError;

/// The type of the document that lists the steps.
const STEPS_TYPE: &str = "application/vnd.coracle.build-steps.v1+json";
/// Steps of a cache are many, and their inputs name files.
const LARGEST: u64 = 256 << 20;
const LARGEST_INDEX: u64 = 4 << 20;

/// What is kept of a step.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptStep {
    key: String,
    /// The digest of its layer's tar, if it has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff_id: Option<String>,
    /// The digest of the blob that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    summary: String,
    seconds: f64,
    inputs: serde_json::Value,
}

impl Builds<'_> {
    /// Writes the steps of a build into a directory. With `all`, those of all stages, else those whose layers the image
    /// has. Steps that are in the directory by an earlier build, and not in this one, are forgotten there.
    pub fn export_cache(
        &self,
        reports: &[StepReport],
        image: &Digest,
        all: bool,
        options: &LayoutOptions,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let store = &self.engine.store;
        let lease = store.lease()?;
        let image = self.image(image)?;
        let is_wanted = |report: &&StepReport| {
            all || report
                .layer
                .as_ref()
                .is_none_or(|layer| image.layers.iter().any(|own| own.diff_id == layer.diff_id))
        };
        let reports: BTreeMap<String, &StepReport> = reports
            .iter()
            .filter(is_wanted)
            .map(|report| (report.key.to_string(), report))
            .collect();
        let mut layers: Vec<Layer> = Vec::new();
        for report in reports.values() {
            if let Some(layer) = &report.layer
                && let Some(layer) = store.find_layer(&lease, &layer.diff_id)?
            {
                layers.push(layer);
            }
        }
        let inputs = self.inputs(reports.keys())?;
        sys::fs::create_directories(directory, 0o755)?;
        let mut document = |blobs: &BTreeMap<Digest, Digest>| {
            let steps: Vec<KeptStep> = reports
                .iter()
                .map(|(key, report)| {
                    let diff_id = report.layer.as_ref().map(|layer| layer.diff_id);
                    let blob = diff_id.and_then(|diff_id| blobs.get(&diff_id));
                    KeptStep {
                        key: key.clone(),
                        diff_id: diff_id.map(|digest| digest.to_string()),
                        blob: blob.map(ToString::to_string),
                        summary: report.summary.clone(),
                        seconds: report.seconds,
                        inputs: inputs.get(key).cloned().unwrap_or_default(),
                    }
                })
                .collect();
            // Strings, numbers and documents that were read as such: this cannot fail.
            (
                STEPS_TYPE.to_owned(),
                serde_json::to_vec(&steps).unwrap_or_default(),
            )
        };
        store.write_layers(&lease, &layers, options, &mut document, directory)?;
        Ok(())
    }

    fn inputs<'k>(
        self,
        keys: impl Iterator<Item = &'k String>,
    ) -> Result<BTreeMap<String, serde_json::Value>, StateError> {
        self.engine.database.read(|connection| {
            let mut query = connection.prepare_cached("SELECT inputs FROM build_steps WHERE key = ?1")?;
            let mut found = BTreeMap::new();
            for key in keys {
                let text: Option<String> = query.query_row([key], |row| row.get(0)).optional()?;
                if let Some(inputs) = text.and_then(|text| serde_json::from_str(&text).ok()) {
                    found.insert(key.clone(), inputs);
                }
            }
            Ok(found)
        })
    }

    /// Takes steps out of a directory that [`Builds::export_cache`] has written, those that are not known here, and
    /// returns how many they were.
    pub fn import_cache(&self, directory: &Path) -> Result<usize, EngineError> {
        let not_ours = |what: &str| EngineError::Invalid {
            message: format!(
                "{} is no build cache of this program: {what}",
                directory.display()
            ),
            hint: None,
        };
        let index = sys::fs::read(&directory.join("index.json"), LARGEST_INDEX)?;
        let Ok(Manifest::Index(index)) = Manifest::parse(&index, None) else {
            return Err(not_ours("its index.json lists no manifests"));
        };
        let [entry] = &index.manifests()[..] else {
            return Err(not_ours("its index does not list one manifest"));
        };
        let manifest = blob(directory, entry, LARGEST_INDEX)?;
        let Ok(Manifest::Image(manifest)) = Manifest::parse(&manifest, None) else {
            return Err(not_ours("its manifest cannot be read"));
        };
        if manifest.config().media_type() != &MediaType::from(STEPS_TYPE) {
            return Err(not_ours("it was written by another one"));
        }
        let steps = blob(directory, manifest.config(), LARGEST)?;
        let steps: Vec<KeptStep> = serde_json::from_slice(&steps)
            .map_err(|error| not_ours(&format!("its steps cannot be read: {error}")))?;
        let store = &self.engine.store;
        let lease = store.lease()?;
        let mut taken = 0;
        let known = self.inputs(steps.iter().map(|step| &step.key))?;
        for step in steps {
            if known.contains_key(&step.key) || step.key.parse::<Digest>().is_err() {
                continue;
            }
            let layer = match (&step.diff_id, &step.blob) {
                (None, _) => None,
                (Some(diff_id), Some(digest)) => {
                    let diff_id: Digest = diff_id.parse().map_err(|_error| not_ours("a digest is none"))?;
                    let descriptor =
                        layer_of(&manifest, digest).ok_or_else(|| not_ours("a layer is missing"))?;
                    let path = path_of(directory, digest).ok_or_else(|| not_ours("a digest is none"))?;
                    Some(store.unpack_layer(&lease, descriptor, &diff_id, &mut || {
                        Ok(Box::new(File::open(&path)?) as Box<dyn std::io::Read + Send>)
                    })?)
                }
                (Some(_), None) => continue,
            };
            let now = crate::events::now();
            self.engine.database.write(|transaction| {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO build_steps (key, layer, summary, inputs, seconds, created, last_used)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                    )?
                    .execute((
                        &step.key,
                        layer.as_ref().map(|layer| layer.id.as_str()),
                        &step.summary,
                        step.inputs.to_string(),
                        step.seconds,
                        now,
                    ))?;
                Ok::<_, StateError>(())
            })?;
            taken += 1;
        }
        durable::sync_behind(self.engine);
        Ok(taken)
    }
}

fn layer_of<'m>(manifest: &'m ImageManifest, digest: &str) -> Option<&'m Descriptor> {
    manifest
        .layers()
        .iter()
        .find(|layer| layer.digest().to_string() == digest)
}

/// Returns where a blob lies; nothing for what is no digest, which could be a path.
fn path_of(directory: &Path, digest: &str) -> Option<std::path::PathBuf> {
    let digest: Digest = digest.parse().ok()?;
    Some(directory.join("blobs/sha256").join(digest.hex()))
}

/// Reads a document, and insists on its digest.
fn blob(directory: &Path, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, EngineError> {
    let digest = descriptor.digest().to_string();
    let damaged = |why: &str| EngineError::Invalid {
        message: format!(
            "the build cache in {} is damaged: {digest} {why}",
            directory.display()
        ),
        hint: Some("remove it and write it again with --cache-to".to_owned()),
    };
    let path = path_of(directory, &digest).ok_or_else(|| damaged("is no digest"))?;
    let content = match sys::fs::read(&path, limit) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => return Err(damaged("is missing")),
        content => content.map_err(|error: SysError| EngineError::from(error))?,
    };
    let found = ring::digest::digest(&ring::digest::SHA256, &content);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(found.as_ref());
    if Digest::from_sha256(bytes).to_string() != digest {
        return Err(damaged("is something else"));
    }
    Ok(content)
}
