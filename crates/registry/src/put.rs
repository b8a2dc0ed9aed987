//! Manifests to a registry.

use crate::RegistryError;
use crate::endpoint::Endpoint;
use crate::error::printable;
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Call, Session, sha256};
use crate::upload::refusal;
use bytes::Bytes;
use oci::Digest;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

/// Stores a manifest under a tag or its digest; returns the digest, and whether the registry lists it among the referrers
/// of its subject by itself.
pub(crate) async fn manifest(
    session: &Session,
    endpoint: &Endpoint,
    name: &str,
    to: &str,
    (media_type, bytes): (String, Bytes),
) -> Result<(Digest, bool), RegistryError> {
    let digest = sha256(&bytes);
    let mut attempt = 1;
    loop {
        let failed = match once(session, endpoint, name, to, &media_type, &bytes, &digest).await {
            Ok(lists) => return Ok((digest, lists)),
            Err(failed) => failed,
        };
        match failed.again {
            Again::After(asked) if attempt < MOST_ATTEMPTS => {
                tokio::time::sleep(delay(session.tuning.backoff, attempt, asked)).await;
            }
            _ => return Err(failed.error),
        }
        attempt += 1;
    }
}

async fn once(
    session: &Session,
    endpoint: &Endpoint,
    name: &str,
    to: &str,
    media_type: &str,
    bytes: &Bytes,
    digest: &Digest,
) -> Result<bool, Failed> {
    let nonsense = |why: String| {
        Failed::from(RegistryError::Response {
            host: endpoint.host.clone(),
            why,
        })
    };
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_str(media_type).map_err(|_invalid| {
        nonsense("the manifest's type has characters that no header may have".to_owned())
    })?;
    headers.insert(CONTENT_TYPE, content_type);
    let call = Call {
        method: Method::PUT,
        headers,
        body: Some(bytes.clone()),
        pinned: false,
    };
    let answer = session.call(endpoint, &format!("manifests/{to}"), call).await?;
    if !matches!(answer.status().as_u16(), 200..=204) {
        return Err(refusal(answer, name, &format!("the manifest of {name}:{to}")).await);
    }
    let other = answer
        .header("docker-content-digest")
        .filter(|said| said.starts_with("sha256:") && *said != digest.to_string())
        .map(printable);
    // Distribution specification 1.1, "Pushing Manifests with Subject".
    let lists = answer.header("oci-subject").is_some();
    drop(answer.complaint().await);
    match other {
        Some(said) => Err(nonsense(format!("it stored the manifest {digest} as {said}"))),
        None => Ok(lists),
    }
}
