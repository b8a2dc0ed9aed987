//! `rmi` and `image prune`.

use super::find::{id_digits, not_found};
use super::{Artifact, Image, Images};
use crate::containers::record::{Activity, Container};
use crate::containers::request::ListContainers;
use crate::system::Filters;
use crate::{EngineError, events};
use oci::{Digest, Platform, Reference};
use std::collections::{BTreeMap, BTreeSet};

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
    ///
    /// A reference that leads to images for several platforms takes them all with it.
    pub fn remove(&self, text: &str, force: bool) -> Result<Vec<Removed>, EngineError> {
        self.engine.database.make_room();
        if let Some(artifact) = self.find_artifact(text)? {
            let removed = self.remove_artifact(&artifact, text)?;
            self.engine.store.collect_garbage()?;
            return Ok(removed);
        }
        let image = self.find(text)?;
        if let Ok(reference) = text.parse::<Reference>()
            && image.tags.contains(&reference)
            && let Some(variants) = self.variants(&image, &reference)?
        {
            return self.remove_index(&reference, &variants, force);
        }
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

    /// Removes the images for some platforms from what a reference leads to; the reference stays while there are others.
    pub fn remove_platforms(
        &self,
        text: &str,
        platforms: &[Platform],
        force: bool,
    ) -> Result<Vec<Removed>, EngineError> {
        let mut removed = Vec::new();
        for platform in platforms {
            let image = self.find_for(text, Some(platform))?;
            removed.extend(self.remove_id(&image, &self.users(&image)?, force)?);
        }
        self.engine.store.collect_garbage()?;
        Ok(removed)
    }

    /// Returns the images of an index to which a reference leads, if it leads to one with more than this image here.
    fn variants(self, image: &Image, reference: &Reference) -> Result<Option<Vec<Image>>, EngineError> {
        let Some(index) = self.engine.store.index_by_reference(reference)? else {
            return Ok(None);
        };
        let ids: BTreeSet<Digest> = index.members.iter().filter_map(|member| member.image).collect();
        if ids.iter().all(|id| *id == image.id) {
            return Ok(None);
        }
        let mut images = Vec::new();
        for id in ids {
            images.extend(self.engine.store.image_by_id(&id)?);
        }
        Ok(Some(images))
    }

    /// Removes a reference, and those images of its index to which no other leads.
    fn remove_index(
        self,
        reference: &Reference,
        images: &[Image],
        force: bool,
    ) -> Result<Vec<Removed>, EngineError> {
        let leads_here = |other: &&Reference| *other != reference;
        let going: Vec<&Image> = images
            .iter()
            .filter(|image| {
                image
                    .tags
                    .iter()
                    .chain(&image.variant_of)
                    .find(leads_here)
                    .is_none()
            })
            .collect();
        let mut in_use = BTreeSet::new();
        for image in &going {
            if let Some(user) = self.users(image)?.first() {
                if !force {
                    return Err(in_use_by(reference, image, user));
                }
                in_use.insert(image.id);
            }
        }
        self.engine.store.untag(reference)?;
        let mut removed = vec![Removed::Untagged(reference.clone())];
        for image in images {
            let id = image.id.to_string();
            events::image(self.engine, "untag", &id, &id, Some(image))?;
        }
        for image in going.into_iter().filter(|image| !in_use.contains(&image.id)) {
            for gone in self.delete(image)? {
                if !removed.contains(&gone) {
                    removed.push(gone);
                }
            }
        }
        self.engine.store.collect_garbage()?;
        Ok(removed)
    }

    fn remove_artifact(self, artifact: &Artifact, text: &str) -> Result<Vec<Removed>, EngineError> {
        let store = &self.engine.store;
        let named: Option<Reference> = text.parse().ok().filter(|reference| {
            artifact.tags.contains(reference) || artifact.repository_digests.contains(reference)
        });
        let mut removed = Vec::new();
        match named {
            Some(reference)
                if artifact.tags.len() > 1 || (reference.tag().is_none() && !artifact.tags.is_empty()) =>
            {
                store.untag_artifact(&artifact.digest, &reference)?;
                removed.push(Removed::Untagged(reference));
            }
            _ => {
                store.remove_artifact(&artifact.digest)?;
                let names = artifact.tags.iter().chain(&artifact.repository_digests);
                removed.extend(names.cloned().map(Removed::Untagged));
                removed.push(Removed::Deleted(artifact.digest));
            }
        }
        let id = artifact.digest.to_string();
        events::image(self.engine, "delete", &id, &id, None)?;
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
                return Err(in_use_by(reference, image, user));
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
        // A tag of an index leads to another of its images now, if there is one.
        let mut untagged = Vec::new();
        for tag in &image.tags {
            if self.engine.store.image_by_reference(tag)?.is_none() {
                events::image(self.engine, "untag", &id, &id, Some(image))?;
                untagged.push(tag.clone());
            }
        }
        events::image(self.engine, "delete", &id, &id, Some(image))?;
        let references = untagged
            .into_iter()
            .chain(image.repository_digests.iter().cloned());
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
        self.engine.database.make_room();
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
            let unwanted = all || (image.tags.is_empty() && image.variant_of.is_empty());
            if unwanted
                && !used.contains(&image.id)
                && filters.accept(image.created, &image.config.config.labels)
            {
                removed.extend(self.delete(&image)?);
            }
        }
        if all {
            for artifact in self.artifacts()? {
                if filters.accept(artifact.created, &BTreeMap::new()) {
                    removed.extend(self.remove_artifact(&artifact, &artifact.digest.to_string())?);
                }
            }
        }
        let reclaimed = self.engine.store.collect_garbage()?;
        events::pruned(self.engine, "image", reclaimed.bytes)?;
        Ok((removed, reclaimed.bytes))
    }
}

fn in_use_by(reference: &Reference, image: &Image, user: &Container) -> EngineError {
    conflict(
        format!(
            "conflict: unable to remove repository reference \"{}\" (must force) - container {} is using its referenced image {}",
            reference.familiar(),
            user.id.short(),
            image.id.short()
        ),
        format!("remove the container first, with 'rm {}'", user.name),
    )
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
