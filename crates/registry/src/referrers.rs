//! What refers to a manifest: signatures, attestations, lists of parts. By the referrers API of the distribution
//! specification 1.1, or by the tag that stands in for it where a registry does not have it.

use crate::RegistryError;
use crate::endpoint::{Endpoint, endpoints};
use crate::pages::{At, Listing, MOST_PAGES};
use crate::session::Session;
use crate::{Target, put};
use bytes::Bytes;
use oci::{Descriptor, Digest, ImageIndex, Reference};
use serde_json::{Value, json};

/// Whoever changes the index at the same time may take our entry out again; so often it is put back.
const MOST_TURNS: usize = 3;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Lists what refers to a digest in the repository of a reference, at the mirrors first.
pub(crate) async fn list(
    session: &Session,
    reference: &Reference,
    digest: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut places = endpoints(&session.config, reference)?;
    let origin = places.pop();
    for mirror in &places {
        if let Ok(found) = list_at(session, mirror, reference, digest).await
            && !found.is_empty()
        {
            return Ok(found);
        }
    }
    match origin {
        Some(origin) => list_at(session, &origin, reference, digest).await,
        None => Ok(Vec::new()),
    }
}

/// Lists what refers to a digest at one place.
pub(crate) async fn list_at(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    digest: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let listing = Listing {
        session,
        endpoint,
        of: Some(reference),
        accept: INDEX_TYPE,
        what: "its list of referrers",
    };
    let mut found = Vec::new();
    let mut at = At::Below(format!("referrers/{digest}"));
    for _ in 0..MOST_PAGES {
        let Some(page) = listing.page(&at).await? else {
            let at = At::Below(format!("manifests/{}", fallback_tag(digest)));
            return match listing.page(&at).await? {
                Some(page) => Ok(listing.read::<ImageIndex>(&page)?.manifests().clone()),
                None => Ok(Vec::new()),
            };
        };
        found.extend(listing.read::<ImageIndex>(&page)?.manifests().iter().cloned());
        match page.next {
            Some(next) => at = next,
            None => return Ok(found),
        }
    }
    Err(listing.endless())
}

/// The tag under which an index of the referrers is where there is no API for them.
pub(crate) fn fallback_tag(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// Stores a manifest; where it has a subject and the registry has no API for referrers, it is added to the index that stands
/// in for that.
pub(crate) async fn put(
    session: &Session,
    target: &Target,
    to: &str,
    (media_type, bytes): (String, Bytes),
) -> Result<Digest, RegistryError> {
    let document = (media_type.clone(), bytes.clone());
    let (digest, listed) = put::manifest(session, &target.endpoint, &target.name, to, document).await?;
    if listed {
        return Ok(digest);
    }
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(digest);
    };
    let subject = manifest["subject"]["digest"].as_str();
    let Some(subject) = subject.and_then(|text| text.parse::<Digest>().ok()) else {
        return Ok(digest);
    };
    let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
    let kind = Some(&manifest["artifactType"]).filter(|kind| kind.is_string());
    entry["artifactType"] = kind.unwrap_or(&manifest["config"]["mediaType"]).clone();
    if manifest["annotations"].is_object() {
        entry["annotations"] = manifest["annotations"].clone();
    }
    add(session, target, &subject, &entry).await?;
    Ok(digest)
}

/// Adds an entry to the index of a digest's referrers.
async fn add(
    session: &Session,
    target: &Target,
    subject: &Digest,
    entry: &Value,
) -> Result<(), RegistryError> {
    let listing = Listing {
        session,
        endpoint: &target.endpoint,
        of: None,
        accept: INDEX_TYPE,
        what: "its list of referrers",
    };
    let tag = fallback_tag(subject);
    let at = At::Below(format!("manifests/{tag}"));
    for _ in 0..MOST_TURNS {
        let mut index = match listing.page(&at).await? {
            Some(page) => listing.read::<Value>(&page)?,
            None => json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [] }),
        };
        let Some(entries) = index["manifests"].as_array_mut() else {
            return Err(RegistryError::Response {
                host: target.endpoint.host.clone(),
                why: format!("what it has under the tag {tag} is no index"),
            });
        };
        if entries.iter().any(|known| known["digest"] == entry["digest"]) {
            return Ok(());
        }
        entries.push(entry.clone());
        let bytes = Bytes::from(index.to_string());
        let document = (INDEX_TYPE.to_owned(), bytes);
        put::manifest(session, &target.endpoint, &target.name, &tag, document).await?;
    }
    Ok(())
}
