//! Talking to registries: the OCI distribution specification, with Docker's ways of naming and authenticating.
//!
//! In: references and credentials. Out: manifests and blob streams. Stands on `reqwest` and `rustls`; its Tokio
//! runtime is its own affair, calls block. Never touches the store.

use oci::{Descriptor, Digest, Platform, Reference};
use std::io::Read;
use std::path::PathBuf;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Docker's `config.json` with auths and credential helpers; normally `~/.docker/config.json`.
    pub docker_config: Option<PathBuf>,
    /// Where to look instead, first match wins.
    pub mirrors: Vec<Mirror>,
    /// Registries (`host[:port]`) that are spoken to over plain HTTP or with certificates nobody vouches for.
    /// Loopback addresses always may.
    pub insecure: Vec<String>,
    /// `--progress`-independent name and version for the User-Agent header.
    pub user_agent: String,
}

/// References that begin with `prefix` (`docker.io/library`) are looked for at `endpoint` first
/// (`mirror.example/hub`), then where they say.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Mirror {
    /// Beginning of `registry/repository`, at a `/`.
    pub prefix: String,
    /// `[http://]host[:port][/path]` that stands for the prefix.
    pub endpoint: String,
}

/// An image at a registry: what a reference and a platform came to.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// Digest of what the reference names: the index's where there is one. Repository digests are made of it.
    pub digest: Digest,
    /// The index's bytes, if the reference led to one.
    pub index: Option<Vec<u8>>,
    /// Digest of the image's own manifest.
    pub manifest_digest: Digest,
    /// The manifest's bytes.
    pub raw_manifest: Vec<u8>,
    /// The manifest, read.
    pub manifest: oci::ImageManifest,
    /// The configuration's bytes, verified.
    pub raw_config: Vec<u8>,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Opaque: where the blobs are (which endpoint answered).
    pub(crate) source: String,
}

/// A client for all registries; keeps connections and tokens while it lives. Threads share it.
#[derive(Debug)]
pub struct Client {
    config: RegistryConfig,
}

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such repository or tag, or it may not be seen.
    #[error("manifest for {0} not found")]
    NotFound(String),
}

impl Client {
    /// Makes a client; reads no file and opens no connection yet.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistryError> {
        Ok(Self { config })
    }

    /// Finds out what `reference` names and picks the image for `platform` where it is an index.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<RemoteImage, RegistryError> {
        todo!("{reference} {platform} {:?}", self.config)
    }

    /// Opens a blob of `image` as a stream that resumes by range when the connection breaks, retries with backoff,
    /// and gives up after 30 s of silence. The reader's caller verifies digest and size.
    pub fn blob(
        &self,
        reference: &Reference,
        image: &RemoteImage,
        blob: &Descriptor,
    ) -> Result<Box<dyn Read + Send>, RegistryError> {
        todo!("{reference} {} {blob:?}", image.source)
    }
}
