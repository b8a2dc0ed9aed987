//! `image ls --tree`: what each name leads to, platform by platform.

use super::{Image, Images};
use crate::EngineError;
use crate::containers::request::ListContainers;
use oci::{Digest, Platform, Reference};
use std::collections::BTreeSet;

/// A name, or an image without one, and what there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The references that lead to it, sorted.
    pub names: Vec<Reference>,
    /// The index's digest, the image's id, the artifact's digest.
    pub id: Digest,
    /// Bytes of its layers, unpacked, and of its blobs.
    pub disk_usage: u64,
    /// Bytes of its blobs alone.
    pub content_size: u64,
    /// Whether a container uses any of it.
    pub in_use: bool,
    /// When it came to be here: nanoseconds since 1970.
    pub created: i64,
    /// The images that are here, with the platforms that are not.
    pub branches: Vec<Branch>,
}

/// One platform of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// What it is for.
    pub platform: Platform,
    /// The image's id if it is here, else its manifest's digest.
    pub id: Option<Digest>,
    /// Bytes of its layers, unpacked, and of its blobs.
    pub disk_usage: u64,
    /// Bytes of its blobs alone.
    pub content_size: u64,
    /// Whether a container uses it.
    pub in_use: bool,
}

impl Images<'_> {
    /// Lists names and what they lead to, the newest first; only those of which `keep` accepts an image with the names.
    pub fn tree(&self, keep: &dyn Fn(&Image, &[Reference]) -> bool) -> Result<Vec<Entry>, EngineError> {
        let every = ListContainers {
            all: true,
            ..ListContainers::default()
        };
        let containers = self.engine.containers().list(&every)?;
        let used: BTreeSet<Digest> = containers.into_iter().map(|container| container.image).collect();
        let images = self.list()?;
        let mut entries = Vec::new();
        let mut listed: BTreeSet<Digest> = BTreeSet::new();
        for index in self.engine.store.indexes()? {
            let of_it = |id: &Option<Digest>| images.iter().find(|image| Some(image.id) == *id);
            let mut branches = Vec::new();
            let mut kept = false;
            for (member, platform) in index.platforms() {
                let image = of_it(&member.image);
                kept |= image.is_some_and(|image| keep(image, &index.tags));
                listed.extend(image.map(|image| image.id));
                branches.push(match image {
                    Some(image) => self.branch(image, &used)?,
                    None => Branch {
                        platform: platform.clone(),
                        id: member.manifest,
                        disk_usage: 0,
                        content_size: 0,
                        in_use: false,
                    },
                });
            }
            let first = branches.first().and_then(|branch| branch.id);
            if let (true, Some(id)) = (kept, index.digest.or(first)) {
                entries.push(Entry {
                    names: index.tags,
                    id,
                    disk_usage: branches.iter().map(|branch| branch.disk_usage).sum(),
                    content_size: branches.iter().map(|branch| branch.content_size).sum(),
                    in_use: branches.iter().any(|branch| branch.in_use),
                    created: index.created,
                    branches,
                });
            }
        }
        for image in &images {
            // What a name leads to without an index has a line of its own, beside those of indexes that it is in.
            let indexed: BTreeSet<&Reference> = entries.iter().flat_map(|entry| &entry.names).collect();
            let mut names: Vec<Reference> = image.tags.clone();
            names.retain(|name| !indexed.contains(name));
            if (names.is_empty() && listed.contains(&image.id)) || !keep(image, &names) {
                continue;
            }
            let branch = self.branch(image, &used)?;
            entries.push(Entry {
                names,
                id: image.id,
                disk_usage: branch.disk_usage,
                content_size: branch.content_size,
                in_use: branch.in_use,
                created: image.created,
                branches: vec![branch],
            });
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.created));
        Ok(entries)
    }

    fn branch(self, image: &Image, used: &BTreeSet<Digest>) -> Result<Branch, EngineError> {
        let content_size = self.engine.store.content_size(image)?;
        Ok(Branch {
            platform: image.platform.clone(),
            id: Some(image.id),
            disk_usage: image.size + content_size,
            content_size,
            in_use: used.contains(&image.id),
        })
    }
}
