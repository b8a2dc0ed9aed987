//! What a push sends: one image, or an index with all that it lists.

use super::push::{Cargo, Truck};
use super::{Image, Images, Index, PushEvent, Pushed};
use crate::EngineError;
use oci::{Digest, Manifest, Platform, Reference};
use registry::RegistryError;
use serde_json::{Value, json};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

impl Images<'_> {
    /// Finds out what a push of a name is to send: the whole index if all of it is here, else one image.
    pub(super) fn to_push(
        self,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Cargo, EngineError> {
        let store = &self.engine.store;
        if reference.digest().is_some() {
            return Err(EngineError::Invalid {
                message: "cannot push a digest reference".into(),
                hint: Some("push a tag; the registry gives it the same digest".into()),
            });
        }
        if let Some(artifact) = store.artifact_by_reference(reference)? {
            return Ok(Cargo::Artifact(artifact));
        }
        let Some(image) = store.image_by_reference(reference)? else {
            return Err(self.no_such_tag(reference)?);
        };
        let index = store.index_by_reference(reference)?;
        if let Some(platform) = platform {
            let image = self.find_for(&reference.to_string(), Some(platform))?;
            return Ok(Cargo::Image(Box::new(as_listed(image, index.as_ref()))));
        }
        let Some(index) = index else {
            return Ok(Cargo::Image(Box::new(image)));
        };
        if index.is_whole() {
            return Ok(Cargo::Index(index));
        }
        let here: Vec<&Platform> = index
            .platforms()
            .filter(|(member, _)| member.image.is_some())
            .map(|(_, platform)| platform)
            .collect();
        if here.len() > 1 {
            let here: Vec<String> = here.iter().map(ToString::to_string).collect();
            return Err(EngineError::Conflict {
                message: format!(
                    "of {} there is more than one platform here, but not all that it lists",
                    reference.familiar()
                ),
                hint: Some(format!(
                    "push one of them with --platform ({}), or fetch the others with 'pull --all-platforms'",
                    here.join(", ")
                )),
            });
        }
        progress(PushEvent::Status {
            message: format!(
                "Not all that {} lists is here: pushing the image for {} alone",
                reference.familiar(),
                image.platform
            ),
        });
        Ok(Cargo::Image(Box::new(as_listed(image, Some(&index)))))
    }

    fn no_such_tag(self, reference: &Reference) -> Result<EngineError, EngineError> {
        let name = reference.name();
        let others = self
            .list()?
            .iter()
            .any(|image| image.tags.iter().any(|tag| tag.name() == name));
        Ok(EngineError::Invalid {
            message: if others {
                format!("tag does not exist: {}", reference.familiar())
            } else {
                format!(
                    "an image does not exist locally with the tag: {}",
                    reference.familiar_name()
                )
            },
            hint: Some(format!(
                "'tag IMAGE {}' gives an image this name",
                reference.familiar()
            )),
        })
    }

    /// Puts images that were built here, one a platform, under names as one index.
    pub fn make_index(&self, images: &[Digest], tags: &[Reference]) -> Result<(), EngineError> {
        self.engine.store.record_made_index(images, tags)?;
        for tag in tags {
            for image in images {
                let known = self.engine.store.image_by_id(image)?;
                let (id, name) = (image.to_string(), tag.familiar());
                crate::events::image(self.engine, "tag", &id, &name, known.as_ref())?;
            }
        }
        Ok(())
    }

    /// Returns the index that a reference leads to, if it leads to one.
    pub fn index(&self, reference: &Reference) -> Result<Option<Index>, EngineError> {
        Ok(self.engine.store.index_by_reference(reference)?)
    }
}

/// The image with the manifest by which the index lists it: it may have been pushed under another one since.
fn as_listed(mut image: Image, index: Option<&Index>) -> Image {
    let listed = index.and_then(|index| {
        let mut members = index.members.iter();
        members.find(|member| member.image == Some(image.id) && member.platform.is_some())
    });
    if let Some(manifest) = listed.and_then(|member| member.manifest) {
        image.manifest = Some(manifest);
    }
    image
}

impl Truck<'_> {
    /// Sends all that an index lists, and then the index under a tag.
    pub(super) fn send_index(
        self,
        index: &Index,
        tag: &str,
        progress: &dyn Fn(PushEvent),
    ) -> Result<Pushed, EngineError> {
        let store = &self.images.engine.store;
        let gone = || super::find::not_found(&self.reference.familiar());
        let mut entries: Vec<Value> = Vec::new();
        let mut images = Vec::new();
        for member in &index.members {
            if let Some(id) = &member.image {
                let mut image = store.image_by_id(id)?.ok_or_else(gone)?;
                if member.manifest.is_some() {
                    image.manifest = member.manifest;
                }
                progress(PushEvent::Status {
                    message: format!("{}: image {}", image.platform, id.short()),
                });
                let pushed = self.send(&image, None, progress)?;
                if member.manifest.is_some_and(|listed| listed != pushed.digest) {
                    return Err(EngineError::Conflict {
                        message: format!(
                            "the index {} cannot be pushed as it came: the image for {} is not here as it came",
                            self.reference.familiar(),
                            image.platform
                        ),
                        hint: Some(
                            "pull it again with --all-platforms, or push one platform with --platform".into(),
                        ),
                    });
                }
                entries.push(json!({
                    "mediaType": member.media_type,
                    "digest": pushed.digest,
                    "size": pushed.size,
                    "platform": image.platform,
                }));
                images.push(*id);
            } else if let Some(manifest) = member.manifest {
                let artifact = self.images.find_artifact(&manifest.to_string())?;
                let artifact = artifact.ok_or_else(gone)?;
                self.images.send_artifact(
                    self.client,
                    self.reference,
                    (&artifact, None),
                    self.lease,
                    progress,
                )?;
            }
        }
        let raw = match &index.digest {
            Some(digest) => store
                .read_blob(digest, oci::MAX_MANIFEST_BYTES as u64)?
                .ok_or_else(gone)?,
            None => json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries })
                .to_string()
                .into_bytes(),
        };
        let unusable = |source| RegistryError::Manifest {
            reference: self.reference.familiar(),
            source,
        };
        let media_type = Manifest::parse(&raw, None).map_err(unusable)?.media_type();
        let target = self.client.target(self.reference, Vec::new());
        let digest = self
            .client
            .push_manifest(&target, tag, media_type.as_ref(), &raw)?;
        if index.digest.is_none() {
            store.put_blob(self.lease, &raw)?;
            store.complete_index(&index.id, &raw)?;
        }
        for image in images {
            store.add_repository_digest(&image, &self.reference.with_digest(digest))?;
        }
        Ok(Pushed {
            digest,
            size: raw.len() as u64,
        })
    }
}
