//! What can go wrong between us and a registry, in words that a user can act on.

use oci::{Digest, ManifestError};
use std::path::PathBuf;

/// Some deeper error, kept for the chain.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a registry did not give what was asked for.
///
/// Where Docker's users know a text, it is that text. Nothing here carries a password or a token, nor a URL with a
/// signature in it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry has the manifest but not a blob of it.
    #[error(
        "blob {digest} of {repository} is not at the registry, although its manifest names it: push the image again"
    )]
    BlobNotFound {
        /// The blob.
        digest: Digest,
        /// Familiar name of the repository.
        repository: String,
    },
    /// A certificate that was put down for a registry cannot be used.
    #[error("cannot use the certificate {path}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// The image's configuration does not fit its manifest or cannot be read.
    #[error("the configuration of {reference} cannot be used: {why}")]
    Config {
        /// The image, as the user wrote it.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// A connection that was made broke.
    #[error("the connection to registry {host} broke")]
    Connection {
        /// Host and port.
        host: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Nobody listens.
    #[error("registry {host} refused the connection: check the name and the port, and that it is running")]
    ConnectionRefused {
        /// Host and port.
        host: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Docker's configuration file cannot be used.
    #[error("cannot read credentials from {path}")]
    CredentialFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// Credentials that were brought along cannot be read.
    #[error("cannot read the credentials for {host}: the entry {why}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A credential helper failed.
    #[error("credential helper {helper} {action} {host}: {why}")]
    CredentialHelper {
        /// The program.
        helper: String,
        /// `gave no credentials for`, `did not …`.
        action: &'static str,
        /// The registry.
        host: String,
        /// What it said.
        why: String,
    },
    /// Credentials could not be written down.
    #[error("cannot keep the credentials in {path}")]
    CredentialsNotKept {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no place for credentials.
    #[error(
        "there is no place for credentials: set HOME or DOCKER_CONFIG, or name a directory with --config"
    )]
    NoCredentialFile,
    /// A name and a password were not accepted.
    #[error("registry {host}: unauthorized: incorrect username or password")]
    LoginRefused {
        /// The registry.
        host: String,
    },
    /// The credentials that are configured were not accepted.
    #[error("unauthorized: registry {host} did not accept the stored credentials: log in to {host} again")]
    CredentialsRefused {
        /// The registry.
        host: String,
    },
    /// The repository is not there, or may not be seen: registries do not tell which.
    #[error(
        "pull access denied for {0}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    )]
    Denied(String),
    /// The bytes are not what their digest says.
    #[error("{what} from {host} does not match its digest: expected {expected}, got {actual}")]
    DigestMismatch {
        /// The document.
        what: String,
        /// Host and port.
        host: String,
        /// What was promised.
        expected: String,
        /// What came.
        actual: Digest,
    },
    /// The blob is offered at addresses outside of the registry only, and those are not visited.
    #[error(
        "layer {0} is not at the registry, only at foreign addresses that the manifest names, which are not visited"
    )]
    ForeignLayer(Digest),
    /// The host's name has no address.
    #[error("cannot find the address of registry {host}: check the name, the network and /etc/resolv.conf")]
    HostNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: Cause,
    },
    /// A manifest or index cannot be used.
    #[error("the manifest of {reference} cannot be used")]
    Manifest {
        /// The image, as the user wrote it.
        reference: String,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// Indexes within indexes go too deep.
    #[error("the manifest of {0} is an index of indexes of indexes; that deep nobody looks")]
    NestedIndex(String),
    /// A configured mirror makes no sense.
    #[error("the mirror '{endpoint}' for '{prefix}' cannot be used: {why}")]
    Mirror {
        /// What it stands for.
        prefix: String,
        /// Where it points.
        endpoint: String,
        /// What is wrong.
        why: &'static str,
        /// Which rule of references it breaks, if it is that.
        #[source]
        source: Option<oci::ReferenceError>,
    },
    /// No image of the index is for the platform.
    #[error("no matching manifest for {wanted} in the manifest list entries; there are {available}")]
    NoPlatform {
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that there are.
        available: String,
    },
    /// There is no such tag or digest in the repository.
    #[error("manifest for {0} not found: manifest unknown: manifest unknown")]
    NotFound(String),
    /// The registry has no way to be searched.
    #[error("the registry {0} cannot be searched: it has neither a search nor a list of its repositories")]
    NoSearch(String),
    /// What the reference names is no container image.
    #[error("{reference} is no container image: it has a {what} of type '{media_type}'")]
    NotAnImage {
        /// The reference.
        reference: String,
        /// `configuration` or `layer`.
        what: &'static str,
        /// Its media type.
        media_type: String,
    },
    /// What is to be uploaded cannot be read, or its making was stopped.
    #[error("cannot read {what} to upload it")]
    Content {
        /// What it is.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The repository may not be written to, or is not there: registries do not tell which.
    #[error(
        "push access denied for {0}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    )]
    PushDenied(String),
    /// The registry does not take it.
    #[error("registry {host} refused {what}: {message}")]
    Refused {
        /// Host and port.
        host: String,
        /// `the manifest of a/b:c`, `blob sha256:…`.
        what: String,
        /// What the registry said, and its HTTP status.
        message: String,
    },
    /// The registry allows only so many requests in a time.
    #[error(
        "toomanyrequests: registry {host} limits the rate of requests{wait}: log in to have a higher limit, or try again later"
    )]
    RateLimited {
        /// The registry.
        host: String,
        /// Empty, or `and asks to wait 60 s` after a space.
        wait: String,
    },
    /// The proxy that the environment names does not do its work.
    #[error(
        "proxy {proxy} did not connect to registry {host}: check HTTPS_PROXY, and NO_PROXY if the registry is to be reached directly"
    )]
    Proxy {
        /// The proxy's address, without user and password.
        proxy: String,
        /// Host and port of the registry.
        host: String,
        /// What the network or the proxy said.
        #[source]
        source: Cause,
    },
    /// A redirect that must not be followed, or too many of them.
    #[error("registry {host} sent a redirect that is not followed: {why}")]
    Redirect {
        /// The registry that was asked.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry knows no such repository.
    #[error("repository {0} not found: name unknown: repository name not known to registry")]
    RepositoryNotFound(String),
    /// The answer breaks the distribution specification.
    #[error("registry {host} sent an answer that makes no sense: {why}")]
    Response {
        /// Host and port.
        host: String,
        /// Which rule it breaks.
        why: String,
    },
    /// The registry failed.
    #[error("registry {host} failed with HTTP status {status}{message}")]
    Server {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// Empty, or a colon and what the registry said.
        message: String,
    },
    /// Content has not the size that its descriptor says.
    #[error("{what} from {host} has not the promised {expected} bytes, but {actual}")]
    Size {
        /// The content.
        what: String,
        /// Host and port.
        host: String,
        /// What was promised.
        expected: u64,
        /// `more` or a number.
        actual: String,
    },
    /// Our own network thread could not be started, or is gone.
    #[error("the network thread is not running")]
    Thread(#[source] std::io::Error),
    /// Nothing came for too long.
    #[error("registry {host} was silent for {seconds} s {doing}")]
    Timeout {
        /// Host and port.
        host: String,
        /// How long we waited.
        seconds: u64,
        /// `while connecting`, `while …`.
        doing: &'static str,
    },
    /// The registry's certificate or protocol is not acceptable.
    #[error("no secure connection to registry {host}: {why}")]
    Tls {
        /// Host and port.
        host: String,
        /// What is wrong and what to do.
        why: String,
        /// What the TLS library said.
        #[source]
        source: Cause,
    },
    /// Where to fetch a token is not where credentials may go.
    #[error("registry {host} names a token server that is not used: {why}")]
    TokenServer {
        /// The registry.
        host: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A document is larger than it may be.
    #[error("{what} from {host} is larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// The document.
        what: String,
        /// Host and port.
        host: String,
        /// The most that is read.
        limit: u64,
    },
    /// A file from the web cannot be written.
    #[error("cannot save what came from {url}")]
    Save {
        /// Where it came from.
        url: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A server of files says no.
    #[error("{url}: the server answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// Something that is no address of a file.
    #[error("'{0}' is no http or https URL")]
    Url(String),
    /// The transfer ended before everything was there, and trying again did not help.
    #[error("the transfer of {what} from {host} broke after {received} of {expected} bytes")]
    Truncated {
        /// The content.
        what: String,
        /// Host and port.
        host: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that were promised.
        expected: u64,
        /// What the network said, where it said something.
        #[source]
        source: Option<Cause>,
    },
    /// No connection could be made.
    #[error("registry {host} cannot be reached: check the network")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
}

impl RegistryError {
    /// Says whether the host could not be talked to at all in the chosen protocol, so that another may be tried.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Connection { .. }
                | Self::ConnectionRefused { .. }
                | Self::Timeout { .. }
                | Self::Tls { .. }
        )
    }

    /// Says whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Truncated { .. } | Self::RateLimited { .. } => true,
            Self::Server { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// The nearest kind of I/O error, for readers.
    pub(crate) fn io_kind(&self) -> std::io::ErrorKind {
        use std::io::ErrorKind;
        match self {
            Self::BlobNotFound { .. } | Self::NotFound(_) | Self::RepositoryNotFound(_) => {
                ErrorKind::NotFound
            }
            Self::ConnectionRefused { .. } => ErrorKind::ConnectionRefused,
            Self::Denied(_)
            | Self::PushDenied(_)
            | Self::CredentialsRefused { .. }
            | Self::LoginRefused { .. } => ErrorKind::PermissionDenied,
            Self::Size { .. } | Self::DigestMismatch { .. } => ErrorKind::InvalidData,
            Self::Timeout { .. } => ErrorKind::TimedOut,
            Self::Truncated { .. } => ErrorKind::UnexpectedEof,
            _ => ErrorKind::Other,
        }
    }
}

/// Cuts what a registry said to one line without control characters, so that it cannot write to a terminal more
/// than words.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say_cannot_move_the_cursor() {
        assert_eq!(printable("\u{1b}[2Jhi\r\nthere\n"), "[2Jhi  there");
        assert_eq!(printable(&"x".repeat(1000)).len(), 300);
    }
}
