//! `load`, `save`, `import`: images as archives.

use super::{Image, Images, Loaded};
use crate::{EngineError, durable, events};
use oci::{ImageConfig, Platform, Reference};
use std::io::{Read, Write};

impl Images<'_> {
    /// Reads images from an archive (docker-archive or OCI layout, any compression).
    ///
    /// With `platforms`, only images for one of these.
    pub fn load(&self, archive: &mut dyn Read, platforms: &[Platform]) -> Result<Vec<Loaded>, EngineError> {
        let loaded = self.engine.store.load(archive, platforms)?;
        durable::sync_behind(self.engine);
        for one in &loaded {
            let id = one.image.id.to_string();
            events::image(self.engine, "load", &id, &id, Some(&one.image))?;
        }
        Ok(loaded)
    }

    /// Writes images, named as users name them, into one archive. A name without a tag means all of its repository's
    /// tags, as with Docker; an id brings no name along.
    pub fn save(&self, names: &[String], into: &mut dyn Write) -> Result<(), EngineError> {
        let mut images: Vec<(Image, Vec<Reference>)> = Vec::new();
        for name in names {
            for (image, references) in self.named(name)? {
                match images.iter_mut().find(|(known, _)| known.id == image.id) {
                    Some((_, known)) => {
                        known.extend(references);
                        known.sort();
                        known.dedup();
                    }
                    None => images.push((image, references)),
                }
            }
        }
        self.engine.store.save(&images, into)?;
        for (image, _) in &images {
            let id = image.id.to_string();
            events::image(self.engine, "save", &id, &id, Some(image))?;
        }
        Ok(())
    }

    fn named(self, name: &str) -> Result<Vec<(Image, Vec<Reference>)>, EngineError> {
        if let Ok(reference) = name.parse::<Reference>()
            && reference.digest().is_none()
            && !name.rsplit('/').next().unwrap_or(name).contains(':')
        {
            let repository = reference.name();
            let in_repository = |image: Image| {
                let tags: Vec<_> = image
                    .tags
                    .iter()
                    .filter(|tag| tag.name() == repository)
                    .cloned()
                    .collect();
                (!tags.is_empty()).then_some((image, tags))
            };
            let images: Vec<_> = self.list()?.into_iter().filter_map(in_repository).collect();
            if !images.is_empty() {
                return Ok(images);
            }
        }
        let image = self.find(name)?;
        let references = name
            .parse()
            .ok()
            .filter(|reference| image.tags.contains(reference));
        Ok(vec![(image, references.into_iter().collect())])
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
