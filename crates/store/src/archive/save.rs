//! Writing images into an archive that is a docker-archive and an OCI image layout at once.

use super::DockerImage;
use crate::blobs::digest_of;
use crate::tar::{Member, MemberKind, Writer};
use crate::{Image, Layer, Store, StoreError};
use oci::{Digest, Reference};
use serde_json::{Value, json};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A blob of the archive.
enum Content<'a> {
    Bytes(Vec<u8>),
    Layer(&'a Layer, u64),
}

impl Store {
    /// Writes images as one tar that `docker load`, `podman load` and `skopeo` read: a docker-archive that is an OCI
    /// image layout as well, with layers uncompressed. The same images give the same bytes.
    pub fn save(&self, images: &[(Image, Vec<Reference>)], into: &mut dyn Write) -> Result<(), StoreError> {
        let mut blobs: BTreeMap<Digest, Content<'_>> = BTreeMap::new();
        let mut docker: Vec<DockerImage> = Vec::new();
        let mut index: Vec<Value> = Vec::new();
        for (image, references) in images {
            for layer in &image.layers {
                if let Entry::Vacant(vacant) = blobs.entry(layer.diff_id) {
                    vacant.insert(Content::Layer(layer, self.layer_tar_size(layer)?));
                }
            }
            blobs.insert(image.id, Content::Bytes(image.raw_config.clone()));
            let layers: Vec<Value> = image
                .layers
                .iter()
                .map(|layer| {
                    let size = match blobs.get(&layer.diff_id) {
                        Some(Content::Layer(_, size)) => *size,
                        _ => 0,
                    };
                    descriptor(LAYER_TYPE, &layer.diff_id, size)
                })
                .collect();
            let manifest = document(&json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": descriptor(CONFIG_TYPE, &image.id, image.raw_config.len() as u64),
                "layers": layers,
            }))?;
            let manifest_digest = digest_of(&manifest);
            let mut entry = descriptor(MANIFEST_TYPE, &manifest_digest, manifest.len() as u64);
            blobs.insert(manifest_digest, Content::Bytes(manifest));
            entry["platform"] = json!(image.platform);
            // An index has one name per entry.
            let references: BTreeSet<&Reference> = references.iter().collect();
            for reference in &references {
                let mut named = entry.clone();
                named["annotations"] = json!({
                    "io.containerd.image.name": reference.to_string(),
                    "org.opencontainers.image.ref.name": reference.tag().unwrap_or_default(),
                });
                index.push(named);
            }
            if references.is_empty() {
                index.push(entry);
            }
            docker.push(DockerImage {
                config: member(&image.id),
                repo_tags: Some(references.iter().map(|reference| reference.familiar()).collect()),
                layers: Some(image.layers.iter().map(|layer| member(&layer.diff_id)).collect()),
            });
        }
        let mut tar = Writer::new(into);
        for directory in ["blobs", "blobs/sha256"] {
            tar.append(
                &header(directory.as_bytes(), MemberKind::Directory),
                &mut std::io::empty(),
            )?;
        }
        for (digest, content) in &blobs {
            let name = member(digest);
            match content {
                Content::Bytes(bytes) => bytes_member(&mut tar, &name, bytes)?,
                Content::Layer(layer, size) => {
                    let header = header(name.as_bytes(), MemberKind::File(*size));
                    tar.append_with(&header, *size, |into| self.write_layer_tar(layer, into))?;
                }
            }
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": index });
        bytes_member(&mut tar, "index.json", &document(&index)?)?;
        bytes_member(&mut tar, "manifest.json", &document(&docker)?)?;
        bytes_member(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.finish()?.flush().map_err(crate::TarError::Write)?;
        Ok(())
    }
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
