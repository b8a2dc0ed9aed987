//! Whom we trust: the host's own certificate authorities, and those that were put down for a registry; by `rustls` with
//! `ring`.

use crate::RegistryError;
use crate::certificates::Certificates;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Makes a configuration that trusts what the host trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, the
/// distribution's store otherwise; and what was put down for the registry.
pub(crate) fn verified(own: Certificates) -> Result<ClientConfig, RegistryError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let extra = own.authorities.clone();
    // A store may hold certificates that rustls does not take; the others still count.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs.into_iter().chain(extra));
    if added == 0 {
        return Err(RegistryError::Tls {
            host: "any".to_owned(),
            why: "this host has no certificate authorities: install ca-certificates, or name a file in SSL_CERT_FILE"
                .to_owned(),
            source: found.errors.into_iter().next().map_or_else(
                || "none of the usual places has any".into(),
                |error| Box::new(error) as crate::error::Cause,
            ),
        });
    }
    finish(builder()?.with_root_certificates(roots), own)
}

/// Makes a configuration that takes any certificate: for loopback, and for hosts that the user listed as insecure.
pub(crate) fn unverified(own: Certificates) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(ring::default_provider());
    let builder = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    finish(builder, own)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, RegistryError> {
    // Named here and not installed for the process: the library must not depend on who came first.
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| RegistryError::Tls {
            host: "any".to_owned(),
            why: "the TLS library has no protocol version to speak".to_owned(),
            source: Box::new(source),
        })
}

fn finish(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    own: Certificates,
) -> Result<ClientConfig, RegistryError> {
    let mut config = match own.own {
        Some((chain, key)) => {
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| RegistryError::Tls {
                    host: "any".to_owned(),
                    why: "the certificate that was put down for us and its key do not fit".to_owned(),
                    source: Box::new(source),
                })?
        }
        None => builder.with_no_client_auth(),
    };
    // One connection per transfer: in HTTP/2 a layer that waits to be unpacked holds the window that all the
    // others need.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes any certificate, but checks that the server holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Says in words what is wrong with a connection, and what to do about it.
pub(crate) fn explain(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate was signed by an authority that this host does not know; add the authority to the host's \
             trust store (/usr/local/share/ca-certificates and update-ca-certificates), or list the registry as insecure"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired; its operator must renew it, or this host's clock is wrong".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; check this host's clock".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; use the name that the certificate has".to_owned(),
        Error::InvalidCertificate(_) => "its certificate cannot be trusted".to_owned(),
        Error::InvalidMessage(_) => {
            "it does not speak TLS on this port; if it serves plain HTTP on purpose, list it as insecure".to_owned()
        }
        _ => "the TLS handshake failed".to_owned(),
    }
}
