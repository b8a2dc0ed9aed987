//! `pull --all-platforms`: an index with everything that it lists, attestations included.

use super::pull::{announce, tag_of};
use super::{Images, PullEvent, Pulled};
use crate::EngineError;
use oci::{Manifest, Platform, Reference, descriptor_digest};
use registry::RegistryError;

impl Images<'_> {
    /// Fetches what a reference names with all that it lists, so that it can be saved and pushed as it is.
    pub fn pull_all_platforms(
        &self,
        reference: &Reference,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pulled, EngineError> {
        let client = self.engine.registry_client()?;
        let (raw, digest, media_type) = client.manifest(reference)?;
        let unusable = |source| RegistryError::Manifest {
            reference: reference.familiar(),
            source,
        };
        let Manifest::Index(index) = Manifest::parse(&raw, media_type.as_deref()).map_err(unusable)? else {
            return self.pull(reference, None, progress);
        };
        announce(reference, progress);
        let host = Platform::host();
        let mut changed = false;
        for entry in index.manifests() {
            let listed = descriptor_digest(entry).map_err(unusable)?;
            let member = reference.with_digest(listed);
            match client.resolve(&member, &host) {
                Ok(remote) if remote.index.is_some() => {
                    return Err(EngineError::Invalid {
                        message: format!("{} lists an index itself", reference.familiar()),
                        hint: Some("pull one platform: --platform".into()),
                    });
                }
                Ok(mut remote) => {
                    (remote.digest, remote.index, remote.entry) = (digest, Some(raw.clone()), Some(listed));
                    changed |= self.take(&client, reference, &remote, progress)?.changed;
                }
                Err(RegistryError::NotAnImage { .. }) => {
                    changed |= self.take_artifact(&client, &member, false, progress)?.1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let name = tag_of(reference)?.unwrap_or_else(|| reference.with_digest(digest));
        let image = self.engine.store.image_by_reference(&name)?;
        if image.is_none() {
            return Err(EngineError::Invalid {
                message: format!("{} lists no image", reference.familiar()),
                hint: Some("name what it lists by digest".into()),
            });
        }
        let pulled = Pulled {
            image,
            digest,
            changed,
        };
        self.pulled(reference, pulled, "image", progress)
    }
}
