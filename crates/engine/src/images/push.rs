//! `push`: from the store to a registry. What came from a registry goes back byte for byte; what was made here is
//! compressed while it is sent, and remembered, so that the next push has nothing to do.

use super::push_content::{Bytes, FileContent, GrowingContent, Sending};
use super::{Artifact, Image, Images, Index};
use crate::{EngineError, durable, events};
use oci::{Compression, Digest, LayerMediaType, Manifest, MediaType, Platform, Reference, descriptor_digest};
use registry::{Client, Content, Landed, RegistryError, Target};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Gzip, Layer, Lease, NewImage};

/// Layers that are sent at once, as many as Docker sends.
const PARALLEL_UPLOADS: usize = 5;
/// Repositories of which a layer is asked for, before it is sent.
const MOST_SOURCES: usize = 3;
/// Repositories that one token is asked for, apart from the one that is pushed to.
const MOST_TOKEN_SOURCES: usize = 8;
/// Layers of up to this size are compressed before anything is sent, so that the registry can be asked for them first.
const COMPRESSED_FIRST: u64 = 1 << 20;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// What happens while an image is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// A line for people: `latest: digest: sha256:… size: 528`.
    Status {
        /// The line.
        message: String,
    },
    /// So much of a layer has been sent. The first event of each layer comes with `done` 0, topmost first.
    Layer {
        /// Short id: 12 digits of its `diff_id`.
        id: String,
        /// Bytes sent.
        done: u64,
        /// Bytes of the whole; 0 while that is not known.
        total: u64,
    },
    /// A layer is there.
    LayerDone {
        /// Short id.
        id: String,
        /// `Pushed`, `Layer already exists`, `Mounted from …`, `Skipped foreign layer`.
        outcome: String,
    },
}

/// What a push came to.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
}

/// One layer as it goes out.
#[derive(Debug, Clone)]
struct Part {
    layer: Layer,
    blob: Option<Known>,
    /// Its type says that it is not to be pushed.
    foreign: bool,
}

/// An image's manifest as a registry or an archive had it.
#[derive(Debug)]
struct AsItCame {
    media_type: String,
    raw: Vec<u8>,
    config: Digest,
    parts: Vec<Part>,
}

/// A blob whose digest is known.
#[derive(Debug, Clone)]
struct Known {
    digest: Digest,
    size: u64,
    media_type: String,
}

/// A layer that has landed.
#[derive(Debug, Clone)]
struct Delivered {
    blob: Known,
}

impl Images<'_> {
    /// Sends the image that `reference` names to its registry, under that name.
    pub fn push(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Pushed, EngineError> {
        let cargo = self.to_push(reference, platform, progress)?;
        let mut pushed = self.push_all(&[(reference.clone(), cargo)], progress)?;
        pushed
            .pop()
            .ok_or_else(|| super::find::not_found(&reference.familiar()))
    }

    /// Sends all tags of a repository.
    pub fn push_all_tags(
        &self,
        repository: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Vec<Pushed>, EngineError> {
        let name = repository.name();
        let mut references: Vec<Reference> = Vec::new();
        for image in self.list()? {
            references.extend(image.tags);
        }
        for artifact in self.artifacts()? {
            references.extend(artifact.tags);
        }
        references.retain(|tag| tag.name() == name);
        references.sort();
        if references.is_empty() {
            return Err(EngineError::Invalid {
                message: format!(
                    "an image does not exist locally with the tag: {}",
                    repository.familiar_name()
                ),
                hint: Some("'images' lists what is here".into()),
            });
        }
        let all = references
            .into_iter()
            .map(|reference| {
                let cargo = self.to_push(&reference, platform, progress)?;
                Ok((reference, cargo))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        self.push_all(&all, progress)
    }

    fn push_all(
        self,
        all: &[(Reference, Cargo)],
        progress: &dyn Fn(PushEvent),
    ) -> Result<Vec<Pushed>, EngineError> {
        let Some((first, _)) = all.first() else {
            return Ok(Vec::new());
        };
        let client = self.engine.registry_client()?;
        progress(PushEvent::Status {
            message: format!("The push refers to repository [{}]", first.name()),
        });
        let lease = self.engine.store.lease()?;
        let gzip = Mutex::new(None);
        let mut done = Vec::new();
        for (reference, cargo) in all {
            let truck = Truck {
                images: self,
                client: &client,
                reference,
                lease: &lease,
                gzip: &gzip,
            };
            let tag = reference.tag().unwrap_or("latest");
            let (pushed, image) = match cargo {
                Cargo::Image(image) => (truck.send(image, Some(tag), progress)?, Some(image.as_ref())),
                Cargo::Index(index) => (truck.send_index(index, tag, progress)?, None),
                Cargo::Artifact(artifact) => {
                    let named = (artifact, Some(tag));
                    (
                        self.send_artifact(&client, reference, named, &lease, progress)?,
                        None,
                    )
                }
            };
            let (object, name) = (reference.familiar(), reference.familiar_name());
            events::image(self.engine, "push", &object, &name, image)?;
            progress(PushEvent::Status {
                message: format!(
                    "{}: digest: {} size: {}",
                    reference.tag().unwrap_or_default(),
                    pushed.digest,
                    pushed.size
                ),
            });
            done.push(pushed);
        }
        durable::sync_behind(self.engine);
        Ok(done)
    }

    /// For each layer, other repositories of the same registry that should have it, because images here that have the
    /// layer are known there.
    fn sources(
        self,
        reference: &Reference,
        image: &Image,
    ) -> Result<BTreeMap<Digest, Vec<String>>, EngineError> {
        let mut sources: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for other in self.list()? {
            let repositories: BTreeSet<&str> = other
                .repository_digests
                .iter()
                .filter(|known| known.registry() == reference.registry())
                .map(Reference::repository)
                .filter(|repository| *repository != reference.repository())
                .collect();
            if repositories.is_empty() {
                continue;
            }
            for layer in &image.layers {
                if !other.layers.iter().any(|known| known.diff_id == layer.diff_id) {
                    continue;
                }
                let known = sources.entry(layer.diff_id).or_default();
                for repository in &repositories {
                    if known.len() < MOST_SOURCES && !known.iter().any(|known| known == repository) {
                        known.push((*repository).to_owned());
                    }
                }
            }
        }
        Ok(sources)
    }
}

/// What a name leads to, and how it goes out.
#[derive(Debug)]
pub(super) enum Cargo {
    Artifact(Artifact),
    /// One image, under the name itself.
    Image(Box<Image>),
    /// All that an index lists, and the index.
    Index(Index),
}

/// What takes things to one name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truck<'a> {
    pub(super) images: Images<'a>,
    pub(super) client: &'a Client,
    pub(super) reference: &'a Reference,
    pub(super) lease: &'a Lease,
    /// Started for the first layer that is compressed.
    gzip: &'a Mutex<Option<Arc<Gzip>>>,
}

impl Truck<'_> {
    /// Sends an image under a tag, or without one by its digest, and then exactly as it came.
    pub(super) fn send(
        self,
        image: &Image,
        tag: Option<&str>,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Pushed, EngineError> {
        let sources = self.images.sources(self.reference, image)?;
        let token_sources: BTreeSet<String> = sources.values().flatten().cloned().collect();
        let target = self.client.target(
            self.reference,
            token_sources.into_iter().take(MOST_TOKEN_SOURCES).collect(),
        );
        let push = Push {
            images: self.images,
            client: self.client,
            target,
            reference: self.reference,
            tag,
            image,
            sources,
            lease: self.lease,
            gzip: self.gzip,
        };
        push.run(progress)
    }
}

/// One image on its way out.
struct Push<'a> {
    images: Images<'a>,
    client: &'a Client,
    target: Target,
    reference: &'a Reference,
    /// None: it goes by its digest, for an index.
    tag: Option<&'a str>,
    image: &'a Image,
    sources: BTreeMap<Digest, Vec<String>>,
    lease: &'a Lease,
    gzip: &'a Mutex<Option<Arc<Gzip>>>,
}

impl Push<'_> {
    fn run(&self, progress: &dyn Fn(PushEvent)) -> Result<Pushed, EngineError> {
        if let Some(came) = self.as_it_came()? {
            match self.layers(&came.parts, progress) {
                Ok(_) => return self.finish(&came.media_type, &came.raw, &came.config),
                // A blob that is not here any more, and not there either.
                Err(error) if super::push_content::is_missing(&error) => {
                    progress(PushEvent::Status {
                        message: format!(
                            "Part of what {} came with is not here any more: its digest will be another one",
                            self.reference.familiar()
                        ),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let parts = self
            .image
            .layers
            .iter()
            .map(|layer| {
                Ok(Part {
                    layer: layer.clone(),
                    blob: self.kept(layer)?,
                    foreign: false,
                })
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        let delivered = self.layers(&parts, progress)?;
        let layers: Vec<Value> = delivered
            .iter()
            .map(|Delivered { blob }| {
                json!({ "mediaType": blob.media_type, "digest": blob.digest, "size": blob.size })
            })
            .collect();
        let raw = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": self.image.id,
                "size": self.image.raw_config.len(),
            },
            "layers": layers,
        })
        .to_string()
        .into_bytes();
        self.finish(MANIFEST_TYPE, &raw, &self.image.id)
    }

    /// Returns the manifest that the image came with, and the layers as it names them.
    fn as_it_came(&self) -> Result<Option<AsItCame>, EngineError> {
        let store = &self.images.engine.store;
        let Some(digest) = self.image.manifest else {
            return Ok(None);
        };
        let Some(raw) = store.read_blob(&digest, oci::MAX_MANIFEST_BYTES as u64)? else {
            return Ok(None);
        };
        let Ok(Manifest::Image(manifest)) = Manifest::parse(&raw, None) else {
            return Ok(None);
        };
        if manifest.layers().len() != self.image.layers.len() {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for (layer, descriptor) in self.image.layers.iter().zip(manifest.layers()) {
            let Ok(digest) = descriptor_digest(descriptor) else {
                return Ok(None);
            };
            // Keeps it from garbage collection if it is here; the registry may have it if not.
            store.find_blob(self.lease, &digest)?;
            parts.push(Part {
                layer: layer.clone(),
                blob: Some(Known {
                    digest,
                    size: descriptor.size(),
                    media_type: descriptor.media_type().to_string(),
                }),
                foreign: LayerMediaType::recognise(descriptor.media_type()).is_some_and(|kind| kind.foreign),
            });
        }
        let Ok(config) = descriptor_digest(manifest.config()) else {
            return Ok(None);
        };
        Ok(Some(AsItCame {
            media_type: Manifest::Image(manifest).media_type().to_string(),
            raw,
            config,
            parts,
        }))
    }

    /// Returns a compressed blob of a layer that is here, under its OCI type.
    fn kept(&self, layer: &Layer) -> Result<Option<Known>, EngineError> {
        let store = &self.images.engine.store;
        let mut found: Option<(bool, Known)> = None;
        for (digest, _, media_type) in store.layer_blobs(&layer.diff_id)? {
            let kind = LayerMediaType::recognise(&MediaType::from(media_type.as_str()));
            let (is_gzip, media_type) = match kind.filter(|kind| !kind.foreign).map(|kind| kind.compression) {
                Some(Compression::Gzip) => (true, store::LAYER_TYPE),
                Some(Compression::Zstd) => (false, "application/vnd.oci.image.layer.v1.tar+zstd"),
                Some(Compression::None) | None => continue,
            };
            // An archive's layer is recorded as plain tar whatever it was, so the digest alone tells.
            if digest == layer.diff_id || found.as_ref().is_some_and(|(better, _)| *better) {
                continue;
            }
            if let Some(size) = store.find_blob(self.lease, &digest)? {
                let known = Known {
                    digest,
                    size,
                    media_type: media_type.to_owned(),
                };
                found = Some((is_gzip, known));
            }
        }
        Ok(found.map(|(_, known)| known))
    }

    /// Sends the layers, several at once, telling `progress` on the calling thread. The first failure stops the others
    /// at their next read.
    fn layers(&self, parts: &[Part], progress: &dyn Fn(PushEvent)) -> Result<Vec<Delivered>, EngineError> {
        for part in parts.iter().rev() {
            progress(PushEvent::Layer {
                id: part.layer.diff_id.short(),
                done: 0,
                total: part.blob.as_ref().map_or(0, |blob| blob.size),
            });
        }
        // The same layer twice is sent once.
        let mut first: BTreeMap<Digest, usize> = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            first.entry(part.layer.diff_id).or_insert(index);
        }
        let work: Vec<usize> = first.values().copied().collect();
        let next = AtomicUsize::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let results: Mutex<BTreeMap<usize, Result<Delivered, EngineError>>> = Mutex::default();
        let (events, told) = channel();
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_UPLOADS.min(work.len()) {
                let events = events.clone();
                scope.spawn(|| {
                    let events = events;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(index) = work.get(index).copied() else {
                            return;
                        };
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let result = self.layer(&parts[index], &stop, &events);
                        let failed = result.is_err();
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(index, result);
                        if failed {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
            drop(events);
            // Ends when the last thread has dropped its end.
            told.into_iter().for_each(progress);
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut delivered = BTreeMap::new();
        let mut stopped = None;
        for (index, result) in results {
            match result {
                Ok(done) => {
                    delivered.insert(parts[index].layer.diff_id, done);
                }
                // What another's failure stopped has nothing to say.
                Err(error) if super::push_content::is_stopped(&error) => stopped = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = stopped {
            return Err(error);
        }
        parts
            .iter()
            .map(|part| {
                delivered
                    .get(&part.layer.diff_id)
                    .cloned()
                    .ok_or_else(|| super::find::not_found(&part.layer.diff_id.to_string()))
            })
            .collect()
    }

    fn layer(
        &self,
        part: &Part,
        stop: &Arc<AtomicBool>,
        events: &Sender<PushEvent>,
    ) -> Result<Delivered, EngineError> {
        let id = part.layer.diff_id.short();
        let done = |outcome: String| {
            let event = PushEvent::LayerDone {
                id: id.clone(),
                outcome,
            };
            // The thread that pushes listens until the last layer is through.
            events.send(event).unwrap_or_default();
        };
        if let (true, Some(blob)) = (part.foreign, &part.blob) {
            done("Skipped foreign layer".into());
            return Ok(Delivered { blob: blob.clone() });
        }
        let sources = self.sources.get(&part.layer.diff_id).cloned().unwrap_or_default();
        let sending = Sending::new(id.clone(), Arc::clone(stop), events.clone());
        let (landed, blob) = match &part.blob {
            Some(blob) => {
                let file = self.images.engine.store.open_blob(&blob.digest)?;
                let content = FileContent::new(file, blob.digest, blob.size, sending);
                let landed = self.client.push_blob(&self.target, Arc::new(content), sources)?;
                (landed, blob.clone())
            }
            None => self.compressed(&part.layer, sources, sending)?,
        };
        done(match landed {
            Landed::Existed => "Layer already exists".into(),
            Landed::Mounted(from) => format!("Mounted from {from}"),
            Landed::Uploaded => "Pushed".into(),
        });
        Ok(Delivered { blob })
    }

    /// Compresses a layer and sends it, both at once.
    fn compressed(
        &self,
        layer: &Layer,
        sources: Vec<String>,
        sending: Sending,
    ) -> Result<(Landed, Known), EngineError> {
        let store = &self.images.engine.store;
        store.find_layer(self.lease, &layer.diff_id)?;
        let gzip = self.compressor()?;
        let content = Arc::new(GrowingContent::new(store.begin_layer_blob(self.lease)?, sending));
        let known = |(digest, size)| Known {
            digest,
            size,
            media_type: store::LAYER_TYPE.to_owned(),
        };
        if layer.size <= COMPRESSED_FIRST {
            let made = store.compress_layer(self.lease, layer, content.growing(), &gzip)?;
            let landed = self.client.push_blob(&self.target, content, sources)?;
            return Ok((landed, known(made)));
        }
        std::thread::scope(|scope| {
            let growing = Arc::clone(&content);
            let making = scope.spawn(move || {
                let ending = growing.ending();
                let made = store.compress_layer(self.lease, layer, growing.growing(), &gzip);
                drop(ending);
                made
            });
            let landed =
                self.client
                    .push_blob(&self.target, Arc::clone(&content) as Arc<dyn Content>, sources);
            if landed.is_err() {
                content.growing().give_up();
            }
            let made = making
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (landed, made) {
                (Ok(landed), Ok(made)) => Ok((landed, known(made))),
                // What could not be made could not be sent either.
                (Err(RegistryError::Content { .. }), Err(error)) if !content.is_stopped() => {
                    Err(error.into())
                }
                (Err(error), _) => Err(error.into()),
                (Ok(_), Err(error)) => Err(error.into()),
            }
        })
    }

    fn compressor(&self) -> Result<Arc<Gzip>, EngineError> {
        let mut slot = self.gzip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gzip) = slot.as_ref() {
            return Ok(Arc::clone(gzip));
        }
        let started = Gzip::new().map_err(|error| sys::SysError::io("start a thread", "gzip", &error))?;
        let gzip = Arc::new(started);
        *slot = Some(Arc::clone(&gzip));
        Ok(gzip)
    }

    /// Sends the configuration and the manifest, and remembers under which digest the registry has the image.
    fn finish(&self, media_type: &str, raw: &[u8], config: &Digest) -> Result<Pushed, EngineError> {
        let store = &self.images.engine.store;
        if *config == self.image.id {
            let content = Bytes::new(self.image.id, self.image.raw_config.clone());
            self.client
                .push_blob(&self.target, Arc::new(content), Vec::new())?;
        }
        let digest = store.put_blob(self.lease, raw)?;
        let to = self.tag.map_or_else(|| digest.to_string(), str::to_owned);
        self.client.push_manifest(&self.target, &to, media_type, raw)?;
        let layers: Vec<_> = self.image.layers.iter().map(|layer| layer.id.clone()).collect();
        let known = self.reference.with_digest(digest);
        store.record_image(&NewImage {
            raw_config: &self.image.raw_config,
            manifest: Some(digest),
            layers: &layers,
            parent: None,
            tags: &[],
            // In an index it is known by the index's digest.
            repository_digest: self.tag.is_some().then_some(&known),
        })?;
        Ok(Pushed {
            digest,
            size: raw.len() as u64,
        })
    }
}
