//! `rmi` and `image prune`.

use super::find::{id_digits, not_found};
use super::{Image, Images};
use crate::containers::record::{Activity, Container};
use crate::containers::request::ListContainers;
use crate::system::Filters;
use crate::{EngineError, events};
use oci::{Digest, Reference};
use std::collections::BTreeSet;

/// What `rmi` did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// An image's record went.
    Deleted(Digest),
    /// A reference went.
    Untagged(Reference),
}

impl Images<'_> {
    /// Removes a reference, and the image with the last one. With `force`, all references of an id, and images that
    /// stopped containers use. Layers and blobs that nothing else needs go with it.
    pub fn remove(&self, text: &str, force: bool) -> Result<Vec<Removed>, EngineError> {
        let image = self.find(text)?;
        let named: Option<Reference> = text.parse().ok().filter(|reference| {
            image.tags.contains(reference) || image.repository_digests.contains(reference)
        });
        let users = self.users(&image)?;
        let removed = match named {
            Some(reference) => self.remove_reference(&image, &reference, &users, force)?,
            None if id_digits(text).is_some() => self.remove_id(&image, &users, force)?,
            None => return Err(not_found(text)),
        };
        if removed
            .iter()
            .any(|removed| matches!(removed, Removed::Deleted(_)))
        {
            self.engine.store.collect_garbage()?;
        }
        Ok(removed)
    }

    fn remove_reference(
        self,
        image: &Image,
        reference: &Reference,
        users: &[Container],
        force: bool,
    ) -> Result<Vec<Removed>, EngineError> {
        let last = if reference.tag().is_some() {
            image.tags.len() == 1
        } else {
            image.tags.is_empty() && image.repository_digests.len() == 1
        };
        if !last {
            return self.untag(image, reference);
        }
        if let Some(user) = users.first() {
            if !force {
                return Err(conflict(
                    format!(
                        "conflict: unable to remove repository reference \"{}\" (must force) - container {} is using its referenced image {}",
                        reference.familiar(),
                        user.id.short(),
                        image.id.short()
                    ),
                    format!("remove the container first, with 'rm {}'", user.name),
                ));
            }
            // The image stays for its containers; only the name goes, as with Docker.
            return self.untag(image, reference);
        }
        self.delete(image)
    }

    fn remove_id(self, image: &Image, users: &[Container], force: bool) -> Result<Vec<Removed>, EngineError> {
        let id = image.id.short();
        if let Some(user) = users.iter().find(|user| is_alive(user)) {
            return Err(conflict(
                format!(
                    "conflict: unable to delete {id} (cannot be forced) - image is being used by running container {}",
                    user.id.short()
                ),
                format!("stop and remove the container first, with 'rm -f {}'", user.name),
            ));
        }
        let repositories: BTreeSet<String> = image.tags.iter().map(Reference::name).collect();
        if repositories.len() > 1 && !force {
            return Err(conflict(
                format!(
                    "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
                ),
                "name the reference to remove, or use --force".into(),
            ));
        }
        if let Some(user) = users.first()
            && !force
        {
            return Err(conflict(
                format!(
                    "conflict: unable to delete {id} (must be forced) - image is being used by stopped container {}",
                    user.id.short()
                ),
                format!("remove the container first, with 'rm {}'", user.name),
            ));
        }
        self.delete(image)
    }

    fn untag(self, image: &Image, reference: &Reference) -> Result<Vec<Removed>, EngineError> {
        self.engine.store.untag(reference)?;
        let id = image.id.to_string();
        events::image(self.engine, "untag", &id, &id, Some(image))?;
        Ok(vec![Removed::Untagged(reference.clone())])
    }

    pub(super) fn delete(self, image: &Image) -> Result<Vec<Removed>, EngineError> {
        self.engine.store.remove_image(&image.id)?;
        let id = image.id.to_string();
        for _tag in &image.tags {
            events::image(self.engine, "untag", &id, &id, Some(image))?;
        }
        events::image(self.engine, "delete", &id, &id, Some(image))?;
        let references = image.tags.iter().chain(&image.repository_digests).cloned();
        Ok(references
            .map(Removed::Untagged)
            .chain([Removed::Deleted(image.id)])
            .collect())
    }

    fn users(self, image: &Image) -> Result<Vec<Container>, EngineError> {
        let all = ListContainers {
            all: true,
            ..ListContainers::default()
        };
        let mut containers = self.engine.containers().list(&all)?;
        containers.retain(|container| container.image == image.id);
        Ok(containers)
    }

    /// Removes dangling images (with `all`, every image that no container uses). Returns what went and the bytes.
    pub fn prune(&self, all: bool, filters: &[(String, String)]) -> Result<(Vec<Removed>, u64), EngineError> {
        let filters = Filters::parse(filters)?;
        let every = ListContainers {
            all: true,
            ..ListContainers::default()
        };
        let used: BTreeSet<Digest> = self
            .engine
            .containers()
            .list(&every)?
            .into_iter()
            .map(|container| container.image)
            .collect();
        let mut removed = Vec::new();
        for image in self.list()? {
            let unwanted = all || image.tags.is_empty();
            if unwanted
                && !used.contains(&image.id)
                && filters.accept(image.created, &image.config.config.labels)
            {
                removed.extend(self.delete(&image)?);
            }
        }
        let reclaimed = self.engine.store.collect_garbage()?;
        events::pruned(self.engine, "image", reclaimed.bytes)?;
        Ok((removed, reclaimed.bytes))
    }
}

pub(crate) fn is_alive(container: &Container) -> bool {
    matches!(
        container.activity,
        Activity::Paused | Activity::Restarting | Activity::Running
    )
}

fn conflict(message: String, hint: String) -> EngineError {
    EngineError::Conflict {
        message,
        hint: Some(hint),
    }
}
