//! `load`, `save`, `import`: images as archives.

use super::{Image, Images, LayerProgress, Loaded};
use crate::{EngineError, durable, events};
use oci::{Digest, ImageConfig, Platform, Reference};
use std::io::{Read, Write};
use store::{Parcel, ParcelContent};

impl Images<'_> {
    /// Reads images from an archive (docker-archive or OCI layout, any compression).
    ///
    /// With `platforms`, only images for one of these.
    pub fn load(&self, archive: &mut dyn Read, platforms: &[Platform]) -> Result<Vec<Loaded>, EngineError> {
        self.load_watched(archive, platforms, &|_| {})
    }

    /// Like [`Images::load`], and tells of each layer that was not here before.
    pub fn load_watched(
        &self,
        archive: &mut dyn Read,
        platforms: &[Platform],
        watch: &dyn Fn(LayerProgress<'_>),
    ) -> Result<Vec<Loaded>, EngineError> {
        let loaded = self.engine.store.load_watched(archive, platforms, watch)?;
        durable::sync_behind(self.engine);
        for one in &loaded {
            let id = one.id.to_string();
            events::image(self.engine, "load", &id, &id, one.image.as_ref())?;
        }
        Ok(loaded)
    }

    /// Writes images, named as users name them, into one archive. A name without a tag means all of its repository's
    /// tags, as with Docker; an id brings no name along. Without platforms all those are written that are here.
    pub fn save(
        &self,
        names: &[String],
        platforms: &[Platform],
        into: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let mut parcels: Vec<Parcel> = Vec::new();
        for name in names {
            for parcel in self.named(name, platforms)? {
                match parcels.iter_mut().find(|known| key(known) == key(&parcel)) {
                    Some(known) => {
                        known.references.extend(parcel.references);
                        known.references.sort();
                        known.references.dedup();
                    }
                    None => parcels.push(parcel),
                }
            }
        }
        self.engine.store.save_parcels(&parcels, into)?;
        for parcel in &parcels {
            let image = match &parcel.content {
                ParcelContent::Artifact(_) => None,
                ParcelContent::Image(image) => Some(image.as_ref()),
                ParcelContent::Index(images, _) => images.first(),
            };
            if let Some(image) = image {
                let id = image.id.to_string();
                events::image(self.engine, "save", &id, &id, Some(image))?;
            }
        }
        Ok(())
    }

    /// Finds what one name means.
    fn named(self, name: &str, platforms: &[Platform]) -> Result<Vec<Parcel>, EngineError> {
        if let Ok(reference) = name.parse::<Reference>()
            && reference.digest().is_none()
            && !name.rsplit('/').next().unwrap_or(name).contains(':')
        {
            let repository = reference.name();
            let mut tags: Vec<Reference> = self.list()?.into_iter().flat_map(|image| image.tags).collect();
            tags.extend(self.artifacts()?.into_iter().flat_map(|artifact| artifact.tags));
            tags.retain(|tag| tag.name() == repository);
            if !tags.is_empty() {
                return tags
                    .iter()
                    .map(|tag| self.parcel(&tag.to_string(), platforms))
                    .collect();
            }
        }
        Ok(vec![self.parcel(name, platforms)?])
    }

    fn parcel(self, name: &str, platforms: &[Platform]) -> Result<Parcel, EngineError> {
        let reference: Option<Reference> = name.parse().ok();
        if let Some(artifact) = self.find_artifact(name)? {
            let references = reference.filter(|reference| artifact.tags.contains(reference));
            return Ok(Parcel {
                references: references.into_iter().collect(),
                content: ParcelContent::Artifact(artifact),
            });
        }
        let image = self.find(name)?;
        let index = match &reference {
            Some(reference) => self.engine.store.index_by_reference(reference)?,
            None => None,
        };
        let index = index.filter(|index| index.members.iter().any(|member| member.image == Some(image.id)));
        let references = reference.filter(|reference| image.tags.contains(reference));
        // The one for this machine first.
        let mut images = vec![image];
        if platforms.is_empty() {
            for id in index.iter().flat_map(|index| &index.members) {
                if let Some(id) = id.image.filter(|id| images.iter().all(|known| known.id != *id)) {
                    images.extend(self.engine.store.image_by_id(&id)?);
                }
            }
        } else {
            images.clear();
            for platform in platforms {
                let found = self.find_for(name, Some(platform))?;
                if images.iter().all(|known| known.id != found.id) {
                    images.push(found);
                }
            }
        }
        let whole = index.filter(|index| platforms.is_empty() && index.is_whole());
        let content = match (images.pop(), images.is_empty(), whole) {
            (Some(only), true, None) => ParcelContent::Image(Box::new(only)),
            (last, _, whole) => {
                images.extend(last);
                ParcelContent::Index(images, whole)
            }
        };
        Ok(Parcel {
            content,
            references: references.into_iter().collect(),
        })
    }

    /// Makes an image from a root filesystem's tar; `changes` are Dockerfile instructions (`CMD …`).
    pub fn import(
        &self,
        tar: &mut dyn Read,
        reference: Option<&Reference>,
        changes: &[String],
        message: &str,
        platform: Option<&Platform>,
    ) -> Result<Image, EngineError> {
        let platform = platform.cloned().unwrap_or_else(Platform::host);
        let mut config = ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            ..ImageConfig::default()
        };
        builder::apply_changes(&mut config, changes).map_err(Box::new)?;
        let image = self.engine.store.import(tar, config, message, reference)?;
        durable::sync_behind(self.engine);
        let id = image.id.to_string();
        if let Some(reference) = reference {
            events::image(self.engine, "tag", &id, &reference.familiar(), Some(&image))?;
        }
        events::image(self.engine, "import", &id, &id, Some(&image))?;
        Ok(image)
    }
}

/// What makes two parcels the same, apart from their names.
fn key(parcel: &Parcel) -> Vec<Digest> {
    match &parcel.content {
        ParcelContent::Artifact(artifact) => vec![artifact.digest],
        ParcelContent::Image(image) => vec![image.id],
        ParcelContent::Index(images, _) => images.iter().map(|image| image.id).collect(),
    }
}
