//! Reading images out of an archive.

use super::spool::Spool;
use super::{DockerImage, Loaded};
use crate::blobs::digest_of;
use crate::images::parse_config;
use crate::layers::{Keep, Source};
use crate::{LayerId, Lease, NewImage, Store, StoreError, artifacts, images, indexes, tree_tar};
use oci::{
    Descriptor, Digest, ImageManifest, LayerMediaType, Manifest, Platform, Reference, descriptor_digest,
};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use sys::SysError;

/// What an annotation of an OCI layout's index may call an image: containerd's whole name first, then the tag or
/// name of the specification.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// How deep indexes may be nested.
const DEEPEST: u32 = 4;
/// What a layer out of a docker-archive is called as a blob.
const PLAIN_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// How far a layer is that is being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerProgress<'a> {
    /// The digest of its tar.
    pub layer: &'a Digest,
    /// Bytes that have been read of it.
    pub done: u64,
    /// All its bytes, as they are in the archive.
    pub size: u64,
}

/// What is to be loaded, and who wants to hear of it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// Nothing stands for all.
    platforms: &'a [Platform],
    watch: &'a dyn Fn(LayerProgress<'_>),
    choice: &'a Choice,
}

/// An image read and unpacked, but not recorded.
struct Found {
    raw_config: Vec<u8>,
    manifest: Option<Digest>,
    layers: Vec<LayerId>,
    tags: Vec<Reference>,
    /// The index that it belongs to, and the digest under which that lists it.
    listed: Option<(Arc<Vec<u8>>, Digest)>,
}

/// What an archive holds.
enum Content {
    Artifact {
        raw: Vec<u8>,
        tags: Vec<Reference>,
        /// Whether an index lists it, so that it needs no name.
        listed: bool,
    },
    Image(Found),
}

impl Store {
    /// Reads a docker-archive or an OCI image layout out of a tar (plain, gzip, bzip2, xz or zstd), recognised by its
    /// content; returns the images with the references that were set. On any error nothing is recorded.
    ///
    /// Of an index all images that are in the archive are taken. With `platforms`, only images for one of these are taken
    /// at all.
    pub fn load(&self, archive: &mut dyn Read, platforms: &[Platform]) -> Result<Vec<Loaded>, StoreError> {
        self.load_watched(archive, platforms, &|_| {})
    }

    /// Like [`Store::load`], and tells of each layer that was not here before, when it begins and when it is done.
    pub fn load_watched(
        &self,
        archive: &mut dyn Read,
        platforms: &[Platform],
        watch: &dyn Fn(LayerProgress<'_>),
    ) -> Result<Vec<Loaded>, StoreError> {
        self.load_wanted(
            archive,
            Wanted {
                platforms,
                watch,
                choice: &Choice::All,
            },
        )
    }

    /// Reads images out of the directory of an OCI image layout, which is trusted as a path; they get no names.
    pub fn load_layout(
        &self,
        directory: &Path,
        platforms: &[Platform],
        choice: &Choice,
    ) -> Result<Vec<Loaded>, StoreError> {
        let (mut reader, mut writer) =
            std::io::pipe().map_err(|error| SysError::io("make a pipe for", directory, &error))?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut buffered = std::io::BufWriter::with_capacity(256 * 1024, &mut writer);
                tree_tar::write(directory, &mut buffered).map(|_| ())
            });
            let loaded = self.load_wanted(
                &mut reader,
                Wanted {
                    platforms,
                    watch: &|_| {},
                    choice,
                },
            );
            // Who writes into a pipe that nobody reads must not wait for ever.
            drop(reader);
            let written = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (loaded, written) {
                (Ok(loaded), _) => Ok(loaded),
                // Of the two, what went wrong with the directory says more.
                (Err(_), Err(error @ StoreError::Sys(_))) if !is_broken_pipe(&error) => Err(error),
                (Err(error), _) => Err(error),
            }
        })
    }

    fn load_wanted(&self, archive: &mut dyn Read, wanted: Wanted<'_>) -> Result<Vec<Loaded>, StoreError> {
        let lease = self.lease()?;
        let result = self.load_leased(&lease, archive, wanted);
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
        wanted: Wanted<'_>,
    ) -> Result<Vec<Loaded>, StoreError> {
        let spool = Spool::read(lease, archive)?;
        if *wanted.choice != Choice::All {
            let index = spool.required("index.json")?;
            let contents = self.oci_layout(lease, &spool, &index, wanted)?;
            return self.record(contents);
        }
        let (manifest, index) = (spool.document("manifest.json")?, spool.document("index.json")?);
        let contents = match (manifest, index) {
            // What Docker's half cannot tell stands in the other one.
            (Some(_), Some(index)) if has_more(&spool, &index) => {
                self.oci_layout(lease, &spool, &index, wanted)?
            }
            (Some(manifest), _) => self.docker_archive(lease, &spool, &manifest, wanted)?,
            (None, Some(index)) => self.oci_layout(lease, &spool, &index, wanted)?,
            (None, None) => {
                return Err(StoreError::Archive(
                    "it has neither 'manifest.json' nor 'index.json', so it is no archive of images \
                     ('import' takes plain root filesystems)"
                        .to_owned(),
                ));
            }
        };
        self.record(contents)
    }

    fn record(&self, contents: Vec<Content>) -> Result<Vec<Loaded>, StoreError> {
        let ids = self.database.write(|t| {
            contents
                .iter()
                .map(|content| match content {
                    Content::Image(found) => {
                        let image = NewImage {
                            raw_config: &found.raw_config,
                            manifest: found.manifest,
                            layers: &found.layers,
                            parent: None,
                            tags: &found.tags,
                            repository_digest: None,
                        };
                        match &found.listed {
                            Some((index, entry)) => indexes::record_listed(t, &image, index, entry),
                            None => images::record(t, &image),
                        }
                    }
                    Content::Artifact { raw, tags, .. } => Ok(artifacts::record(t, raw, tags, None)?.digest),
                })
                .collect::<Result<Vec<_>, StoreError>>()
        })?;
        let mut loaded = Vec::new();
        for (id, content) in ids.into_iter().zip(contents) {
            let (image, tags) = match content {
                Content::Image(found) => (
                    Some(self.image_by_id(&id)?.ok_or(StoreError::NoSuchImage(id))?),
                    found.tags,
                ),
                Content::Artifact { listed: true, .. } => continue,
                Content::Artifact { tags, .. } => (None, tags),
            };
            loaded.push(Loaded { image, id, tags });
        }
        Ok(loaded)
    }

    fn docker_archive(
        &self,
        lease: &Lease,
        spool: &Spool,
        manifest: &[u8],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Content>, StoreError> {
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
            if !is_wanted(wanted.platforms, &config.platform()) {
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
                    let told = tell(wanted.watch, diff_id, &file);
                    let source = Source {
                        what: format!("the archive's '{name}'"),
                        reader: Box::new(file),
                        blob: None,
                        diff_id: *diff_id,
                        media_type: PLAIN_LAYER.to_owned(),
                        keep: Keep::Spooled(path),
                    };
                    let layer = self.unpack(lease, source, &layers)?;
                    told();
                    Ok(layer)
                })?;
                layers.push(layer.id);
            }
            found.push(Content::Image(Found {
                raw_config,
                manifest: None,
                layers,
                tags,
                listed: None,
            }));
        }
        if found.is_empty() {
            return Err(none_for(wanted.platforms));
        }
        Ok(found)
    }

    fn oci_layout(
        &self,
        lease: &Lease,
        spool: &Spool,
        index: &[u8],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Content>, StoreError> {
        let Manifest::Index(index) = parse_manifest(index, None)? else {
            return Err(StoreError::Archive("its 'index.json' is no index".to_owned()));
        };
        let mut found = Vec::new();
        for descriptor in wanted.choice.of(index.manifests())? {
            let place = Place {
                tags: match wanted.choice {
                    Choice::All => names(descriptor)?,
                    _ => Vec::new(),
                },
                listed: None,
                depth: 0,
                wanted,
            };
            self.oci_content(lease, spool, descriptor, &place, &mut found)?;
        }
        let is_any = found.iter().any(|content| match content {
            Content::Image(_) => true,
            Content::Artifact { listed, .. } => !listed,
        });
        if !is_any {
            return Err(none_for(wanted.platforms));
        }
        Ok(found)
    }

    /// Reads what an entry leads to: an image, those images of an index that are there, an artifact.
    fn oci_content(
        &self,
        lease: &Lease,
        spool: &Spool,
        descriptor: &Descriptor,
        place: &Place<'_>,
        found: &mut Vec<Content>,
    ) -> Result<(), StoreError> {
        let (digest, raw) = blob(spool, descriptor)?;
        let manifest = match Manifest::parse(&raw, Some(descriptor.media_type().as_ref())) {
            Ok(manifest) => manifest,
            Err(source) => return Err(StoreError::Manifest { digest, source }),
        };
        let image = match manifest {
            Manifest::Image(image) => image,
            Manifest::Index(_) if place.depth >= DEEPEST => {
                return Err(StoreError::Archive("its indexes are nested too deep".to_owned()));
            }
            Manifest::Index(index) => {
                self.put_blob(lease, &raw)?;
                let raw = Arc::new(raw);
                for inner in index.manifests() {
                    let entry = descriptor_digest_of(inner)?;
                    // Layouts often hold the blobs of some platforms only.
                    if spool.path(&member(&entry)).is_none() {
                        continue;
                    }
                    let place = Place {
                        tags: place.tags.clone(),
                        // Of nested indexes the outermost is the one that the names lead to.
                        listed: place.listed.clone().or_else(|| Some((Arc::clone(&raw), entry))),
                        depth: place.depth + 1,
                        wanted: place.wanted,
                    };
                    self.oci_content(lease, spool, inner, &place, found)?;
                }
                return Ok(());
            }
        };
        if !is_image(&image) {
            // Attestations stay where all platforms do.
            if place.listed.is_none() || place.wanted.platforms.is_empty() {
                self.oci_artifact(lease, spool, &image, &raw)?;
                found.push(Content::Artifact {
                    raw,
                    tags: if place.listed.is_none() {
                        place.tags.clone()
                    } else {
                        Vec::new()
                    },
                    listed: place.listed.is_some(),
                });
            }
            return Ok(());
        }
        let image = self.oci_image(lease, spool, (&image, &raw), place)?;
        found.extend(image.map(Content::Image));
        Ok(())
    }

    fn oci_artifact(
        &self,
        lease: &Lease,
        spool: &Spool,
        manifest: &ImageManifest,
        raw: &[u8],
    ) -> Result<(), StoreError> {
        for descriptor in std::iter::once(manifest.config()).chain(manifest.layers()) {
            let digest = descriptor_digest_of(descriptor)?;
            let (mut file, _) = spool.open(&member(&digest))?;
            self.put_blob_from(lease, (digest, descriptor.size()), &mut file)?;
        }
        self.put_blob(lease, raw)?;
        Ok(())
    }

    fn oci_image(
        &self,
        lease: &Lease,
        spool: &Spool,
        (image, raw): (&ImageManifest, &[u8]),
        place: &Place<'_>,
    ) -> Result<Option<Found>, StoreError> {
        let (config_digest, raw_config) = blob(spool, image.config())?;
        let config = parse_config(&raw_config, &config_digest)?;
        if !is_wanted(place.wanted.platforms, &config.platform()) {
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
                let told = tell(place.wanted.watch, diff_id, &file);
                let source = Source {
                    what: format!("the archive's '{name}'"),
                    reader: Box::new(file),
                    blob: Some((layer_digest, descriptor.size())),
                    diff_id: *diff_id,
                    media_type: descriptor.media_type().to_string(),
                    keep: Keep::Spooled(path),
                };
                let layer = self.unpack(lease, source, &layers)?;
                told();
                Ok(layer)
            })?;
            layers.push(layer.id);
        }
        let manifest = self.put_blob(lease, raw)?;
        Ok(Some(Found {
            raw_config,
            manifest: Some(manifest),
            layers,
            tags: place.tags.clone(),
            listed: place.listed.clone(),
        }))
    }
}

/// Which of a layout's images is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// All, with the names that the layout gives them.
    All,
    /// The only one, or the one called `latest`.
    Only,
    /// The one with this tag or name.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
}

impl Choice {
    /// Returns the entries that are meant.
    fn of<'i>(&self, entries: &'i [Descriptor]) -> Result<Vec<&'i Descriptor>, StoreError> {
        let has_tag = |entry: &&Descriptor, tag: &str| {
            let annotations = entry.annotations().as_ref();
            let names = NAMES.iter().filter_map(|key| annotations?.get(*key));
            let mut names = names.filter(|name| !name.is_empty());
            names.any(|name| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag))
        };
        let found = match self {
            Self::All => return Ok(entries.iter().collect()),
            Self::Only if entries.len() == 1 => entries.first(),
            Self::Only => entries.iter().find(|entry| has_tag(entry, "latest")),
            Self::Tag(tag) => entries.iter().find(|entry| has_tag(entry, tag)),
            Self::Digest(digest) => entries
                .iter()
                .find(|entry| descriptor_digest(entry).is_ok_and(|found| found == *digest)),
        };
        let Some(found) = found else {
            let known: Vec<&str> = entries
                .iter()
                .filter_map(|entry| {
                    let annotations = entry.annotations().as_ref()?;
                    NAMES.iter().find_map(|key| annotations.get(*key))
                })
                .map(String::as_str)
                .collect();
            let wanted = match self {
                Self::Tag(tag) => format!("image '{tag}'"),
                Self::Digest(digest) => format!("manifest {digest} in its 'index.json'"),
                Self::All | Self::Only => "image 'latest'".to_owned(),
            };
            let known = match known.len() {
                0 => format!("{} without a name", entries.len()),
                _ => known.join(", "),
            };
            return Err(StoreError::Archive(format!(
                "it has no {wanted}; the images in it: {known}"
            )));
        };
        Ok(vec![found])
    }
}

/// Tells that a layer begins; what is returned tells that it is done.
fn tell<'a>(
    watch: &'a dyn Fn(LayerProgress<'_>),
    layer: &'a Digest,
    file: &std::fs::File,
) -> impl FnOnce() + use<'a> {
    // Without it there is a layer of unknown size to hear of.
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    watch(LayerProgress { layer, done: 0, size });
    move || {
        watch(LayerProgress {
            layer,
            done: size,
            size,
        });
    }
}

/// Where in a layout something is.
struct Place<'a> {
    /// The names that lead there.
    tags: Vec<Reference>,
    /// The index that lists it, and the digest by which it does.
    listed: Option<(Arc<Vec<u8>>, Digest)>,
    depth: u32,
    wanted: Wanted<'a>,
}

/// Says whether a manifest is an image's. Attestations and other artifacts have no layers to unpack.
fn is_image(manifest: &ImageManifest) -> bool {
    let config = manifest.config().media_type().to_string();
    let known = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",
    ];
    let mut layers = manifest.layers().iter();
    known.contains(&config.as_str())
        && layers.all(|layer| LayerMediaType::recognise(layer.media_type()).is_some())
}

/// Says whether a layout holds an index or an artifact, which a docker-archive cannot.
fn has_more(spool: &Spool, index: &[u8]) -> bool {
    let Ok(Manifest::Index(index)) = parse_manifest(index, None) else {
        return false;
    };
    index.manifests().iter().any(|entry| {
        let read = blob(spool, entry).and_then(|(_, raw)| parse_manifest(&raw, None));
        match read {
            Ok(Manifest::Index(_)) => true,
            Ok(Manifest::Image(manifest)) => !is_image(&manifest),
            Err(_) => false,
        }
    })
}

fn is_broken_pipe(error: &StoreError) -> bool {
    matches!(error, StoreError::Sys(error) if error.errno == rustix::io::Errno::PIPE)
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
