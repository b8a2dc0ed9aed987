//! Writing images into an archive that is a docker-archive and an OCI image layout at once.

use super::DockerImage;
use crate::blobs::digest_of;
use crate::tar::{Member, MemberKind, Writer};
use crate::{Artifact, Image, Index, Layer, Store, StoreError};
use oci::{Digest, Manifest, Reference, descriptor_digest};
use serde_json::{Value, json};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// What a save writes under one set of names.
#[derive(Debug)]
pub struct Parcel {
    /// What it is.
    pub content: ParcelContent,
    /// The names.
    pub references: Vec<Reference>,
}

/// What a save writes.
#[derive(Debug)]
pub enum ParcelContent {
    /// An artifact, byte for byte.
    Artifact(Artifact),
    /// An image.
    Image(Box<Image>),
    /// Images for several platforms; the first is the one for readers that know but one. With the index that they are
    /// all of it is written byte for byte, if their layers are here as they came.
    Index(Vec<Image>, Option<Index>),
}

/// A blob of the archive.
enum Content<'a> {
    Bytes(Vec<u8>),
    /// A blob of the store's.
    Kept(u64),
    Layer(&'a Layer, u64),
}

impl Content<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Kept(size) | Self::Layer(_, size) => *size,
        }
    }
}

/// The archive as it comes about.
#[derive(Default)]
struct Contents<'a> {
    blobs: BTreeMap<Digest, Content<'a>>,
    docker: Vec<DockerImage>,
    index: Vec<Value>,
}

impl<'a> Contents<'a> {
    /// Adds a document and returns the entry that leads to it.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest_of(&bytes);
        let entry = descriptor(media_type, &digest, bytes.len() as u64);
        self.blobs.insert(digest, Content::Bytes(bytes));
        entry
    }

    /// Lists an entry in the archive's index, once for each name: an entry has but one.
    fn list(&mut self, entry: &Value, references: &BTreeSet<&Reference>) {
        for reference in references {
            let mut named = entry.clone();
            named["annotations"]["io.containerd.image.name"] = reference.to_string().into();
            named["annotations"]["org.opencontainers.image.ref.name"] =
                reference.tag().unwrap_or_default().into();
            self.index.push(named);
        }
        if references.is_empty() {
            self.index.push(entry.clone());
        }
    }

    fn list_for_docker(&mut self, image: &Image, layers: Vec<String>, references: &BTreeSet<&Reference>) {
        self.docker.push(DockerImage {
            config: member(&image.id),
            repo_tags: Some(references.iter().map(|reference| reference.familiar()).collect()),
            layers: Some(layers),
        });
    }

    /// Adds an image with its layers uncompressed, and returns the entry of its manifest.
    fn add_image(&mut self, store: &Store, image: &'a Image) -> Result<Value, StoreError> {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let size = match self.blobs.entry(layer.diff_id) {
                Entry::Occupied(known) => known.get().size(),
                Entry::Vacant(vacant) => vacant
                    .insert(Content::Layer(layer, store.layer_tar_size(layer)?))
                    .size(),
            };
            layers.push(descriptor(LAYER_TYPE, &layer.diff_id, size));
        }
        self.blobs
            .insert(image.id, Content::Bytes(image.raw_config.clone()));
        let manifest = document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &image.id, image.raw_config.len() as u64),
            "layers": layers,
        }))?;
        let mut entry = self.add(MANIFEST_TYPE, manifest);
        entry["platform"] = json!(image.platform);
        Ok(entry)
    }

    /// Adds what a manifest names, byte for byte; `config` are bytes of its configuration. `None`, and some of it added, if
    /// a blob is not here.
    fn add_as_it_came(
        &mut self,
        store: &Store,
        manifest: &Digest,
        config: Option<&Image>,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let Some(raw) = store.read_blob(manifest, oci::MAX_MANIFEST_BYTES as u64)? else {
            return Ok(None);
        };
        let unusable = |source| StoreError::Manifest {
            digest: *manifest,
            source,
        };
        let Manifest::Image(read) = Manifest::parse(&raw, None).map_err(unusable)? else {
            return Ok(None);
        };
        let mut members = Vec::new();
        for (position, blob) in std::iter::once(read.config()).chain(read.layers()).enumerate() {
            let digest = descriptor_digest(blob).map_err(unusable)?;
            match config.filter(|image| position == 0 && image.id == digest) {
                Some(image) => {
                    self.blobs
                        .insert(digest, Content::Bytes(image.raw_config.clone()));
                }
                None if store.open_blob(&digest)?.is_some() => {
                    self.blobs.insert(digest, Content::Kept(blob.size()));
                }
                None => return Ok(None),
            }
            if position > 0 {
                members.push(member(&digest));
            }
        }
        self.blobs.insert(*manifest, Content::Bytes(raw));
        Ok(Some(members))
    }

    /// Adds an index with all that it lists, byte for byte, and returns its entry; `None`, and nothing added, if not all of
    /// it is here as it came.
    fn add_whole_index(
        &mut self,
        store: &Store,
        images: &[Image],
        index: &Index,
    ) -> Result<Option<(Value, Vec<String>)>, StoreError> {
        let raw = match &index.digest {
            Some(digest) if index.is_whole() => store.read_blob(digest, oci::MAX_MANIFEST_BYTES as u64)?,
            _ => None,
        };
        let Some(raw) = raw else { return Ok(None) };
        let mut added = Self::default();
        let mut of_first = Vec::new();
        for listed in &index.members {
            let image = images.iter().find(|image| Some(image.id) == listed.image);
            let Some(manifest) = &listed.manifest else {
                return Ok(None);
            };
            let Some(layers) = added.add_as_it_came(store, manifest, image)? else {
                return Ok(None);
            };
            if image.is_some_and(|image| images.first().is_some_and(|first| first.id == image.id)) {
                of_first = layers;
            }
        }
        for (digest, content) in added.blobs {
            self.blobs.entry(digest).or_insert(content);
        }
        let media_type = match Manifest::parse(&raw, None) {
            Ok(manifest) => manifest.media_type().to_string(),
            Err(_) => INDEX_TYPE.to_owned(),
        };
        Ok(Some((self.add(&media_type, raw), of_first)))
    }
}

impl Store {
    /// Writes images as one tar that `docker load`, `podman load` and `skopeo` read: a docker-archive that is an OCI
    /// image layout as well, with layers uncompressed. The same images give the same bytes.
    pub fn save(&self, images: &[(Image, Vec<Reference>)], into: &mut dyn Write) -> Result<(), StoreError> {
        let parcels: Vec<Parcel> = images
            .iter()
            .map(|(image, references)| Parcel {
                content: ParcelContent::Image(Box::new(image.clone())),
                references: references.clone(),
            })
            .collect();
        self.save_parcels(&parcels, into)
    }

    /// Like [`Store::save`], for images of several platforms and artifacts, too. Readers that know no index find the first
    /// image of each.
    pub fn save_parcels(&self, parcels: &[Parcel], into: &mut dyn Write) -> Result<(), StoreError> {
        let mut contents = Contents::default();
        for parcel in parcels {
            let references: BTreeSet<&Reference> = parcel.references.iter().collect();
            match &parcel.content {
                ParcelContent::Artifact(artifact) => {
                    contents
                        .add_as_it_came(self, &artifact.digest, None)?
                        .ok_or(StoreError::NoSuchImage(artifact.digest))?;
                    let size = contents.blobs.get(&artifact.digest).map_or(0, Content::size);
                    let mut entry = descriptor(MANIFEST_TYPE, &artifact.digest, size);
                    entry["artifactType"] = artifact.kind.clone().into();
                    contents.list(&entry, &references);
                }
                ParcelContent::Image(image) => {
                    let entry = contents.add_image(self, image)?;
                    contents.list(&entry, &references);
                    contents.list_for_docker(image, plain_members(image), &references);
                }
                ParcelContent::Index(images, index) => {
                    let whole = match index {
                        Some(index) => contents.add_whole_index(self, images, index)?,
                        None => None,
                    };
                    let (entry, layers) = if let Some(whole) = whole {
                        whole
                    } else {
                        let mut entries = Vec::new();
                        for image in images {
                            entries.push(contents.add_image(self, image)?);
                        }
                        let index = document(&json!({
                            "schemaVersion": 2,
                            "mediaType": INDEX_TYPE,
                            "manifests": entries,
                        }))?;
                        let layers = images.first().map(plain_members).unwrap_or_default();
                        (contents.add(INDEX_TYPE, index), layers)
                    };
                    contents.list(&entry, &references);
                    if let Some(first) = images.first() {
                        contents.list_for_docker(first, layers, &references);
                    }
                }
            }
        }
        self.write_contents(&contents, into)
    }

    fn write_contents(&self, contents: &Contents<'_>, into: &mut dyn Write) -> Result<(), StoreError> {
        let mut tar = Writer::new(into);
        for directory in ["blobs", "blobs/sha256"] {
            tar.append(
                &header(directory.as_bytes(), MemberKind::Directory),
                &mut std::io::empty(),
            )?;
        }
        for (digest, content) in &contents.blobs {
            let name = member(digest);
            let header = header(name.as_bytes(), MemberKind::File(content.size()));
            match content {
                Content::Bytes(bytes) => bytes_member(&mut tar, &name, bytes)?,
                Content::Layer(layer, size) => {
                    tar.append_with(&header, *size, |into| self.write_layer_tar(layer, into))?;
                }
                Content::Kept(size) => tar.append_with(&header, *size, |into| {
                    let mut file = self
                        .open_blob(digest)?
                        .ok_or_else(|| StoreError::Archive(format!("the blob {digest} is gone")))?;
                    std::io::copy(&mut file, into).map_err(crate::TarError::Write)?;
                    Ok::<_, StoreError>(())
                })?,
            }
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": contents.index });
        bytes_member(&mut tar, "index.json", &document(&index)?)?;
        // Without an image it is no docker-archive.
        if !contents.docker.is_empty() {
            bytes_member(&mut tar, "manifest.json", &document(&contents.docker)?)?;
        }
        bytes_member(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.finish()?.flush().map_err(crate::TarError::Write)?;
        Ok(())
    }
}

fn plain_members(image: &Image) -> Vec<String> {
    image.layers.iter().map(|layer| member(&layer.diff_id)).collect()
}

pub(super) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
}

pub(super) fn document(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|source| StoreError::Document {
        what: "a document of the archive".to_owned(),
        source,
    })
}

pub(super) fn member(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(super) fn header<'a>(path: &'a [u8], kind: MemberKind<'a>) -> Member<'a> {
    Member {
        path,
        kind,
        mode: if matches!(kind, MemberKind::Directory) {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: &[],
    }
}

pub(super) fn bytes_member(
    tar: &mut Writer<&mut dyn Write>,
    name: &str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let kind = MemberKind::File(bytes.len() as u64);
    Ok(tar.append(&header(name.as_bytes(), kind), &mut &bytes[..])?)
}
