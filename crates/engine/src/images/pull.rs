//! `pull`: from a registry into the store, every layer in one pass, all of them at once.

use super::{Image, Images};
use crate::{EngineError, durable, events, hello};
use oci::{Descriptor, Digest, ImageConfig, Platform, Reference, descriptor_digest};
use registry::{Client, RegistryError, RemoteImage};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use store::{LayerId, Lease, NewImage, StoreError};

/// Layers that are fetched at once. More than the cores, because a connection waits for the other side most of the
/// time; few enough that memory stays bounded.
const PARALLEL_LAYERS: usize = 6;
/// Progress is told each time that so many more bytes have come.
const PROGRESS_STEP: u64 = 256 << 10;

/// What happens while an image is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// A line for people: `latest: Pulling from library/ubuntu`.
    Status {
        /// The line.
        message: String,
    },
    /// A layer has been read up to here. The first event of each layer comes with `done` 0, in the image's order.
    Layer {
        /// Short id: 12 digits of its digest.
        id: String,
        /// Bytes read.
        done: u64,
        /// Bytes of the whole.
        total: u64,
    },
    /// A layer is complete.
    LayerDone {
        /// Short id.
        id: String,
        /// It was here already.
        existed: bool,
    },
}

/// What a pull came to.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image; none where the reference leads to an artifact.
    pub image: Option<Image>,
    /// Digest of what the reference names.
    pub digest: Digest,
    /// Whether anything was fetched.
    pub changed: bool,
}

impl Images<'_> {
    /// Fetches an image from its registry, whatever is here.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pulled, EngineError> {
        let client = self.engine.registry_client()?;
        announce(reference, progress);
        let host = Platform::host();
        if let Some(pulled) = self.unchanged(&client, reference, platform.unwrap_or(&host))? {
            return self.pulled(reference, pulled, "image", progress);
        }
        let remote = match client.resolve(reference, platform.unwrap_or(&host)) {
            Ok(remote) => remote,
            Err(error)
                if hello::is_meant_by(reference) && platform.is_none_or(|platform| *platform == host) =>
            {
                // The greeting must not depend on a network; what went wrong is said all the same.
                progress(PullEvent::Status {
                    message: format!("{error}; taking the built-in {}", hello::NAME),
                });
                let image = hello::install(&self.engine.store, reference)?.ok_or(error)?;
                let digest = image.id;
                return Ok(Pulled {
                    image: Some(image),
                    digest,
                    changed: true,
                });
            }
            Err(RegistryError::NotAnImage { .. }) => {
                let (artifact, changed) = self.take_artifact(&client, reference, true, progress)?;
                let pulled = Pulled {
                    image: None,
                    digest: artifact.digest,
                    changed,
                };
                return self.pulled(reference, pulled, "artifact", progress);
            }
            Err(error) => return Err(error.into()),
        };
        let pulled = self.take(&client, reference, &remote, progress)?;
        self.pulled(reference, pulled, "image", progress)
    }

    /// Finds out by one request whether what is here of a reference is what its registry has.
    fn unchanged(
        self,
        client: &Client,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Pulled>, EngineError> {
        let store = &self.engine.store;
        let name = tag_of(reference)?.unwrap_or_else(|| reference.clone());
        let Some(image) = store.image_for(&name, platform)? else {
            return Ok(None);
        };
        let led = match store.index_by_reference(&name)? {
            Some(index) => index.digest,
            None => image.manifest,
        };
        // What was only tagged or loaded under this name is not what a registry has.
        let known = led.filter(|led| image.repository_digests.contains(&reference.with_digest(*led)));
        let Some(known) = known else { return Ok(None) };
        // A power cut may have taken the bytes.
        if store.open_blob(&known)?.is_none() || client.digest(reference)? != Some(known) {
            return Ok(None);
        }
        Ok(Some(Pulled {
            image: Some(image),
            digest: known,
            changed: false,
        }))
    }

    /// Says what a pull came to.
    pub(super) fn pulled(
        self,
        reference: &Reference,
        pulled: Pulled,
        kind: &str,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pulled, EngineError> {
        let (object, name) = (reference.familiar(), reference.familiar_name());
        events::image(self.engine, "pull", &object, &name, pulled.image.as_ref())?;
        progress(PullEvent::Status {
            message: format!("Digest: {}", pulled.digest),
        });
        let mut named = kind.to_owned();
        named[..1].make_ascii_uppercase();
        let what = if pulled.changed {
            format!("Downloaded newer {kind}")
        } else {
            format!("{named} is up to date")
        };
        progress(PullEvent::Status {
            message: format!("Status: {what} for {}", reference.familiar()),
        });
        Ok(pulled)
    }

    /// Fetches all tags of a repository; telling `progress` of each as of a pull of its own.
    pub fn pull_all_tags(
        &self,
        repository: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Vec<Pulled>, EngineError> {
        let mut tags = self.engine.registry_client()?.tags(repository)?;
        tags.sort();
        if tags.is_empty() {
            return Err(EngineError::NotFound {
                kind: "tag",
                name: format!("any of {}", repository.familiar_name()),
            });
        }
        tags.iter()
            .map(|tag| {
                let reference = repository
                    .with_tag(tag)
                    .map_err(|error| super::find::invalid(&error))?;
                self.pull(&reference, platform, progress)
            })
            .collect()
    }

    pub(super) fn take(
        self,
        client: &Client,
        reference: &Reference,
        remote: &RemoteImage,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pulled, EngineError> {
        let store = &self.engine.store;
        let known = reference.with_digest(remote.digest);
        let tagged = tag_of(reference)?;
        let config: ImageConfig = serde_json::from_slice(&remote.raw_config)
            .map_err(|error| broken(reference, &format!("its configuration cannot be read: {error}")))?;
        let here = store.image_for(&known, &config.platform())?.filter(|image| {
            image.manifest == Some(remote.manifest_digest)
                && tagged
                    .as_ref()
                    .is_none_or(|tag| image.tags.contains(tag) || image.variant_of.contains(tag))
        });
        let changed = here.is_none();
        if let Some(image) = here {
            let listed = store.index_by_reference(tagged.as_ref().unwrap_or(&known))?;
            // What came before indexes were kept has none, and a power cut may have taken the bytes.
            let is_listed =
                listed.and_then(|index| index.digest) == remote.index.as_ref().map(|_| remote.digest);
            if is_listed
                && store.open_blob(&remote.digest)?.is_some()
                && store.open_blob(&remote.manifest_digest)?.is_some()
            {
                return Ok(Pulled {
                    image: Some(image),
                    digest: remote.digest,
                    changed,
                });
            }
        }
        if config.rootfs.diff_ids.len() != remote.layers.len() {
            let (layers, named) = (remote.layers.len(), config.rootfs.diff_ids.len());
            return Err(broken(
                reference,
                &format!("its manifest has {layers} layers, its configuration names {named}"),
            ));
        }
        let lease = store.lease()?;
        for raw in remote
            .index
            .iter()
            .chain([&remote.raw_manifest, &remote.raw_config])
        {
            store.put_blob(&lease, raw)?;
        }
        let fetch = Fetch {
            images: self,
            client,
            reference,
            remote,
            lease: &lease,
        };
        let layers = fetch.layers(&config.rootfs.diff_ids, progress)?;
        let image = NewImage {
            raw_config: &remote.raw_config,
            manifest: Some(remote.manifest_digest),
            layers: &layers,
            parent: None,
            tags: tagged.as_slice(),
            repository_digest: Some(&known),
        };
        let image = match (&remote.index, &remote.entry) {
            (Some(index), Some(entry)) => store.record_member(&image, index, entry)?,
            _ => store.record_image(&image)?,
        };
        durable::sync_behind(self.engine);
        Ok(Pulled {
            image: Some(image),
            digest: remote.digest,
            changed,
        })
    }
}

/// One image on its way.
struct Fetch<'a> {
    images: Images<'a>,
    client: &'a Client,
    reference: &'a Reference,
    remote: &'a RemoteImage,
    lease: &'a Lease,
}

impl Fetch<'_> {
    /// Fetches the layers that are not here, several at once, telling `progress` on the calling thread. The first
    /// failure stops the others at their next read.
    fn layers(&self, diff_ids: &[Digest], progress: &dyn Fn(PullEvent)) -> Result<Vec<LayerId>, EngineError> {
        for layer in &self.remote.layers {
            progress(PullEvent::Layer {
                id: short_id(layer),
                done: 0,
                total: layer.size(),
            });
        }
        let next = AtomicUsize::new(0);
        let stop = Arc::new(AtomicBool::new(false));
        let results: Mutex<Vec<Option<Result<LayerId, EngineError>>>> =
            Mutex::new(diff_ids.iter().map(|_| None).collect());
        let (events, told) = channel();
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_LAYERS.min(diff_ids.len()) {
                let events = events.clone();
                scope.spawn(|| {
                    let events = events;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= diff_ids.len() || stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let result = self.layer(index, &diff_ids[index], &stop, &events);
                        if result.as_ref().is_err_and(|error| !is_for_later(error)) {
                            stop.store(true, Ordering::Relaxed);
                        }
                        results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                    }
                });
            }
            drop(events);
            // Ends when the last thread has dropped its end.
            told.into_iter().for_each(progress);
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A layer that another's failure stopped has nothing to say: the failure that was first comes first.
        let (mut layers, mut stopped) = (Vec::with_capacity(results.len()), None);
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Some(Ok(layer)) => layers.push(layer),
                // Its blob is here; only now are all the layers below it.
                Some(Err(EngineError::Store(StoreError::NeedsParents { .. }))) if stopped.is_none() => {
                    layers.push(self.layer_over(index, &diff_ids[index], &layers)?);
                }
                Some(Err(error)) if is_stopped(&error) => stopped = Some(error),
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        stopped.map_or(Ok(layers), Err)
    }

    /// Unpacks a layer with hard links to files of the layers below it, once those are here.
    fn layer_over(
        &self,
        index: usize,
        diff_id: &Digest,
        parents: &[LayerId],
    ) -> Result<LayerId, EngineError> {
        let blob = &self.remote.layers[index];
        let store = &self.images.engine.store;
        let layer = store.unpack_layer_over(self.lease, blob, diff_id, parents, &mut || {
            self.client
                .blob(self.reference, self.remote, blob)
                .map_err(io::Error::other)
        })?;
        Ok(layer.id)
    }

    fn layer(
        &self,
        index: usize,
        diff_id: &Digest,
        stop: &Arc<AtomicBool>,
        events: &Sender<PullEvent>,
    ) -> Result<LayerId, EngineError> {
        let store = &self.images.engine.store;
        let blob = &self.remote.layers[index];
        let id = short_id(blob);
        let existed = store.find_layer(self.lease, diff_id)?;
        let done = PullEvent::LayerDone {
            id: id.clone(),
            existed: existed.is_some(),
        };
        let layer = match existed {
            Some(layer) => layer,
            None => store.unpack_layer(self.lease, blob, diff_id, &mut || {
                let stream = self
                    .client
                    .blob(self.reference, self.remote, blob)
                    .map_err(io::Error::other)?;
                Ok(Box::new(Counted {
                    stream,
                    id: id.clone(),
                    total: blob.size(),
                    done: 0,
                    told: 0,
                    stop: Arc::clone(stop),
                    events: events.clone(),
                }))
            })?,
        };
        tell(events, done);
        Ok(layer.id)
    }
}

/// Sends news to the thread that pulls; it listens until the last layer is through.
fn tell(events: &Sender<PullEvent>, event: PullEvent) {
    events.send(event).unwrap_or_default();
}

/// The text by which a layer that was stopped for another's sake is told from one that failed itself.
const STOPPED: &str = "stopped, because another layer failed";

fn is_for_later(error: &EngineError) -> bool {
    matches!(error, EngineError::Store(StoreError::NeedsParents { .. }))
}

fn is_stopped(error: &EngineError) -> bool {
    error.causes().iter().any(|cause| cause == STOPPED)
}

/// A blob's stream that tells how far it is, and ends when it is told to.
struct Counted {
    stream: Box<dyn Read + Send>,
    id: String,
    total: u64,
    done: u64,
    told: u64,
    stop: Arc<AtomicBool>,
    events: Sender<PullEvent>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(STOPPED));
        }
        let count = self.stream.read(buffer)?;
        self.done += count as u64;
        if self.done - self.told >= PROGRESS_STEP || self.done == self.total {
            self.told = self.done;
            tell(
                &self.events,
                PullEvent::Layer {
                    id: self.id.clone(),
                    done: self.done,
                    total: self.total,
                },
            );
        }
        Ok(count)
    }
}

/// The reference's tag, without a digest that may stand beside it.
pub(super) fn tag_of(reference: &Reference) -> Result<Option<Reference>, EngineError> {
    let tagged = reference.tag().map(|tag| reference.with_tag(tag)).transpose();
    tagged.map_err(|error| super::find::invalid(&error))
}

/// The 12 digits by which users see a layer. A descriptor out of a parsed manifest always has a valid digest.
pub(super) fn short_id(blob: &Descriptor) -> String {
    descriptor_digest(blob).map_or_else(|_| blob.digest().to_string(), |digest| digest.short())
}

/// Says what is being fetched.
pub(super) fn announce(reference: &Reference, progress: &dyn Fn(PullEvent)) {
    let label = reference.tag().map_or_else(
        || reference.digest().map(Digest::to_string),
        |tag| Some(tag.into()),
    );
    progress(PullEvent::Status {
        message: format!(
            "{}: Pulling from {}",
            label.unwrap_or_default(),
            shown_repository(reference)
        ),
    });
}

/// `library/ubuntu` for Docker Hub, the whole name elsewhere.
fn shown_repository(reference: &Reference) -> String {
    if reference.registry() == oci::DEFAULT_REGISTRY {
        reference.repository().to_owned()
    } else {
        reference.name()
    }
}

fn broken(reference: &Reference, why: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("the image {} is broken: {why}", reference.familiar()),
        hint: None,
    }
}
