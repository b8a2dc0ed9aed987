//! From a reference to one image: manifest, index, platform, configuration.

use crate::endpoint::{Endpoint, endpoints};
use crate::session::{Call, Document, Session, Wanted};
use crate::{RegistryError, RemoteImage, platform};
use oci::{Digest, ImageManifest, LayerMediaType, Manifest, ManifestError, Platform, Reference};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";
/// Indexes within each other, the outermost included.
const DEEPEST: usize = 3;
/// A configuration with a long history has some 100 KB.
const LARGEST_CONFIG: u64 = 8 << 20;
const LARGEST_MANIFEST: u64 = oci::MAX_MANIFEST_BYTES as u64;

/// What a reference is to lead to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// An image that can be run.
    Image,
    /// Anything that has a manifest like an image's.
    Anything {
        /// The most bytes of its configuration.
        largest_config: u64,
    },
}

/// Finds out what a reference names, at the mirrors first.
pub(crate) async fn resolve(
    session: &Session,
    reference: &Reference,
    platform: &Platform,
    expected: Expected,
) -> Result<RemoteImage, RegistryError> {
    let mut places = endpoints(&session.config, reference)?;
    let origin = places.pop();
    for mirror in &places {
        // What a mirror does not have or do, the registry itself may; its error is the one that counts.
        if let Ok(image) = resolve_at(session, mirror, reference, platform, expected).await {
            return Ok(image);
        }
    }
    match origin {
        Some(origin) => resolve_at(session, &origin, reference, platform, expected).await,
        None => Err(RegistryError::NotFound(reference.familiar())),
    }
}

/// Fetches what a reference names, at the mirrors first.
pub(crate) async fn raw(
    session: &Session,
    reference: &Reference,
) -> Result<(Vec<u8>, Digest, Option<String>), RegistryError> {
    let (digest, tag) = (reference.digest().copied(), reference.tag().unwrap_or("latest"));
    let name = digest.map_or_else(|| tag.to_owned(), |digest| digest.to_string());
    let mut result = Err(RegistryError::NotFound(reference.familiar()));
    for place in endpoints(&session.config, reference)? {
        // The last one is the registry itself; its error is the one that counts.
        result = fetch_manifest(session, &place, reference, &name, digest, None).await;
        if result.is_ok() {
            break;
        }
    }
    let Document {
        bytes,
        digest,
        content_type,
    } = result?;
    Ok((bytes, digest, content_type))
}

/// Asks for the digest of what a reference names, at the mirrors first, without fetching it; registries that count what is
/// fetched do not count this. `None` where that does not tell, for whatever reason: fetching it will.
pub(crate) async fn digest(
    session: &Session,
    reference: &Reference,
) -> Result<Option<Digest>, RegistryError> {
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    for place in endpoints(&session.config, reference)? {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let call = Call {
            method: Method::HEAD,
            headers,
            body: None,
            pinned: reference.digest().is_some(),
        };
        let asked = session.call(&place, &format!("manifests/{name}"), call).await;
        if let Ok(answer) = asked
            && answer.status().as_u16() == 200
            && let Some(digest) = answer.header("docker-content-digest")
            && let Ok(digest) = digest.parse()
        {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

async fn resolve_at(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    platform: &Platform,
    expected: Expected,
) -> Result<RemoteImage, RegistryError> {
    let unusable = |source| RegistryError::Manifest {
        reference: reference.familiar(),
        source,
    };
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let first = fetch_manifest(
        session,
        endpoint,
        reference,
        &name,
        reference.digest().copied(),
        None,
    )
    .await?;
    let digest = first.digest;
    let mut manifest = Manifest::parse(&first.bytes, first.content_type.as_deref()).map_err(unusable)?;
    let mut current = first;
    let mut outermost = None;
    let mut listed = None;
    let mut depth = 0;
    let manifest = loop {
        let index = match manifest {
            Manifest::Image(image) => break image,
            Manifest::Index(index) => index,
        };
        depth += 1;
        if depth > DEEPEST {
            return Err(RegistryError::NestedIndex(reference.familiar()));
        }
        let Some(entry) = platform::choose(&index, platform) else {
            return Err(RegistryError::NoPlatform {
                wanted: platform.to_string(),
                available: platform::available(&index),
            });
        };
        let wanted = oci::descriptor_digest(entry).map_err(unusable)?;
        let next = fetch_manifest(
            session,
            endpoint,
            reference,
            &wanted.to_string(),
            Some(wanted),
            Some(entry.size()),
        )
        .await?;
        manifest = Manifest::parse(&next.bytes, next.content_type.as_deref()).map_err(unusable)?;
        // The index has promised a type, too.
        Manifest::parse(&next.bytes, Some(entry.media_type().as_ref())).map_err(unusable)?;
        let bytes = std::mem::replace(&mut current, next).bytes;
        outermost.get_or_insert(bytes);
        listed.get_or_insert(wanted);
    };
    let raw_config = match expected {
        Expected::Image => {
            check_types(reference, &manifest)?;
            let raw = fetch_config(session, endpoint, reference, &manifest, LARGEST_CONFIG).await?;
            check_config(reference, &manifest, &raw)?;
            raw
        }
        Expected::Anything { largest_config } => {
            fetch_config(session, endpoint, reference, &manifest, largest_config).await?
        }
    };
    Ok(RemoteImage {
        digest,
        index: outermost,
        entry: listed,
        manifest_digest: current.digest,
        raw_manifest: current.bytes,
        layers: manifest.layers().clone(),
        manifest: *manifest,
        raw_config,
        source: endpoint.key(),
    })
}

async fn fetch_manifest(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    name: &str,
    digest: Option<Digest>,
    size: Option<u64>,
) -> Result<Document, RegistryError> {
    if let Some(size) = size.filter(|size| *size > LARGEST_MANIFEST) {
        return Err(RegistryError::Manifest {
            reference: reference.familiar(),
            source: ManifestError::TooLarge(usize::try_from(size).unwrap_or(usize::MAX)),
        });
    }
    let wanted = Wanted {
        rest: format!("manifests/{name}"),
        accept: ACCEPT,
        what: "the manifest",
        limit: LARGEST_MANIFEST,
        digest,
        size,
        reference,
    };
    session.document(endpoint, &wanted).await
}

async fn fetch_config(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    manifest: &ImageManifest,
    limit: u64,
) -> Result<Vec<u8>, RegistryError> {
    let descriptor = manifest.config();
    let digest = oci::descriptor_digest(descriptor).map_err(|source| RegistryError::Manifest {
        reference: reference.familiar(),
        source,
    })?;
    if descriptor.size() > limit {
        return Err(RegistryError::TooLarge {
            what: "the image's configuration".to_owned(),
            host: endpoint.host.clone(),
            limit,
        });
    }
    let wanted = Wanted {
        rest: format!("blobs/{digest}"),
        accept: "*/*",
        what: "the image's configuration",
        limit,
        digest: Some(digest),
        size: Some(descriptor.size()),
        reference,
    };
    match session.document(endpoint, &wanted).await {
        Ok(document) => Ok(document.bytes),
        Err(RegistryError::NotFound(_)) => Err(RegistryError::BlobNotFound {
            digest,
            repository: reference.familiar_name(),
        }),
        Err(error) => Err(error),
    }
}

/// Charts, signatures and the like also live in registries, as manifests.
fn check_types(reference: &Reference, manifest: &ImageManifest) -> Result<(), RegistryError> {
    let other = |what, media_type: &oci::MediaType| RegistryError::NotAnImage {
        reference: reference.familiar(),
        what,
        media_type: crate::error::printable(media_type.as_ref()),
    };
    let config = manifest.config().media_type();
    // Docker 1.10 pushed the third one.
    if !matches!(
        config.to_string().as_str(),
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            | "application/octet-stream"
    ) {
        return Err(other("configuration", config));
    }
    for layer in manifest.layers() {
        if LayerMediaType::recognise(layer.media_type()).is_none() {
            return Err(other("layer", layer.media_type()));
        }
    }
    Ok(())
}

fn check_config(reference: &Reference, manifest: &ImageManifest, raw: &[u8]) -> Result<(), RegistryError> {
    let wrong = |why: String| RegistryError::Config {
        reference: reference.familiar(),
        why,
    };
    let config: oci::ImageConfig =
        serde_json::from_slice(raw).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let (named, there) = (config.rootfs.diff_ids.len(), manifest.layers().len());
    if named != there {
        return Err(wrong(format!(
            "it names {named} layers, but the manifest has {there}"
        )));
    }
    Ok(())
}
