//! `--cache-from`: steps of builds elsewhere. A cache is opened when the build begins, and a step's layer fetched when the
//! step is about to be done.

use super::cache_document::{CACHE_TYPE, Document, KeptMount, LARGEST};
use super::cache_export::sha256;
use super::services::service_error;
use crate::{Engine, EngineError};
use builder::{CachePlace, ServiceError};
use oci::{BuildSteps, Descriptor, Digest, ImageManifest, Manifest, MediaType, Platform, Reference};
use registry::{Client, RemoteImage};
use state::StateError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Store;
use sys::SysError;
use sys::path::Tree;

const LARGEST_INDEX: u64 = 4 << 20;

/// A cache that steps come from.
#[derive(Debug)]
pub(super) struct OpenCache {
    place: CachePlace,
    steps: BTreeMap<Digest, Step>,
    mounts: Vec<(KeptMount, Descriptor)>,
    blobs: Blobs,
    /// It has turned out to be unusable, which was said.
    given_up: AtomicBool,
}

#[derive(Debug)]
struct Step {
    summary: String,
    seconds: f64,
    inputs: serde_json::Value,
    layer: Option<Kept>,
}

/// A step's layer.
#[derive(Debug)]
struct Kept {
    diff_id: Digest,
    /// The blob that holds it, unless only layers that are here count.
    blob: Option<Descriptor>,
}

/// Where blobs are had.
#[derive(Debug)]
enum Blobs {
    Directory(PathBuf),
    Registry(Box<(Client, Reference, RemoteImage)>),
    /// Nowhere: there are only the layers that are here.
    Here,
}

impl OpenCache {
    /// Opens one that [`super::Builds::export_cache`] has written into a directory.
    pub(super) fn directory(directory: &Path) -> Result<Self, EngineError> {
        let place = CachePlace::Directory(directory.to_owned());
        let index = sys::fs::read(&directory.join("index.json"), LARGEST_INDEX)?;
        let Ok(Manifest::Index(index)) = Manifest::parse(&index, None) else {
            return Err(not_ours(&place, "its index.json lists no manifests"));
        };
        let [entry] = &index.manifests()[..] else {
            return Err(not_ours(&place, "its index does not list one manifest"));
        };
        let manifest = blob(directory, entry, LARGEST_INDEX)?;
        let Ok(Manifest::Image(manifest)) = Manifest::parse(&manifest, None) else {
            return Err(not_ours(&place, "its manifest cannot be read"));
        };
        if manifest.config().media_type() != &MediaType::from(CACHE_TYPE) {
            return Err(not_ours(&place, "it was written by another one"));
        }
        let document = blob(directory, manifest.config(), LARGEST)?;
        Self::of_document(
            place,
            Blobs::Directory(directory.to_owned()),
            &manifest,
            &document,
        )
    }

    /// Opens what a registry has under a name: a cache, or an image with one in it.
    pub(super) fn registry(
        client: Client,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Self, EngineError> {
        let remote = client.resolve_any(reference, platform, LARGEST)?;
        let place = CachePlace::Registry(reference.clone());
        let manifest = remote.manifest.clone();
        let config = remote.raw_config.clone();
        let blobs = Blobs::Registry(Box::new((client, reference.clone(), remote)));
        if manifest.config().media_type() == &MediaType::from(CACHE_TYPE) {
            return Self::of_document(place, blobs, &manifest, &config);
        }
        Self::of_image(place, blobs, &config, Some(&manifest))
    }

    /// Opens an image that is here and has a cache in it.
    pub(super) fn image_here(store: &Store, reference: &Reference) -> Result<Option<Self>, EngineError> {
        let Some(image) = store.image_by_reference(reference)? else {
            return Ok(None);
        };
        let place = CachePlace::Registry(reference.clone());
        Self::of_image(place, Blobs::Here, &image.raw_config, None).map(Some)
    }

    fn of_document(
        place: CachePlace,
        blobs: Blobs,
        manifest: &ImageManifest,
        document: &[u8],
    ) -> Result<Self, EngineError> {
        let document: Document = serde_json::from_slice(document)
            .map_err(|error| not_ours(&place, &format!("its steps cannot be read: {error}")))?;
        let find = |digest: &Digest| {
            let text = digest.to_string();
            let mut layers = manifest.layers().iter();
            layers
                .find(|layer| layer.digest().to_string() == text)
                .cloned()
                .ok_or_else(|| not_ours(&place, &format!("the blob {digest} is missing")))
        };
        let mut steps = BTreeMap::new();
        for step in document.steps {
            let layer = match step.layer {
                None => None,
                Some(layer) => Some(Kept {
                    diff_id: layer.diff_id,
                    blob: Some(find(&layer.blob)?),
                }),
            };
            let known = Step {
                summary: step.summary,
                seconds: step.seconds,
                inputs: step.inputs,
                layer,
            };
            steps.insert(step.key, known);
        }
        let mut mounts = Vec::new();
        for mount in document.mounts {
            let descriptor = find(&mount.blob)?;
            mounts.push((mount, descriptor));
        }
        Ok(Self {
            place,
            steps,
            mounts,
            blobs,
            given_up: AtomicBool::new(false),
        })
    }

    fn of_image(
        place: CachePlace,
        blobs: Blobs,
        config: &[u8],
        manifest: Option<&ImageManifest>,
    ) -> Result<Self, EngineError> {
        let config: BuildSteps = serde_json::from_slice(config)
            .map_err(|error| not_ours(&place, &format!("its configuration cannot be read: {error}")))?;
        if config.build_steps.is_empty() {
            return Err(EngineError::Invalid {
                message: "the image has no build cache in it".into(),
                hint: Some("build it with --cache-to type=inline and push it again".into()),
            });
        }
        let mut steps = BTreeMap::new();
        for step in config.build_steps {
            let missing = || not_ours(&place, "it names a layer that the image does not have");
            let layer = match step.layer {
                None => None,
                Some(number) => Some(Kept {
                    diff_id: *config.rootfs.diff_ids.get(number).ok_or_else(missing)?,
                    blob: match manifest {
                        Some(manifest) => Some(manifest.layers().get(number).ok_or_else(missing)?.clone()),
                        None => None,
                    },
                }),
            };
            let known = Step {
                summary: step.summary,
                seconds: 0.0,
                inputs: serde_json::Value::Null,
                layer,
            };
            steps.insert(step.key, known);
        }
        Ok(Self {
            place,
            steps,
            mounts: Vec::new(),
            blobs,
            given_up: AtomicBool::new(false),
        })
    }

    /// Says what is in it.
    pub(super) fn note(&self) -> String {
        let mounts = match self.mounts.len() {
            0 => String::new(),
            count => format!(" and {count} cache mounts"),
        };
        format!("{} steps{mounts} to choose from", self.steps.len())
    }

    /// Says that it is not used any more, and why.
    pub(super) fn give_up(&self, error: EngineError) -> ServiceError {
        self.given_up.store(true, Ordering::Relaxed);
        ServiceError {
            message: format!("the cache in {} is not used any further", self.place),
            source: Some(Box::new(service_error(error))),
        }
    }

    /// Says whether a step is in here.
    pub(super) fn has(&self, key: &Digest) -> bool {
        self.is_usable() && self.steps.contains_key(key)
    }

    /// Says whether a cache mount is in here.
    pub(super) fn has_mount(&self, id: &str) -> bool {
        self.is_usable() && self.mounts.iter().any(|(mount, _)| mount.id == id)
    }

    /// Brings a step into the table, if it is in here.
    pub(super) fn recall(
        &self,
        engine: &Engine,
        key: &Digest,
        stop: &Arc<AtomicBool>,
    ) -> Result<bool, EngineError> {
        let Some(step) = self.steps.get(key).filter(|_| self.is_usable()) else {
            return Ok(false);
        };
        let store = &engine.store;
        let lease = store.lease()?;
        let layer = match &step.layer {
            None => None,
            Some(kept) => match (store.find_layer(&lease, &kept.diff_id)?, &kept.blob) {
                (Some(layer), _) => Some(layer),
                (None, None) => return Ok(false),
                (None, Some(blob)) => Some(store.unpack_layer(&lease, blob, &kept.diff_id, &mut || {
                    self.open(blob, stop).map_err(std::io::Error::other)
                })?),
            },
        };
        let now = crate::events::now();
        engine.database.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO build_steps (key, layer, summary, inputs, seconds, created, last_used)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                )?
                .execute((
                    key.to_string(),
                    layer.as_ref().map(|layer| layer.id.as_str()),
                    &step.summary,
                    step.inputs.to_string(),
                    step.seconds,
                    now,
                ))?;
            Ok::<_, StateError>(())
        })?;
        Ok(true)
    }

    /// Fills an empty directory with what is in here of a cache mount.
    pub(super) fn recall_mount(
        &self,
        id: &str,
        into: &Tree,
        stop: &Arc<AtomicBool>,
    ) -> Result<bool, EngineError> {
        let found = self.mounts.iter().find(|(mount, _)| mount.id == id);
        let Some((_, descriptor)) = found.filter(|_| self.is_usable()) else {
            return Ok(false);
        };
        let mut reader = Checked {
            reader: self.open(descriptor, stop)?,
            hash: ring::digest::Context::new(&ring::digest::SHA256),
        };
        super::cache_mounts::unpack(into, &mut reader)?;
        if reader.digest()?.to_string() != descriptor.digest().to_string() {
            return Err(not_ours(&self.place, "a cache mount is damaged"));
        }
        Ok(true)
    }

    fn is_usable(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed)
    }

    fn open(
        &self,
        descriptor: &Descriptor,
        stop: &Arc<AtomicBool>,
    ) -> Result<Box<dyn Read + Send>, EngineError> {
        let reader: Box<dyn Read + Send> = match &self.blobs {
            Blobs::Directory(directory) => {
                let path = path_of(directory, descriptor)
                    .ok_or_else(|| not_ours(&self.place, "a digest is none"))?;
                Box::new(File::open(&path).map_err(|error| SysError::io("open", &path, &error))?)
            }
            Blobs::Registry(remote) => {
                let (client, reference, image) = &**remote;
                client.blob(reference, image, descriptor)?
            }
            Blobs::Here => return Err(not_ours(&self.place, "it has no blobs")),
        };
        Ok(Box::new(Stoppable {
            reader,
            stop: Arc::clone(stop),
        }))
    }
}

/// A stream that ends with an error when the build is cancelled.
struct Stoppable {
    reader: Box<dyn Read + Send>,
    stop: Arc<AtomicBool>,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the build was cancelled"));
        }
        self.reader.read(buffer)
    }
}

/// A stream that knows what has gone through it.
struct Checked {
    reader: Box<dyn Read + Send>,
    hash: ring::digest::Context,
}

impl Checked {
    /// Reads to the end and returns the digest of all.
    fn digest(mut self) -> Result<Digest, SysError> {
        std::io::copy(&mut self, &mut std::io::sink())
            .map_err(|error| SysError::io("read", "a cache mount", &error))?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.hash.finish().as_ref());
        Ok(Digest::from_sha256(bytes))
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

fn not_ours(place: &CachePlace, what: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("{place} is no build cache of this program: {what}"),
        hint: None,
    }
}

/// Returns where a blob lies; nothing for what is no digest, which could be a path.
fn path_of(directory: &Path, descriptor: &Descriptor) -> Option<PathBuf> {
    let digest: Digest = descriptor.digest().to_string().parse().ok()?;
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
    let path = path_of(directory, descriptor).ok_or_else(|| damaged("is no digest"))?;
    let content = match sys::fs::read(&path, limit) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => return Err(damaged("is missing")),
        content => content?,
    };
    if sha256(&content).to_string() != digest {
        return Err(damaged("is something else"));
    }
    Ok(content)
}
