//! Images made in code.

use flate2::Compression;
use flate2::write::GzEncoder;
use oci::Digest;
use serde_json::{Value, json};
use std::io::Write;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BLOCK: usize = 512;

/// An image that is about to be: files per layer, and what it runs.
#[derive(Debug, Clone, Default)]
pub struct TestImage {
    /// Files of each layer, bottom first: path and content. A path that ends in `/` is a directory.
    pub layers: Vec<Vec<(String, Vec<u8>)>>,
    /// The `config` object of the image's configuration; `{}` if null.
    pub config: Value,
    /// `amd64` if empty.
    pub architecture: String,
}

/// An image's parts, as bytes.
#[derive(Debug, Clone)]
pub struct Put {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, bottom first, gzipped tars.
    pub layers: Vec<Vec<u8>>,
}

impl TestImage {
    /// Makes an image with one layer that has one file.
    pub fn with_file(path: &str, content: &[u8]) -> Self {
        Self {
            layers: vec![vec![(path.to_owned(), content.to_vec())]],
            ..Self::default()
        }
    }

    /// Makes layers, configuration and manifest.
    pub fn put(&self) -> Put {
        let tars: Vec<Vec<u8>> = self.layers.iter().map(|files| tar(files)).collect();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let diff_ids: Vec<Digest> = tars.iter().map(|tar| digest_of(tar)).collect();
        let architecture = match self.architecture.as_str() {
            "" => "amd64",
            other => other,
        };
        let settings = if self.config.is_null() {
            json!({})
        } else {
            self.config.clone()
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string()
        .into_bytes();
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": descriptors,
        })
        .to_string()
        .into_bytes();
        Put {
            manifest,
            config,
            layers,
        }
    }
}

impl Put {
    /// Writes the image as an OCI layout under `directory`, with one tag.
    pub fn write_layout(&self, directory: &std::path::Path, tag: &str) -> std::io::Result<()> {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        for bytes in self.layers.iter().chain([&self.config, &self.manifest]) {
            std::fs::write(blobs.join(digest_of(bytes).hex()), bytes)?;
        }
        let mut entry = descriptor(MANIFEST, &self.manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        std::fs::write(directory.join("index.json"), index.to_string())?;
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
    }
}

/// Makes an index's bytes.
pub(super) fn index(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let manifests: Vec<Value> = entries
        .iter()
        .map(|(platform, bytes)| {
            let nested =
                serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.get("manifests").is_some());
            let mut entry = descriptor(if nested { INDEX } else { MANIFEST }, bytes);
            let mut parts = platform.split('/');
            entry["platform"] = json!({"os": parts.next(), "architecture": parts.next().unwrap_or_default()});
            if let Some(variant) = parts.next() {
                entry["platform"]["variant"] = json!(variant);
            }
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        .to_string()
        .into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

/// Returns the sha256 of some bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest::from_sha256(digest)
}

/// Returns a gzipped tar of these files; a path that ends in `/` is a directory.
pub fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    gzip(&tar(files))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into a Vec does not fail; an empty result would fail every digest.
    encoder.write_all(bytes).unwrap_or_default();
    encoder.finish().unwrap_or_default()
}

/// POSIX.1-1988 ustar with fixed owner and time.
fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        let directory = path.ends_with('/');
        let mut header = [0_u8; BLOCK];
        let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        field(0, path);
        field(100, if directory { "0000755\0" } else { "0000644\0" });
        field(108, "0000000\0");
        field(116, "0000000\0");
        field(124, &format!("{:011o}\0", content.len()));
        field(136, "00000000000\0");
        field(148, "        ");
        field(156, if directory { "5" } else { "0" });
        field(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}
