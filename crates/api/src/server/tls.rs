//! TLS with certificates on both sides: who has none that our authority has signed gets no further than the handshake.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no certificate.
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// A file cannot be read as PEM.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The authority's certificate is none that can vouch for clients.
    #[error("cannot trust clients by the certificates in {}", path.display())]
    Authority {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's certificate and key are no pair.
    #[error("cannot use the certificate in {} with the key in {}", certificate.display(), key.display())]
    Identity {
        /// Where the certificate is.
        certificate: PathBuf,
        /// Where the key is.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// What the server shows of itself, and whom it trusts.
#[derive(Debug, Clone)]
pub struct Tls(pub(super) Arc<ServerConfig>);

impl Tls {
    /// Reads the authority that signs clients' certificates, and the server's own certificate and key.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut trusted = RootCertStore::empty();
        let untrusted = |source| TlsError::Authority {
            path: authority.to_owned(),
            source,
        };
        for known in certificates(authority)? {
            trusted.add(known).map_err(|error| untrusted(error.into()))?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider))
            .build()
            .map_err(|error| untrusted(error.into()))?;
        let unusable = |source| TlsError::Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(
                certificates(certificate)?,
                PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?,
            )
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn unreadable(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |source| TlsError::Read {
        path: path.to_owned(),
        source,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable(path))?
        .collect::<Result<_, _>>()
        .map_err(unreadable(path))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(found)
}
