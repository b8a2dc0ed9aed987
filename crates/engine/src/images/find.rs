//! Finding images by what users call them.

use super::{Image, Images, PullEvent};
use crate::containers::request::PullPolicy;
use crate::{EngineError, events, hello};
use oci::{Platform, Reference, ReferenceError};
use std::path::PathBuf;

/// No registry takes more (distribution specification, "Pushing Manifests").
const LONGEST_MANIFEST: u64 = 4 << 20;

impl Images<'_> {
    /// Finds an image by reference, id, or unambiguous id prefix.
    pub fn find(&self, text: &str) -> Result<Image, EngineError> {
        let reference = parse(text);
        if let Ok(reference) = &reference
            && let Some(image) = self.engine.store.image_by_reference(reference)?
        {
            return Ok(image);
        }
        if let Some(image) = self.by_id(text)? {
            return Ok(image);
        }
        if let Some(artifact) = self.find_artifact(text)? {
            return Err(EngineError::Invalid {
                message: format!("{text} is no image but an artifact of type {}", artifact.kind),
                hint: Some("it has no files to run or to build on; 'save' writes what is in it".into()),
            });
        }
        match reference {
            Ok(reference) => Err(not_found(&reference.familiar())),
            // A string of hex digits is no reference when it is a whole id.
            Err(_) if id_digits(text).is_some() => Err(not_found(text)),
            Err(error) => Err(invalid(&error)),
        }
    }

    /// Like [`Images::find`], for a platform: of a reference that leads to images for several, that one.
    pub fn find_for(&self, text: &str, platform: Option<&Platform>) -> Result<Image, EngineError> {
        let Some(platform) = platform else {
            return self.find(text);
        };
        if let Ok(reference) = parse(text)
            && let Some(image) = self.engine.store.image_for(&reference, platform)?
        {
            return Ok(image);
        }
        let other = self.find(text)?;
        if platform.accepts(&other.platform) {
            return Ok(other);
        }
        Err(EngineError::Invalid {
            message: format!(
                "image with reference {text} was found but does not provide the specified platform ({platform})"
            ),
            hint: Some(format!("the one here is for {}", other.platform)),
        })
    }

    fn by_id(self, text: &str) -> Result<Option<Image>, EngineError> {
        let Some(digits) = id_digits(text) else {
            return Ok(None);
        };
        let mut images = self.engine.store.images_by_prefix(digits)?;
        match images.len() {
            0 | 1 => Ok(images.pop()),
            many => Err(EngineError::Invalid {
                message: format!("{many} images have ids that begin with '{digits}'"),
                hint: Some("write more of the id".into()),
            }),
        }
    }

    /// Finds the image for a container or a build: here, or from its registry as `policy` says.
    ///
    /// `hello-world` that is not here comes out of this program, without a network.
    pub fn ensure(
        &self,
        text: &str,
        platform: Option<&Platform>,
        policy: PullPolicy,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Image, EngineError> {
        if policy != PullPolicy::Always {
            let here = match (self.find_for(text, platform), platform) {
                // The one that is here is for another platform.
                (Err(EngineError::Invalid { .. }), Some(_)) => self.find(text),
                (here, _) => here,
            };
            match here {
                Ok(image) if platform.is_none_or(|platform| platform.accepts(&image.platform)) => {
                    return Ok(image);
                }
                // Docker, too, fetches a name again for another platform; an id leads nowhere else.
                Ok(image) if parse(text).is_err() || policy == PullPolicy::Never => {
                    return Err(EngineError::NotFound {
                        kind: "image",
                        name: format!(
                            "{text} for this platform (the one here is for {})",
                            image.platform
                        ),
                    });
                }
                Err(EngineError::NotFound { .. }) if policy == PullPolicy::Missing => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        let reference = parse(text).map_err(|error| invalid(&error))?;
        if policy == PullPolicy::Missing {
            progress(PullEvent::Status {
                message: format!("Unable to find image '{}' locally", reference.familiar()),
            });
            if hello::is_meant_by(&reference)
                && platform.is_none_or(|platform| platform.accepts(&Platform::host()))
                && let Some(image) = hello::install(&self.engine.store, &reference)?
            {
                progress(PullEvent::Status {
                    message: format!("Status: Took {} out of coracle itself", reference.familiar()),
                });
                let id = image.id.to_string();
                events::image(self.engine, "load", &id, &id, Some(&image))?;
                return Ok(image);
            }
        }
        let pulled = self.pull(&reference, platform, progress)?;
        // An artifact has come; finding it tells what is wrong with it.
        pulled.image.map_or_else(|| self.find(text), Ok)
    }

    /// Returns the directories of an image's layers, the topmost first.
    pub fn layer_directories(&self, image: &Image) -> Vec<PathBuf> {
        let layers: Vec<_> = image.layers.iter().map(|layer| layer.id.clone()).collect();
        self.engine.store.overlay(&layers, None, false).lower
    }

    /// Returns the manifest that an image came with, byte for byte, and its type; `None` if it came with none.
    pub fn manifest(&self, image: &Image) -> Result<Option<(Vec<u8>, String)>, EngineError> {
        let Some(digest) = &image.manifest else {
            return Ok(None);
        };
        let Some(raw) = self.engine.store.read_blob(digest, LONGEST_MANIFEST)? else {
            return Ok(None);
        };
        let document: serde_json::Value = serde_json::from_slice(&raw).unwrap_or_default();
        let kind = document["mediaType"].as_str();
        let kind = kind
            .unwrap_or("application/vnd.oci.image.manifest.v1+json")
            .to_owned();
        Ok(Some((raw, kind)))
    }

    /// Returns all images, the newest first.
    pub fn list(&self) -> Result<Vec<Image>, EngineError> {
        Ok(self.engine.store.images()?)
    }

    /// Makes `target` lead to the image that `source` names.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), EngineError> {
        if target.digest().is_some() {
            return Err(EngineError::Invalid {
                message: format!("cannot tag '{target}': a tag refers to a name, not to a digest"),
                hint: Some("write name:tag".into()),
            });
        }
        if let Some(artifact) = self.find_artifact(source)? {
            return Ok(self.engine.store.tag_artifact(&artifact.digest, target)?);
        }
        let image = self.find(source)?;
        let index = match parse(source) {
            Ok(reference) => self.engine.store.index_by_reference(&reference)?,
            Err(_) => None,
        };
        let index = index.filter(|index| index.members.iter().any(|member| member.image == Some(image.id)));
        self.engine
            .store
            .tag_in(&image.id, index.as_ref().map(|index| index.id.as_str()), target)?;
        events::image(
            self.engine,
            "tag",
            &image.id.to_string(),
            &target.familiar(),
            Some(&image),
        )
    }
}

fn parse(text: &str) -> Result<Reference, ReferenceError> {
    text.parse()
}

pub(super) fn invalid(error: &ReferenceError) -> EngineError {
    EngineError::Invalid {
        message: error.to_string(),
        hint: None,
    }
}

pub(super) fn not_found(name: &str) -> EngineError {
    EngineError::NotFound {
        kind: "image",
        name: name.to_owned(),
    }
}

/// Returns the hex digits of something that may be an id or its beginning.
pub(super) fn id_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (!digits.is_empty() && digits.len() <= 64 && digits.bytes().all(hex)).then_some(digits)
}
