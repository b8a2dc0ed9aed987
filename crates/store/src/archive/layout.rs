//! OCI image layouts, as a tar or a directory, with layers in the form that was asked for.

use super::DockerImage;
use super::save::{
    CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, bytes_member, descriptor, document, header, member,
};
use crate::blobs::digest_of;
use crate::tar::{MemberKind, Writer};
use crate::{Image, Layer, Lease, Store, StoreError};
use oci::{Compression, Digest, LayerMediaType, MediaType, Reference};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use sys::SysError;

const DOCKER_CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// How an image is written.
#[derive(Debug, Clone)]
pub struct LayoutOptions {
    /// How layers are compressed that are not compressed yet.
    pub compression: Compression,
    /// How hard; `None` is the method's own choice.
    pub level: Option<i32>,
    /// Whether layers that are here in another form are made anew.
    pub force: bool,
    /// Whether the documents' types are OCI's, and not Docker's.
    pub oci_types: bool,
    /// Whether `docker load` of old finds its own description in it, too.
    pub for_docker: bool,
    /// Names for it.
    pub references: Vec<Reference>,
    /// Annotations of manifests.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the entries that lead to it.
    pub entry_annotations: BTreeMap<String, String>,
    /// Annotations of the index of an image for several platforms.
    pub index_annotations: BTreeMap<String, String>,
}

/// A blob of the layout.
pub(super) enum Content<'a> {
    Bytes(Vec<u8>),
    /// A blob of the store's.
    Kept(u64),
    /// Written while it is read.
    Tar(&'a Layer, u64),
}

impl Content<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Kept(size) | Self::Tar(_, size) => *size,
        }
    }
}

pub(super) type Contents<'a> = BTreeMap<Digest, Content<'a>>;

/// A layer in the form in which it is written.
pub(super) struct Form {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

impl Store {
    /// Writes an image as a tar of an OCI layout; of several images (one a platform) an index. The same images and
    /// options give the same bytes.
    pub fn write_layout(
        &self,
        lease: &Lease,
        images: &[Image],
        options: &LayoutOptions,
        into: &mut dyn Write,
    ) -> Result<(), StoreError> {
        let (blobs, index, docker) = self.layout(lease, images, options)?;
        let mut tar = Writer::new(into);
        for directory in ["blobs", "blobs/sha256"] {
            tar.append(
                &header(directory.as_bytes(), MemberKind::Directory),
                &mut std::io::empty(),
            )?;
        }
        for (digest, content) in &blobs {
            let name = member(digest);
            let size = content.size();
            let header = header(name.as_bytes(), MemberKind::File(size));
            tar.append_with(&header, size, |into| self.write_content(digest, content, into))?;
        }
        bytes_member(&mut tar, "index.json", &index)?;
        if options.for_docker {
            bytes_member(&mut tar, "manifest.json", &docker)?;
        }
        bytes_member(&mut tar, "oci-layout", LAYOUT)?;
        tar.finish()?.flush().map_err(crate::TarError::Write)?;
        Ok(())
    }

    /// Like [`Store::write_layout`], into a directory, which is made if it is not there. What blobs it has stay; its
    /// index becomes this one, last of all.
    pub fn write_layout_directory(
        &self,
        lease: &Lease,
        images: &[Image],
        options: &LayoutOptions,
        directory: &Path,
    ) -> Result<(), StoreError> {
        let (blobs, index, docker) = self.layout(lease, images, options)?;
        self.write_blobs(&blobs, directory)?;
        sys::fs::write_atomically(&directory.join("oci-layout"), LAYOUT, 0o644)?;
        if options.for_docker {
            sys::fs::write_atomically(&directory.join("manifest.json"), &docker, 0o644)?;
        }
        sys::fs::write_atomically(&directory.join("index.json"), &index, 0o644)?;
        Ok(())
    }

    /// Writes blobs into a layout's directory, those that are not there.
    pub(super) fn write_blobs(&self, blobs: &Contents<'_>, directory: &Path) -> Result<(), StoreError> {
        let place = directory.join("blobs/sha256");
        sys::fs::create_directories(&place, 0o755)?;
        for (digest, content) in blobs {
            let path = place.join(digest.hex());
            if std::fs::metadata(&path).is_ok_and(|found| found.len() == content.size()) {
                continue;
            }
            let part = place.join(format!(".{}.{}.part", digest.hex(), std::process::id()));
            let written = std::fs::File::create(&part)
                .map_err(|error| StoreError::from(SysError::io("make", &part, &error)))
                .and_then(|file| {
                    let mut file = std::io::BufWriter::with_capacity(1 << 18, file);
                    self.write_content(digest, content, &mut file)?;
                    file.flush()
                        .map_err(|error| SysError::io("write", &part, &error))?;
                    std::fs::rename(&part, &path)
                        .map_err(|error| SysError::io("rename to", &path, &error))?;
                    Ok(())
                });
            if let Err(error) = written {
                sys::fs::remove_all(&part)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns the blobs of a layout, its index, and Docker's description.
    fn layout<'a>(
        &self,
        lease: &Lease,
        images: &'a [Image],
        options: &LayoutOptions,
    ) -> Result<(Contents<'a>, Vec<u8>, Vec<u8>), StoreError> {
        let layers = images.iter().flat_map(|image| &image.layers).collect();
        let forms = self.forms(lease, layers, options)?;
        let mut blobs = Contents::new();
        let mut entries: Vec<Value> = Vec::new();
        let mut docker: Vec<DockerImage> = Vec::new();
        for image in images {
            let mut layers = Vec::new();
            let mut members = Vec::new();
            for layer in &image.layers {
                let Some(form) = forms.get(&layer.diff_id) else {
                    continue;
                };
                let content = if form.digest == layer.diff_id {
                    Content::Tar(layer, form.size)
                } else {
                    Content::Kept(form.size)
                };
                blobs.insert(form.digest, content);
                layers.push(descriptor(&form.media_type, &form.digest, form.size));
                members.push(member(&form.digest));
            }
            let size = image.raw_config.len() as u64;
            let (config_type, manifest_type) = if options.oci_types {
                (CONFIG_TYPE, MANIFEST_TYPE)
            } else {
                (DOCKER_CONFIG_TYPE, DOCKER_MANIFEST_TYPE)
            };
            let mut manifest = json!({
                "schemaVersion": 2,
                "mediaType": manifest_type,
                "config": descriptor(config_type, &image.id, size),
                "layers": layers,
            });
            annotate(&mut manifest, &options.annotations);
            blobs.insert(image.id, Content::Bytes(image.raw_config.clone()));
            let mut entry = add(&mut blobs, manifest_type, &manifest)?;
            entry["platform"] = json!(image.platform);
            entries.push(entry);
            docker.push(DockerImage {
                config: member(&image.id),
                repo_tags: Some(options.references.iter().map(Reference::familiar).collect()),
                layers: Some(members),
            });
        }
        if entries.len() > 1 {
            let index_type = if options.oci_types {
                INDEX_TYPE
            } else {
                DOCKER_INDEX_TYPE
            };
            let mut index = json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": entries });
            annotate(&mut index, &options.index_annotations);
            entries = vec![add(&mut blobs, index_type, &index)?];
        }
        let mut named = Vec::new();
        for mut entry in entries {
            annotate(&mut entry, &options.entry_annotations);
            // An index has one name an entry.
            for reference in &options.references {
                let mut entry = entry.clone();
                entry["annotations"]["io.containerd.image.name"] = reference.to_string().into();
                entry["annotations"]["org.opencontainers.image.ref.name"] =
                    reference.tag().unwrap_or_default().into();
                named.push(entry);
            }
            if options.references.is_empty() {
                named.push(entry);
            }
        }
        let index = document(&json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": named }))?;
        let docker = document(&docker)?;
        Ok((blobs, index, docker))
    }

    /// Brings all layers into the form that is wanted, several at once.
    pub(super) fn forms(
        &self,
        lease: &Lease,
        mut layers: Vec<&Layer>,
        options: &LayoutOptions,
    ) -> Result<BTreeMap<Digest, Form>, StoreError> {
        layers.sort_by_key(|layer| layer.diff_id);
        layers.dedup_by_key(|layer| layer.diff_id);
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(layers.len());
        let next = AtomicUsize::new(0);
        let forms = Mutex::new(BTreeMap::new());
        let work = || -> Result<(), StoreError> {
            while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                let form = self.form(lease, layer, options)?;
                let mut forms = forms.lock().unwrap_or_else(PoisonError::into_inner);
                forms.insert(layer.diff_id, form);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            others
                .into_iter()
                .map(|other| {
                    other
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .fold(own, Result::and)
        })?;
        Ok(forms.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn form(&self, lease: &Lease, layer: &Layer, options: &LayoutOptions) -> Result<Form, StoreError> {
        let media_type = layer_type(options.compression, options.oci_types);
        if options.compression == Compression::None {
            return Ok(Form {
                digest: layer.diff_id,
                size: self.layer_tar_size(layer)?,
                media_type: media_type.to_owned(),
            });
        }
        let is_wanted = |media_type: &str| {
            LayerMediaType::recognise(&MediaType::from(media_type))
                .is_some_and(|known| known.compression == options.compression && !known.foreign)
        };
        if !options.force && options.level.is_none() {
            let kept = self.layer_blobs(&layer.diff_id)?;
            if let Some((digest, size, _)) = kept.into_iter().find(|(_, _, known)| is_wanted(known)) {
                return Ok(Form {
                    digest,
                    size,
                    media_type: media_type.to_owned(),
                });
            }
        }
        let (digest, size) = self.add_layer_blob(lease, layer, media_type, &mut |into| {
            let failed = |error: StoreError| std::io::Error::other(error);
            match options.compression {
                Compression::Gzip => {
                    let level = options.level.map_or(6, |level| level.clamp(0, 9).unsigned_abs());
                    let mut encoder = flate2::write::GzEncoder::new(into, flate2::Compression::new(level));
                    self.write_layer_tar(layer, &mut encoder).map_err(failed)?;
                    encoder.finish()?;
                }
                Compression::Zstd => {
                    let mut encoder = zstd::stream::write::Encoder::new(into, options.level.unwrap_or(3))?;
                    self.write_layer_tar(layer, &mut encoder).map_err(failed)?;
                    encoder.finish()?;
                }
                Compression::None => self.write_layer_tar(layer, into).map_err(failed)?,
            }
            Ok(())
        })?;
        Ok(Form {
            digest,
            size,
            media_type: media_type.to_owned(),
        })
    }

    fn write_content(
        &self,
        digest: &Digest,
        content: &Content<'_>,
        into: &mut dyn Write,
    ) -> Result<(), StoreError> {
        match content {
            Content::Bytes(bytes) => into.write_all(bytes).map_err(crate::TarError::Write)?,
            Content::Tar(layer, _) => self.write_layer_tar(layer, into)?,
            Content::Kept(_) => {
                let mut file = self
                    .open_blob(digest)?
                    .ok_or_else(|| StoreError::Archive(format!("the blob {digest} is gone")))?;
                std::io::copy(&mut file, into).map_err(crate::TarError::Write)?;
            }
        }
        Ok(())
    }
}

fn layer_type(compression: Compression, oci_types: bool) -> &'static str {
    match (compression, oci_types) {
        (Compression::None, true) => "application/vnd.oci.image.layer.v1.tar",
        (Compression::Gzip, true) => "application/vnd.oci.image.layer.v1.tar+gzip",
        // Docker has no name of its own for it.
        (Compression::Zstd, _) => "application/vnd.oci.image.layer.v1.tar+zstd",
        (Compression::None, false) => "application/vnd.docker.image.rootfs.diff.tar",
        (Compression::Gzip, false) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
}

fn annotate(document: &mut Value, annotations: &BTreeMap<String, String>) {
    for (name, value) in annotations {
        document["annotations"][name] = value.clone().into();
    }
}

/// Adds a document as a blob and returns the entry that leads to it.
fn add(blobs: &mut Contents<'_>, media_type: &str, content: &Value) -> Result<Value, StoreError> {
    let bytes = document(content)?;
    let digest = digest_of(&bytes);
    let entry = descriptor(media_type, &digest, bytes.len() as u64);
    blobs.insert(digest, Content::Bytes(bytes));
    Ok(entry)
}
