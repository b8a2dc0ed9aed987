//! Artifacts: layers and other blobs under one manifest whose configuration is no image's. A build cache is one.

use super::layout::{Content, Contents, LAYOUT};
use super::save::{INDEX_TYPE, MANIFEST_TYPE, descriptor, document};
use crate::blobs::{create, digest_of};
use crate::tree_tar::Hashed;
use crate::{Layer, LayoutOptions, Lease, Store, StoreError};
use oci::{Digest, LayerMediaType, MediaType};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use sys::SysError;

/// A blob of an artifact.
#[derive(Debug, Clone)]
pub struct ArtifactBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What it is.
    pub media_type: String,
    /// The layer whose plain tar it is, which is written when it is needed.
    tar_of: Option<Layer>,
}

impl Store {
    /// Returns the blobs that layers are kept as, in their order, and makes those that are not there. With `as_they_are`
    /// a layer that is here in any compressed form stays in it.
    pub fn layer_forms(
        &self,
        lease: &Lease,
        layers: &[Layer],
        options: &LayoutOptions,
        as_they_are: bool,
    ) -> Result<Vec<ArtifactBlob>, StoreError> {
        let mut kept = Vec::with_capacity(layers.len());
        for layer in layers {
            kept.push(if as_they_are {
                self.kept_form(lease, layer)?
            } else {
                None
            });
        }
        let missing = layers.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let forms = self.forms(lease, missing.map(|(layer, _)| layer).collect(), options)?;
        let made = |layer: &Layer| {
            forms
                .get(&layer.diff_id)
                .map(|form| ArtifactBlob {
                    digest: form.digest,
                    size: form.size,
                    media_type: form.media_type.clone(),
                    tar_of: (form.digest == layer.diff_id).then(|| layer.clone()),
                })
                .ok_or_else(|| StoreError::Archive(format!("the layer {} is gone", layer.diff_id)))
        };
        layers
            .iter()
            .zip(kept)
            .map(|(layer, kept)| kept.map_or_else(|| made(layer), Ok))
            .collect()
    }

    /// Returns a compressed blob that holds a layer's tar, if one is here.
    fn kept_form(&self, lease: &Lease, layer: &Layer) -> Result<Option<ArtifactBlob>, StoreError> {
        for (digest, size, media_type) in self.layer_blobs(&layer.diff_id)? {
            let kind = LayerMediaType::recognise(&MediaType::from(media_type.as_str()));
            if digest == layer.diff_id
                || kind.is_none_or(|kind| kind.foreign || kind.compression == oci::Compression::None)
                || self.find_blob(lease, &digest)?.is_none()
            {
                continue;
            }
            return Ok(Some(ArtifactBlob {
                digest,
                size,
                media_type,
                tar_of: None,
            }));
        }
        Ok(None)
    }

    /// Stores what `write` writes as a blob; it stays as long as the lease, unless something refers to it.
    pub fn put_stream(
        &self,
        lease: &Lease,
        media_type: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<ArtifactBlob, StoreError> {
        let temporary = lease.temporary()?;
        let file = std::io::BufWriter::with_capacity(1 << 18, create(&temporary.0)?);
        let mut hashed = Hashed::new(file);
        write(&mut hashed)?;
        hashed
            .flush()
            .map_err(|error| SysError::io("write", &temporary.0, &error))?;
        let digest = hashed.digest();
        let stat = rustix::fs::lstat(&temporary.0).map_err(SysError::on("look at", &temporary.0))?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        self.database
            .write(|t| self.place_blob(t, lease, &temporary.0, &digest, size))?;
        Ok(ArtifactBlob {
            digest,
            size,
            media_type: media_type.to_owned(),
            tar_of: None,
        })
    }

    /// Opens an artifact's blob; a tar that is not there is written first.
    pub fn open_artifact_blob(&self, lease: &Lease, blob: &ArtifactBlob) -> Result<File, StoreError> {
        if let Some(layer) = &blob.tar_of {
            self.put_stream(lease, &blob.media_type, &mut |into| {
                self.write_layer_tar(layer, into)
            })?;
        }
        self.open_blob(&blob.digest)?
            .ok_or_else(|| StoreError::Archive(format!("the blob {} is gone", blob.digest)))
    }

    /// Writes an artifact into a directory as an OCI layout. What blobs it has stay; its index becomes this one, last of
    /// all.
    pub fn write_artifact(
        &self,
        blobs: &[ArtifactBlob],
        (config_type, config): (&str, &[u8]),
        directory: &Path,
    ) -> Result<(), StoreError> {
        let manifest = artifact_manifest(blobs, (config_type, config))?;
        let entry = descriptor(MANIFEST_TYPE, &digest_of(&manifest), manifest.len() as u64);
        let mut contents = Contents::new();
        for blob in blobs {
            let content = match &blob.tar_of {
                Some(layer) => Content::Tar(layer, blob.size),
                None => Content::Kept(blob.size),
            };
            contents.insert(blob.digest, content);
        }
        for bytes in [config, &manifest] {
            contents.insert(digest_of(bytes), Content::Bytes(bytes.to_vec()));
        }
        let index = document(&json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry] }))?;
        self.write_blobs(&contents, directory)?;
        sys::fs::write_atomically(&directory.join("oci-layout"), LAYOUT, 0o644)?;
        sys::fs::write_atomically(&directory.join("index.json"), &index, 0o644)?;
        Ok(())
    }
}

/// Returns the manifest of an artifact. A blob that is named twice stands there once.
pub fn artifact_manifest(
    blobs: &[ArtifactBlob],
    (config_type, config): (&str, &[u8]),
) -> Result<Vec<u8>, StoreError> {
    let mut known = std::collections::BTreeSet::new();
    let layers: Vec<_> = blobs
        .iter()
        .filter(|blob| known.insert(blob.digest))
        .map(|blob| descriptor(&blob.media_type, &blob.digest, blob.size))
        .collect();
    document(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(config_type, &digest_of(config), config.len() as u64),
        "layers": layers,
    }))
}
