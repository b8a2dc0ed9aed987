//! Talking to registries: the OCI distribution specification, with Docker's ways of naming and authenticating.
//!
//! In: references and credentials. Out: manifests and blob streams. Stands on `reqwest` and `rustls`; its Tokio
//! runtime is its own affair, calls block. Never touches the store.
//!
//! A pull goes through the modules in this order: `endpoint` (where to look), `image` (reference to manifest,
//! `platform`, configuration) and `blob` (streams); a push through `upload` (blobs) and `put` (manifests). All are by
//! `session` (one request: scheme, credentials, retries), which uses `token` (`challenge`, `credentials`) and `transport` (connections, redirects; `names`, `tls`). All of it
//! runs on the thread of `worker`. `login` checks what `keep` then keeps; `tags`,
//! `referrers` and `search` read lists by `pages`.
//!
//! What comes from a registry is hostile until its digest says otherwise: documents have a largest size, what is
//! printed has no control characters, credentials are for the origin they were stored for and its token server.

mod blob;
mod certificates;
mod challenge;
mod credentials;
mod download;
mod endpoint;
mod error;
mod image;
mod keep;
mod lanes;
mod login;
mod names;
mod pages;
mod platform;
mod put;
mod referrers;
mod retry;
mod search;
mod session;
mod tags;
mod tls;
mod token;
mod transport;
mod upload;
mod worker;

pub use credentials::Auth;
pub use download::Downloaded;
pub use error::{Cause, RegistryError};
pub use keep::{Kept, registry_of};
#[doc(hidden)]
pub use lanes::Slow;
pub use search::Found;
pub use upload::{Content, Landed};

use oci::{Descriptor, Digest, Platform, Reference};
use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Docker's `config.json` with auths and credential helpers; normally `~/.docker/config.json`.
    pub docker_config: Option<PathBuf>,
    /// By registry; these count instead of that file's.
    pub credentials: Option<HashMap<String, Auth>>,
    /// Directories with certificates for single registries, `<host[:port]>/*.crt` and so on; the first one that has a
    /// registry counts.
    pub certificates: Vec<PathBuf>,
    /// Once this is true nobody wants anything any more, and every call fails.
    pub abandoned: Option<Arc<AtomicBool>>,
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
    /// The digest under which the index lists what led to the image: its manifest's, unless indexes are nested.
    pub entry: Option<Digest>,
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

/// A repository to push to.
#[derive(Debug, Clone)]
pub struct Target {
    endpoint: endpoint::Endpoint,
    /// As people write it.
    name: String,
}

/// Times and names that tests change.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How long making a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a server may say nothing.
    pub idle_timeout: Duration,
    /// The first wait before another attempt; later ones double.
    pub backoff: Duration,
    /// Addresses that are not asked of the resolver.
    pub hosts: HashMap<String, IpAddr>,
    /// Whether to leave the proxy variables aside.
    pub no_proxy: bool,
    /// When a blob is fetched over several connections.
    pub slow: Slow,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            hosts: HashMap::new(),
            no_proxy: false,
            slow: Slow::default(),
        }
    }
}

/// A client for all registries; keeps connections and tokens while it lives. Threads share it.
///
/// Its calls block, so they must not be made from an asynchronous task, only from a thread that may wait.
#[derive(Debug)]
pub struct Client {
    session: Arc<session::Session>,
    /// Started by the first call.
    worker: Mutex<Option<Arc<worker::Worker>>>,
}

impl Client {
    /// Makes a client; reads no file and opens no connection yet.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistryError> {
        Self::with_tuning(config, Tuning::default())
    }

    /// Makes a client with other times.
    #[doc(hidden)]
    pub fn with_tuning(config: RegistryConfig, tuning: Tuning) -> Result<Self, RegistryError> {
        Ok(Self {
            session: Arc::new(session::Session::new(config, tuning)),
            worker: Mutex::new(None),
        })
    }

    /// Finds out what `reference` names and picks the image for `platform` where it is an index. An image that is no
    /// index's is returned whatever platform it is for; its configuration says which.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<RemoteImage, RegistryError> {
        let (session, reference, platform) = (self.session.clone(), reference.clone(), platform.clone());
        self.worker()?
            .run(async move { image::resolve(&session, &reference, &platform, image::Expected::Image).await })
    }

    /// Like [`Client::resolve`], for whatever the reference names: the types of the configuration and of the layers are
    /// not looked at, and the configuration may be as large as `largest_config`.
    pub fn resolve_any(
        &self,
        reference: &Reference,
        platform: &Platform,
        largest_config: u64,
    ) -> Result<RemoteImage, RegistryError> {
        let (session, reference, platform) = (self.session.clone(), reference.clone(), platform.clone());
        let expected = image::Expected::Anything { largest_config };
        self.worker()?
            .run(async move { image::resolve(&session, &reference, &platform, expected).await })
    }

    /// Asks for the digest of what a reference names, without fetching it. `None` where the registry does not tell, for
    /// whatever reason: fetching it will.
    pub fn digest(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let (session, reference) = (self.session.clone(), reference.clone());
        self.worker()?
            .run(async move { image::digest(&session, &reference).await })
    }

    /// Fetches what a reference names as it is: its bytes, their digest, and the type that the registry tells.
    pub fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Vec<u8>, Digest, Option<String>), RegistryError> {
        let (session, reference) = (self.session.clone(), reference.clone());
        self.worker()?
            .run(async move { image::raw(&session, &reference).await })
    }

    /// Opens a blob of `image` as a stream that resumes by range when the connection breaks, retries with backoff,
    /// and gives up after 30 s of silence. The reader's caller verifies digest and size; the stream is never longer
    /// than the descriptor says, and a shorter one ends in an error.
    ///
    /// Errors of the reader carry a [`RegistryError`]. Dropping the reader ends the transfer.
    pub fn blob(
        &self,
        reference: &Reference,
        image: &RemoteImage,
        blob: &Descriptor,
    ) -> Result<Box<dyn Read + Send>, RegistryError> {
        self.open_blob(reference, Some(&image.source), blob)
    }

    /// Like [`Client::blob`], for a blob of an artifact, whose manifest has been had with [`Client::manifest`].
    pub fn artifact_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
    ) -> Result<Box<dyn Read + Send>, RegistryError> {
        self.open_blob(reference, None, blob)
    }

    fn open_blob(
        &self,
        reference: &Reference,
        source: Option<&str>,
        blob: &Descriptor,
    ) -> Result<Box<dyn Read + Send>, RegistryError> {
        let digest = oci::descriptor_digest(blob).map_err(|source| RegistryError::Manifest {
            reference: reference.familiar(),
            source,
        })?;
        let mut places = endpoint::endpoints(&self.session.config, reference)?;
        // Where the manifest came from first, the others in their order.
        places.sort_by_key(|place| source.is_some_and(|source| place.key() != source));
        let foreign = blob.urls().as_ref().is_some_and(|urls| !urls.is_empty());
        let mut transfer = blob::Transfer::new(
            self.session.clone(),
            reference.clone(),
            (digest, blob.size(), foreign),
            places,
        );
        let worker = self.worker()?;
        let (transfer, flow) = worker.run(async move {
            let flow = transfer.connect().await?;
            Ok((transfer, flow))
        })?;
        Ok(Box::new(blob::BlobReader::start(worker, transfer, flow)))
    }

    /// Lists the tags of the repository that `reference` names.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let (session, reference) = (self.session.clone(), reference.clone());
        self.worker()?
            .run(async move { tags::list(&session, &reference).await })
    }

    /// Lists what refers to a manifest of the repository that `reference` names: signatures, attestations.
    pub fn referrers(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let (session, reference, digest) = (self.session.clone(), reference.clone(), *digest);
        self.worker()?
            .run(async move { referrers::list(&session, &reference, &digest).await })
    }

    /// Searches a registry (`docker.io`, `host[:port]`) for a term; returns so many repositories at most.
    pub fn search(&self, registry: &str, term: &str, limit: usize) -> Result<Vec<Found>, RegistryError> {
        let (session, registry, term) = (self.session.clone(), registry.to_owned(), term.to_owned());
        self.worker()?
            .run(async move { search::search(&session, &registry, &term, limit).await })
    }

    /// Names the repository of `reference` as one to push to; never a mirror. Blobs may be mounted from `sources`, other
    /// repositories of the same registry.
    pub fn target(&self, reference: &Reference, sources: Vec<String>) -> Target {
        let access = endpoint::Access::Push { sources };
        Target {
            endpoint: endpoint::origin(&self.session.config, reference, access),
            name: reference.familiar_name(),
        }
    }

    /// Asks whether a repository has a blob.
    pub fn has_blob(&self, target: &Target, digest: &Digest) -> Result<bool, RegistryError> {
        let (session, target, digest) = (self.session.clone(), target.clone(), *digest);
        self.worker()?
            .run(async move { upload::exists(&session, &target.endpoint, &target.name, &digest).await })
    }

    /// Brings a blob into a repository: nothing is sent if it is there, or if the registry can take it from one of
    /// `sources`; otherwise it is sent, again from where a broken connection left off.
    pub fn push_blob(
        &self,
        target: &Target,
        content: Arc<dyn Content>,
        sources: Vec<String>,
    ) -> Result<Landed, RegistryError> {
        let upload = upload::Upload::new(
            self.session.clone(),
            target.endpoint.clone(),
            target.name.clone(),
            content,
        );
        self.worker()?.run(upload.run(sources))
    }

    /// Stores a manifest or an index under a tag or its own digest, byte for byte. One that refers to another is listed among
    /// the referrers of that one.
    pub fn push_manifest(
        &self,
        target: &Target,
        to: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let (session, target, to) = (self.session.clone(), target.clone(), to.to_owned());
        let document = (media_type.to_owned(), bytes::Bytes::copy_from_slice(bytes));
        self.worker()?
            .run(async move { referrers::put(&session, &target, &to, document).await })
    }

    /// Checks a name and a password with a registry, and keeps them, or what its token server gives for them, in
    /// `config.json` or with the helper that it names.
    pub fn login(&self, registry: &str, user: &str, password: &str) -> Result<Kept, RegistryError> {
        let credentials = login::typed(user, password);
        let kept = self.check(registry, credentials)?;
        keep::keep(self.credential_file()?, registry, &kept)
    }

    /// Checks credentials with a registry, and keeps nothing; returns the refresh token that its token server gives for
    /// them, if it gives one.
    pub fn authenticate(&self, registry: &str, auth: &Auth) -> Result<Option<String>, RegistryError> {
        let shown = auth.credentials().map_err(|why| RegistryError::Credentials {
            host: registry.to_owned(),
            why,
        })?;
        let shown = shown.unwrap_or_else(|| login::typed("", ""));
        match self.check(registry, shown.clone())? {
            credentials::Credentials::Identity(token)
                if shown != credentials::Credentials::Identity(token.clone()) =>
            {
                Ok(Some(token.reveal().to_owned()))
            }
            _ => Ok(None),
        }
    }

    /// Checks the credentials that are kept for a registry; `None` if there are none, otherwise whose they are.
    pub fn login_again(&self, registry: &str) -> Result<Option<String>, RegistryError> {
        let Some(credentials) = credentials::look_up(self.credential_file()?, registry)? else {
            return Ok(None);
        };
        let user = match &credentials {
            credentials::Credentials::Password { user, .. } => user.clone(),
            credentials::Credentials::Identity(_) | credentials::Credentials::Bearer(_) => String::new(),
        };
        self.check(registry, credentials)?;
        Ok(Some(user))
    }

    /// Forgets the credentials for a registry; returns whether there were any.
    pub fn logout(&self, registry: &str) -> Result<bool, RegistryError> {
        keep::forget(self.credential_file()?, registry)
    }

    fn check(
        &self,
        registry: &str,
        credentials: credentials::Credentials,
    ) -> Result<credentials::Credentials, RegistryError> {
        let session = self.session.clone();
        let endpoint = endpoint::registry_itself(&session.config, registry);
        self.worker()?
            .run(async move { login::check(&session, &endpoint, &credentials).await })
    }

    fn credential_file(&self) -> Result<&std::path::Path, RegistryError> {
        let file = self.session.config.docker_config.as_deref();
        file.ok_or(RegistryError::NoCredentialFile)
    }

    fn worker(&self) -> Result<Arc<worker::Worker>, RegistryError> {
        let mut slot = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = slot.as_ref() {
            return Ok(worker.clone());
        }
        let worker = Arc::new(worker::Worker::start(self.session.config.abandoned.clone())?);
        *slot = Some(worker.clone());
        Ok(worker)
    }
}
