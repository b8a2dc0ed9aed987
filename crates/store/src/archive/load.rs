//! Reading images out of an archive.

use super::spool::Spool;
use super::{DockerImage, Loaded};
use crate::blobs::digest_of;
use crate::images::parse_config;
use crate::layers::{Keep, Source};
use crate::{LayerId, Lease, NewImage, Store, StoreError};
use oci::{Descriptor, Digest, LayerMediaType, Manifest, Platform, Reference, descriptor_digest};
use std::io::Read;

/// What an annotation of an OCI layout's index may call an image: containerd's whole name first, then the tag or
/// name of the specification.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// How deep indexes may be nested.
const DEEPEST: u32 = 4;
/// What a layer out of a docker-archive is called as a blob.
const PLAIN_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// An image read and unpacked, but not recorded.
struct Found {
    raw_config: Vec<u8>,
    manifest: Option<Digest>,
    layers: Vec<LayerId>,
    tags: Vec<Reference>,
}

impl Store {
    /// Reads a docker-archive or an OCI image layout out of a tar (plain, gzip, bzip2, xz or zstd), recognised by its
    /// content; returns the images with the references that were set. On any error nothing is recorded.
    ///
    /// Of an index the image for this machine is taken. With `platforms`, only images for one of these are taken at all.
    pub fn load(&self, archive: &mut dyn Read, platforms: &[Platform]) -> Result<Vec<Loaded>, StoreError> {
        let lease = self.lease()?;
        let result = self.load_leased(&lease, archive, platforms);
        if result.is_err() {
            drop(lease);
            // What had been unpacked belongs to nobody now. The first failure is the one to report.
            self.collect_garbage().map(|_| ()).unwrap_or_default();
        }
        result
    }

    fn load_leased(
        &self,
        lease: &Lease,
        archive: &mut dyn Read,
        platforms: &[Platform],
    ) -> Result<Vec<Loaded>, StoreError> {
        let spool = Spool::read(lease, archive)?;
        let found = if let Some(manifest) = spool.document("manifest.json")? {
            self.docker_archive(lease, &spool, &manifest, platforms)?
        } else if let Some(index) = spool.document("index.json")? {
            self.oci_layout(lease, &spool, &index, platforms)?
        } else {
            return Err(StoreError::Archive(
                "it has neither 'manifest.json' nor 'index.json', so it is no archive of images \
                 ('import' takes plain root filesystems)"
                    .to_owned(),
            ));
        };
        let images: Vec<NewImage<'_>> = found
            .iter()
            .map(|found| NewImage {
                raw_config: &found.raw_config,
                manifest: found.manifest,
                layers: &found.layers,
                parent: None,
                tags: &found.tags,
                repository_digest: None,
            })
            .collect();
        let ids = self.record_images(&images)?;
        ids.iter()
            .zip(found.iter())
            .map(|(id, found)| {
                Ok(Loaded {
                    image: self.image_by_id(id)?.ok_or(StoreError::NoSuchImage(*id))?,
                    tags: found.tags.clone(),
                })
            })
            .collect()
    }

    fn docker_archive(
        &self,
        lease: &Lease,
        spool: &Spool,
        manifest: &[u8],
        platforms: &[Platform],
    ) -> Result<Vec<Found>, StoreError> {
        let images: Vec<DockerImage> =
            serde_json::from_slice(manifest).map_err(|source| StoreError::Document {
                what: "the archive's 'manifest.json'".to_owned(),
                source,
            })?;
        if images.is_empty() {
            return Err(StoreError::Archive(
                "its 'manifest.json' lists no image".to_owned(),
            ));
        }
        let mut found = Vec::new();
        for image in images {
            let tags = image
                .repo_tags
                .unwrap_or_default()
                .iter()
                .map(|tag| tag.parse())
                .collect::<Result<Vec<Reference>, _>>()?;
            let raw_config = spool.required(&image.config)?;
            let config = parse_config(&raw_config, &digest_of(&raw_config))?;
            if !is_wanted(platforms, &config.platform()) {
                continue;
            }
            let names = image.layers.unwrap_or_default();
            let diff_ids = &config.rootfs.diff_ids;
            if names.len() != diff_ids.len() {
                return Err(StoreError::LayersDiffer {
                    listed: diff_ids.len(),
                    given: names.len(),
                });
            }
            let mut layers: Vec<LayerId> = Vec::new();
            for (name, diff_id) in names.iter().zip(diff_ids) {
                let layer = self.once(lease, diff_id, || {
                    let (file, path) = spool.open(name)?;
                    let source = Source {
                        what: format!("the archive's '{name}'"),
                        reader: Box::new(file),
                        blob: None,
                        diff_id: *diff_id,
                        media_type: PLAIN_LAYER.to_owned(),
                        keep: Keep::Spooled(path),
                    };
                    self.unpack(lease, source, &layers)
                })?;
                layers.push(layer.id);
            }
            found.push(Found {
                raw_config,
                manifest: None,
                layers,
                tags,
            });
        }
        if found.is_empty() {
            return Err(none_for(platforms));
        }
        Ok(found)
    }

    fn oci_layout(
        &self,
        lease: &Lease,
        spool: &Spool,
        index: &[u8],
        platforms: &[Platform],
    ) -> Result<Vec<Found>, StoreError> {
        let Manifest::Index(index) = parse_manifest(index, None)? else {
            return Err(StoreError::Archive("its 'index.json' is no index".to_owned()));
        };
        let mut found = Vec::new();
        for descriptor in index.manifests() {
            let tags = names(descriptor)?;
            if let Some(image) = self.oci_image(lease, spool, descriptor, tags, (0, platforms))? {
                found.push(image);
            }
        }
        if found.is_empty() {
            return Err(none_for(platforms));
        }
        Ok(found)
    }

    /// Reads an image, or of an index the one for this machine or a wanted platform. `None` if there is none.
    fn oci_image(
        &self,
        lease: &Lease,
        spool: &Spool,
        descriptor: &Descriptor,
        tags: Vec<Reference>,
        (depth, platforms): (u32, &[Platform]),
    ) -> Result<Option<Found>, StoreError> {
        let (digest, raw) = blob(spool, descriptor)?;
        let manifest = match Manifest::parse(&raw, Some(descriptor.media_type().as_ref())) {
            Ok(manifest) => manifest,
            Err(source) => return Err(StoreError::Manifest { digest, source }),
        };
        let image = match manifest {
            Manifest::Image(image) => image,
            Manifest::Index(_) if depth >= DEEPEST => {
                return Err(StoreError::Archive("its indexes are nested too deep".to_owned()));
            }
            Manifest::Index(index) => {
                for inner in index.manifests() {
                    let fits = inner.platform().as_ref().is_none_or(|platform| {
                        let variant = platform.variant().clone().unwrap_or_default();
                        let platform = Platform::new(
                            &platform.os().to_string(),
                            &platform.architecture().to_string(),
                            &variant,
                        );
                        if platforms.is_empty() {
                            Platform::host().accepts(&platform)
                        } else {
                            is_wanted(platforms, &platform)
                        }
                    });
                    // Layouts often hold the blobs of some platforms only.
                    let is_there = spool.path(&member(&descriptor_digest_of(inner)?)).is_some();
                    if fits
                        && is_there
                        && let Some(found) =
                            self.oci_image(lease, spool, inner, tags.clone(), (depth + 1, platforms))?
                    {
                        return Ok(Some(found));
                    }
                }
                return Ok(None);
            }
        };
        // Attestations and other artifacts have no layers to unpack.
        if !image
            .layers()
            .iter()
            .all(|layer| LayerMediaType::recognise(layer.media_type()).is_some())
        {
            return Ok(None);
        }
        let (config_digest, raw_config) = blob(spool, image.config())?;
        let config = parse_config(&raw_config, &config_digest)?;
        if !is_wanted(platforms, &config.platform()) {
            return Ok(None);
        }
        let diff_ids = &config.rootfs.diff_ids;
        if image.layers().len() != diff_ids.len() {
            return Err(StoreError::LayersDiffer {
                listed: diff_ids.len(),
                given: image.layers().len(),
            });
        }
        let mut layers: Vec<LayerId> = Vec::new();
        for (descriptor, diff_id) in image.layers().iter().zip(diff_ids) {
            let layer_digest = descriptor_digest_of(descriptor)?;
            let layer = self.once(lease, diff_id, || {
                let name = member(&layer_digest);
                let (file, path) = spool.open(&name)?;
                let source = Source {
                    what: format!("the archive's '{name}'"),
                    reader: Box::new(file),
                    blob: Some((layer_digest, descriptor.size())),
                    diff_id: *diff_id,
                    media_type: descriptor.media_type().to_string(),
                    keep: Keep::Spooled(path),
                };
                self.unpack(lease, source, &layers)
            })?;
            layers.push(layer.id);
        }
        let manifest = self.put_blob(lease, &raw)?;
        Ok(Some(Found {
            raw_config,
            manifest: Some(manifest),
            layers,
            tags,
        }))
    }
}

fn is_wanted(platforms: &[Platform], platform: &Platform) -> bool {
    platforms.is_empty() || platforms.iter().any(|wanted| wanted.accepts(platform))
}

fn none_for(platforms: &[Platform]) -> StoreError {
    let wanted: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let wanted = if wanted.is_empty() {
        Platform::host().to_string()
    } else {
        wanted.join(", ")
    };
    StoreError::Archive(format!("it has no image for {wanted}"))
}

fn parse_manifest(raw: &[u8], announced: Option<&str>) -> Result<Manifest, StoreError> {
    Manifest::parse(raw, announced).map_err(|source| StoreError::Manifest {
        digest: digest_of(raw),
        source,
    })
}

fn descriptor_digest_of(descriptor: &Descriptor) -> Result<Digest, StoreError> {
    descriptor_digest(descriptor).map_err(|error| StoreError::Archive(error.to_string()))
}

fn member(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a small blob of the layout and checks it.
fn blob(spool: &Spool, descriptor: &Descriptor) -> Result<(Digest, Vec<u8>), StoreError> {
    let expected = descriptor_digest_of(descriptor)?;
    let name = member(&expected);
    let content = spool.required(&name)?;
    let found = digest_of(&content);
    if found != expected {
        return Err(StoreError::Digest {
            what: format!("the archive's '{name}'"),
            expected,
            found,
        });
    }
    Ok((found, content))
}

/// Returns the references that an index gives an image. A bare tag belongs to no repository and gives none.
fn names(descriptor: &Descriptor) -> Result<Vec<Reference>, StoreError> {
    let Some(annotations) = descriptor.annotations() else {
        return Ok(Vec::new());
    };
    for key in NAMES {
        if let Some(name) = annotations.get(key) {
            let is_whole = key == NAMES[0] || name.contains([':', '/']);
            return if is_whole {
                Ok(vec![name.parse()?])
            } else {
                Ok(Vec::new())
            };
        }
    }
    Ok(Vec::new())
}
