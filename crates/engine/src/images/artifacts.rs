//! Artifacts: charts, signatures and whatever else registries keep that is no image. They come and go byte for byte.

use super::pull::{short_id, tag_of};
use super::push_content::{FileContent, Sending};
use super::{Artifact, Images, PullEvent, PushEvent, Pushed};
use crate::{EngineError, durable};
use oci::{Descriptor, ImageManifest, Manifest, Reference, descriptor_digest};
use registry::{Client, Landed, RegistryError};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use store::Lease;

/// An artifact with its manifest.
#[derive(Debug, Clone)]
pub struct ArtifactManifest {
    /// What the store knows of it.
    pub artifact: Artifact,
    /// The manifest's bytes.
    pub raw: Vec<u8>,
    /// The manifest, read.
    pub manifest: ImageManifest,
}

impl Images<'_> {
    /// Returns all artifacts that have a name, the newest first.
    pub fn artifacts(&self) -> Result<Vec<Artifact>, EngineError> {
        Ok(self.engine.store.artifacts()?)
    }

    /// Finds an artifact by reference, id, or unambiguous id prefix.
    pub fn find_artifact(&self, text: &str) -> Result<Option<Artifact>, EngineError> {
        if let Ok(reference) = text.parse::<Reference>() {
            let artifact = self.engine.store.artifact_by_reference(&reference)?;
            if artifact.is_some() {
                return Ok(artifact);
            }
            // A name may look like the beginning of an id.
            if self.engine.store.image_by_reference(&reference)?.is_some() {
                return Ok(None);
            }
        }
        let Some(digits) = super::find::id_digits(text) else {
            return Ok(None);
        };
        let mut found = self.engine.store.artifacts_by_prefix(digits)?;
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// Reads an artifact's manifest.
    pub fn artifact_manifest(&self, artifact: &Artifact) -> Result<ArtifactManifest, EngineError> {
        let raw = self
            .engine
            .store
            .read_blob(&artifact.digest, oci::MAX_MANIFEST_BYTES as u64)?
            .ok_or_else(|| super::find::not_found(&artifact.digest.to_string()))?;
        let unusable = |source| RegistryError::Manifest {
            reference: artifact.digest.to_string(),
            source,
        };
        match Manifest::parse(&raw, None).map_err(unusable)? {
            Manifest::Image(manifest) => Ok(ArtifactManifest {
                artifact: artifact.clone(),
                raw,
                manifest: *manifest,
            }),
            Manifest::Index(_) => Err(super::find::not_found(&artifact.digest.to_string())),
        }
    }

    /// Fetches an artifact, and says whether any of it came; `named` gives it its reference as a name.
    pub(super) fn take_artifact(
        self,
        client: &Client,
        reference: &Reference,
        named: bool,
        progress: &dyn Fn(PullEvent),
    ) -> Result<(Artifact, bool), EngineError> {
        let store = &self.engine.store;
        let (raw, digest, media_type) = client.manifest(reference)?;
        let unusable = |source| RegistryError::Manifest {
            reference: reference.familiar(),
            source,
        };
        let Manifest::Image(manifest) = Manifest::parse(&raw, media_type.as_deref()).map_err(unusable)?
        else {
            return Err(EngineError::Invalid {
                message: format!("{} is an index", reference.familiar()),
                hint: None,
            });
        };
        let known = reference.with_digest(digest);
        let tag = if named { tag_of(reference)? } else { None };
        let lease = store.lease()?;
        let mut changed = store.find_blob(&lease, &digest)?.is_none();
        if let (true, Some(tag)) = (named, &tag) {
            let before = store.artifact_by_reference(tag)?;
            changed |= before.is_none_or(|before| before.digest != digest);
        }
        for blob in blobs(&manifest) {
            let content = descriptor_digest(blob).map_err(unusable)?;
            let id = short_id(blob);
            progress(PullEvent::Layer {
                id: id.clone(),
                done: 0,
                total: blob.size(),
            });
            let existed = store.find_blob(&lease, &content)?.is_some();
            if !existed {
                let mut stream = client.artifact_blob(reference, blob)?;
                store.put_blob_from(&lease, (content, blob.size()), &mut stream)?;
                changed = true;
            }
            progress(PullEvent::LayerDone { id, existed });
        }
        store.put_blob(&lease, &raw)?;
        let artifact = store.record_artifact(&raw, tag.as_slice(), named.then_some(&known))?;
        durable::sync_behind(self.engine);
        Ok((artifact, changed))
    }

    /// Sends an artifact under a tag, or without one by its digest alone.
    pub(super) fn send_artifact(
        self,
        client: &Client,
        reference: &Reference,
        (artifact, tag): (&Artifact, Option<&str>),
        lease: &Lease,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Pushed, EngineError> {
        let store = &self.engine.store;
        let ArtifactManifest { raw, manifest, .. } = self.artifact_manifest(artifact)?;
        let sources: Vec<String> = artifact
            .repository_digests
            .iter()
            .filter(|known| known.registry() == reference.registry())
            .map(|known| known.repository().to_owned())
            .filter(|repository| repository != reference.repository())
            .collect();
        let target = client.target(reference, sources.clone());
        let (events, told) = channel();
        for blob in blobs(&manifest) {
            let digest = descriptor_digest(blob).map_err(|source| RegistryError::Manifest {
                reference: reference.familiar(),
                source,
            })?;
            let id = digest.short();
            progress(PushEvent::Layer {
                id: id.clone(),
                done: 0,
                total: blob.size(),
            });
            store.find_blob(lease, &digest)?;
            let file = store.open_blob(&digest)?;
            let sending = Sending::new(id.clone(), Arc::new(AtomicBool::new(false)), events.clone());
            let content = FileContent::new(file, digest, blob.size(), sending);
            let landed = client.push_blob(&target, Arc::new(content), sources.clone())?;
            told.try_iter().for_each(progress);
            progress(PushEvent::LayerDone {
                id,
                outcome: match landed {
                    Landed::Existed => "Already exists".into(),
                    Landed::Mounted(from) => format!("Mounted from {from}"),
                    Landed::Uploaded => "Pushed".into(),
                },
            });
        }
        let media_type = Manifest::Image(Box::new(manifest)).media_type().to_string();
        let name = tag.map_or_else(|| artifact.digest.to_string(), str::to_owned);
        let digest = client.push_manifest(&target, &name, &media_type, &raw)?;
        if tag.is_some() {
            store.record_artifact(&raw, &[], Some(&reference.with_digest(digest)))?;
        }
        Ok(Pushed {
            digest,
            size: raw.len() as u64,
        })
    }
}

fn blobs(manifest: &ImageManifest) -> impl Iterator<Item = &Descriptor> {
    std::iter::once(manifest.config()).chain(manifest.layers())
}
