//! `system df`: what is stored, and what could be given back.

use crate::builds::CachedStep;
use crate::containers::record::Container;
use crate::images::{Image, is_alive};
use crate::volumes::Volume;
use crate::{Engine, EngineError};
use std::collections::BTreeMap;
use sys::path::Tree;

/// One line of `system df`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// `Images`, `Containers`, `Local Volumes`, `Build Cache`.
    pub kind: &'static str,
    /// How many there are.
    pub total: u64,
    /// How many are in use.
    pub active: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that pruning would give back.
    pub reclaimable: u64,
}

/// An image, and whom it shares its layers with.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Bytes of layers that other images have, too.
    pub shared: u64,
    /// Bytes of layers that it alone has.
    pub unique: u64,
    /// How many containers were made of it.
    pub containers: u64,
}

/// A volume, measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes, those of its versions included.
    pub size: u64,
}

/// Everything that is stored, measured.
#[derive(Debug, Clone)]
pub struct DiskDetails {
    /// The newest first.
    pub images: Vec<ImageUsage>,
    /// With their sizes; the newest first.
    pub containers: Vec<Container>,
    /// By name.
    pub volumes: Vec<VolumeUsage>,
    /// The last used first.
    pub build_cache: Vec<CachedStep>,
    /// Bytes of layers and blobs, each counted once however many images share it.
    pub layers_size: u64,
    /// Of these, bytes of layers that no container's image has.
    layers_unused: u64,
    /// Bytes of layers that only the build cache keeps.
    pub cache_size: u64,
}

/// A layer: how many images have it, its size, and whether a container's image has it.
type Shares = BTreeMap<store::LayerId, (u64, u64, bool)>;

/// Says for each image whom it shares its layers with, and for each layer how many have it.
fn share(images: &[Image], containers: &[Container]) -> (Vec<ImageUsage>, Shares) {
    let users = |image: &Image| {
        let of_it = containers.iter().filter(|container| container.image == image.id);
        of_it.count() as u64
    };
    let mut layers = Shares::new();
    for image in images {
        let is_used = users(image) > 0;
        for layer in &image.layers {
            let entry = layers.entry(layer.id.clone()).or_insert((0, layer.size, false));
            entry.0 += 1;
            entry.2 |= is_used;
        }
    }
    let measure = |image: &Image| {
        let sum = |is_shared: bool| {
            let wanted = image
                .layers
                .iter()
                .filter(|layer| layers.get(&layer.id).is_some_and(|(images, ..)| *images > 1) == is_shared);
            wanted.map(|layer| layer.size).sum()
        };
        ImageUsage {
            shared: sum(true),
            unique: sum(false),
            containers: users(image),
            image: image.clone(),
        }
    };
    (images.iter().map(measure).collect(), layers)
}

impl Engine {
    /// Returns all images, the newest first, with what they share and who uses them.
    pub fn image_usage(&self) -> Result<Vec<ImageUsage>, EngineError> {
        let containers = self.every_container(false)?;
        Ok(share(&self.images().list()?, &containers).0)
    }

    /// Measures what is stored.
    pub fn disk_usage(&self) -> Result<DiskDetails, EngineError> {
        let containers = self.every_container(true)?;
        let usage = self.store.usage()?;
        let images = self.images().list()?;
        let (images, layers) = share(&images, &containers);
        let mut volumes = Vec::new();
        for volume in self.volumes().list()? {
            // One that is just being removed has nothing left to measure.
            let measure = |path: &std::path::Path| {
                Tree::open(path)
                    .and_then(|tree| tree.disk_usage())
                    .unwrap_or_default()
            };
            let mut size = measure(&volume.mountpoint);
            if volume.versions > 0 {
                size += measure(&crate::volumes::versions::directory(
                    self.locations(),
                    &volume.name,
                ));
            }
            volumes.push(VolumeUsage { volume, size });
        }
        let build_cache = self.builds().cache()?;
        let mounts: u64 = build_cache
            .iter()
            .filter(|cached| cached.kind == crate::builds::MOUNT)
            .map(|cached| cached.size)
            .sum();
        Ok(DiskDetails {
            images,
            containers,
            volumes,
            build_cache,
            layers_size: layers.values().map(|(_, size, _)| size).sum::<u64>() + usage.blobs,
            layers_unused: layers
                .values()
                .filter(|(.., is_used)| !is_used)
                .map(|(_, size, _)| size)
                .sum(),
            cache_size: usage.build_cache + mounts,
        })
    }
}

impl DiskDetails {
    /// Sums up: images, containers, volumes, build cache, in this order.
    pub fn summary(&self) -> Vec<DiskUsage> {
        let written = |container: &Container| container.size_rw.unwrap_or(0);
        let (alive, dead): (Vec<&Container>, Vec<&Container>) =
            self.containers.iter().partition(|container| is_alive(container));
        let (used, unused): (Vec<&VolumeUsage>, Vec<&VolumeUsage>) = self
            .volumes
            .iter()
            .partition(|volume| volume.volume.containers > 0);
        let sum = |volumes: &[&VolumeUsage]| volumes.iter().map(|volume| volume.size).sum::<u64>();
        vec![
            DiskUsage {
                kind: "Images",
                total: self.images.len() as u64,
                active: self.images.iter().filter(|image| image.containers > 0).count() as u64,
                size: self.layers_size,
                reclaimable: self.layers_unused,
            },
            DiskUsage {
                kind: "Containers",
                total: self.containers.len() as u64,
                active: alive.len() as u64,
                size: self.containers.iter().map(written).sum(),
                reclaimable: dead.iter().map(|container| written(container)).sum(),
            },
            DiskUsage {
                kind: "Local Volumes",
                total: self.volumes.len() as u64,
                active: used.len() as u64,
                size: sum(&used) + sum(&unused),
                reclaimable: sum(&unused),
            },
            DiskUsage {
                kind: "Build Cache",
                total: self.build_cache.len() as u64,
                active: 0,
                size: self.cache_size,
                reclaimable: self.cache_size,
            },
        ]
    }
}
