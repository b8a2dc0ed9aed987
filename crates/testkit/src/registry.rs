//! A registry on loopback that misbehaves on request, and images to put into it.
//!
//! It serves manifests and blobs from memory, takes uploads, by HTTP or TLS, asks for credentials if told to, plays scripted faults
//! per path, and keeps a log of all requests. It ends when it is dropped.

mod image;
mod serve;
mod upload;

pub use image::{Put, TestImage, digest_of, tar_gz};

use oci::Digest;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Certificate authority of [`SERVER_CERTIFICATE`]; nobody has its key any more, and nothing outside of tests knows it.
pub const AUTHORITY: &str = include_str!("../fixtures/tls/ca.pem");
/// Certificate for `registry.test` and `other.test`.
pub const SERVER_CERTIFICATE: &str = include_str!("../fixtures/tls/server.pem");
/// Its key.
pub const SERVER_KEY: &str = include_str!("../fixtures/tls/server.key");

/// Certificate of a client, by an authority of its own whose key is gone.
pub const CLIENT_CERTIFICATE: &str = include_str!("../fixtures/tls/client.pem");
/// Its key.
pub const CLIENT_KEY: &str = include_str!("../fixtures/tls/client.key");

/// One thing that goes wrong with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Bytes follow the right ones, and no length is announced.
    Append(Vec<u8>),
    /// The body is another one, with its own length; headers stay.
    Body(Vec<u8>),
    /// The connection closes without an answer.
    Close,
    /// The connection breaks after so many bytes of the body; of an upload, after so many bytes have come.
    CutAfter(usize),
    /// The bit at this byte is wrong.
    FlipBit(usize),
    /// A header is replaced, or removed where the value is empty.
    Header(String, String),
    /// A request for a range is answered with everything.
    IgnoreRange,
    /// Nothing goes wrong.
    None,
    /// 307 to this address.
    Redirect(String),
    /// The body comes no faster than so many bytes a second on its connection.
    Slow(u64),
    /// The body stops after so many bytes, and the connection stays open.
    StallAfter(usize),
    /// Another status, with headers and a body.
    Status(u16, Vec<(String, String)>, String),
}

impl Fault {
    /// A status alone.
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), String::new())
    }

    /// A status with an error code, as the distribution spec has them.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self::Status(status, Vec::new(), body)
    }
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Anonymous,
    /// This user with this password, by Basic.
    Basic(String, String),
    /// Who has a token of the registry's own token server.
    Bearer(TokenServer),
}

/// How tokens are had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenServer {
    /// User and password; without them everybody gets a token.
    pub login: Option<(String, String)>,
    /// The refresh token that is accepted by POST.
    pub refresh_token: Option<String>,
    /// After so many requests a token is void.
    pub uses: Option<usize>,
    /// What the server says about how many seconds a token lives; 300 if nothing.
    pub expires_in: Option<u64>,
    /// Address in the challenge in place of the registry's own `/token`.
    pub realm: Option<String>,
    /// Whether tokens are given but never accepted.
    pub useless: bool,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The query, undecoded; empty where there was none.
    pub query: String,
    /// Header names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

/// A registry in a thread of its own.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    content: Arc<Mutex<Content>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Content {
    /// By path: `/v2/<name>/manifests/<tag or digest>`, `/v2/<name>/blobs/<digest>`.
    objects: HashMap<String, Object>,
    /// By a part of the path.
    scripts: Vec<(String, VecDeque<Fault>)>,
    constant: Vec<(String, Fault)>,
    access: Access,
    /// Tokens that were given, and how often each was shown.
    tokens: Vec<(String, usize)>,
    log: Vec<Request>,
    connections: usize,
    own_address: String,
    /// Uploads that are open: what has come of each, by its number.
    uploads: HashMap<String, Vec<u8>>,
    /// Uploads that there have been.
    opened: usize,
}

#[derive(Debug, Clone)]
struct Object {
    content_type: String,
    bytes: Arc<Vec<u8>>,
    digest: Digest,
}

impl FakeRegistry {
    /// Starts a registry that speaks plain HTTP.
    pub fn start() -> Self {
        serve::start(None)
    }

    /// Starts a registry that speaks TLS with [`SERVER_CERTIFICATE`].
    pub fn start_tls() -> Self {
        serve::start(Some(&serve::Tls {
            certificate: SERVER_CERTIFICATE,
            key: SERVER_KEY,
            clients: None,
        }))
    }

    /// Starts a registry that speaks TLS with [`SERVER_CERTIFICATE`], and only with who shows [`CLIENT_CERTIFICATE`].
    pub fn start_mutual_tls() -> Self {
        serve::start(Some(&serve::Tls {
            certificate: SERVER_CERTIFICATE,
            key: SERVER_KEY,
            clients: Some(include_str!("../fixtures/tls/client-ca.pem")),
        }))
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Stores a blob.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        self.put(
            format!("/v2/{repository}/blobs/{digest}"),
            "application/octet-stream",
            bytes,
        );
        digest
    }

    /// Stores a manifest under its digest and, if one is given, a tag.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = digest_of(bytes);
        for name in [Some(digest.to_string().as_str()), tag].into_iter().flatten() {
            self.put(format!("/v2/{repository}/manifests/{name}"), media_type, bytes);
        }
        digest
    }

    /// Stores an image: its layers, configuration and manifest.
    pub fn put_image(&self, repository: &str, tag: Option<&str>, image: &TestImage) -> Put {
        let put = image.put();
        for layer in &put.layers {
            self.put_blob(repository, layer);
        }
        self.put_blob(repository, &put.config);
        self.put_manifest(repository, tag, image::MANIFEST, &put.manifest);
        put
    }

    /// Stores an index of images (`os/architecture[/variant]` and manifest each) and returns its bytes.
    pub fn put_index(&self, repository: &str, tag: Option<&str>, entries: &[(&str, &[u8])]) -> Vec<u8> {
        let index = image::index(entries);
        self.put_manifest(repository, tag, image::INDEX, &index);
        index
    }

    /// Lets itself be searched for these repositories, objects as Docker Hub's `/v1/search` has them.
    pub fn put_search(&self, repositories: &serde_json::Value) {
        self.put(
            serve::SEARCH.to_owned(),
            "application/json",
            repositories.to_string().as_bytes(),
        );
    }

    /// Forgets everything whose path contains `part`.
    pub fn remove(&self, part: &str) {
        self.content().objects.retain(|path, _| !path.contains(part));
    }

    /// Plays these faults, one for each coming request whose path contains `part`; then all is well again.
    pub fn script(&self, part: &str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.content().scripts.push((part.to_owned(), faults));
    }

    /// Plays this fault for every request whose path contains `part`.
    pub fn always(&self, part: &str, fault: Fault) {
        self.content().constant.push((part.to_owned(), fault));
    }

    /// Forgets all faults, and the log.
    pub fn reset(&self) {
        let mut content = self.content();
        content.scripts.clear();
        content.constant.clear();
        content.log.clear();
    }

    /// Asks for credentials from now on.
    pub fn require(&self, access: Access) {
        self.content().access = access;
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.content().log.clone()
    }

    /// Returns how many requests so far had a path that contains `part`.
    pub fn count(&self, part: &str) -> usize {
        self.content()
            .log
            .iter()
            .filter(|request| request.path.contains(part))
            .count()
    }

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.content().connections
    }

    /// Stores bytes at any path (`/v2/<name>/blobs/<digest>`), whatever digest stands in it; the digest that the
    /// registry announces is the bytes' own.
    pub fn put_at(&self, path: &str, content_type: &str, bytes: &[u8]) {
        self.put(path.to_owned(), content_type, bytes);
    }

    /// Returns the bytes at a path (`/v2/<name>/manifests/<tag>`).
    pub fn object(&self, path: &str) -> Option<Vec<u8>> {
        let content = self.content();
        content.objects.get(path).map(|object| object.bytes.to_vec())
    }

    /// Returns how many uploads are open.
    pub fn open_uploads(&self) -> usize {
        self.content().uploads.len()
    }

    /// Forgets all open uploads, as a registry does that is started again.
    pub fn forget_uploads(&self) {
        self.content().uploads.clear();
    }

    fn put(&self, path: String, content_type: &str, bytes: &[u8]) {
        let object = Object {
            content_type: content_type.to_owned(),
            bytes: Arc::new(bytes.to_vec()),
            digest: digest_of(bytes),
        };
        self.content().objects.insert(path, object);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // A test that failed elsewhere must not hide its message behind this lock.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}
