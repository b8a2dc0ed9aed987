//! Manifests and indexes, read strictly: a blob that could be both is refused (CVE-2021-41190).

use crate::Digest;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

/// The largest manifest that is read; the distribution spec asks registries to accept at least as much.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// What a reference leads to.
#[derive(Debug, Clone)]
pub enum Manifest {
    /// One image.
    Image(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It has both layers and manifests, or neither.
    #[error("the manifest has {0}, so it cannot be told whether it is an image or an index")]
    Ambiguous(&'static str),
    /// A digest in it is not usable.
    #[error("the manifest names the digest '{0}', which is none")]
    Digest(String, #[source] crate::DigestError),
    /// It is not JSON of the right shape.
    #[error("the manifest cannot be read")]
    Json(#[source] serde_json::Error),
    /// The type that the registry told and the one in the document differ.
    #[error("the manifest was announced as '{announced}', but says of itself that it is '{written}'")]
    MediaType {
        /// From the HTTP header or the descriptor that led here.
        announced: String,
        /// From the document.
        written: String,
    },
    /// It is schema 1, or something that is no image.
    #[error("manifests of type '{0}' are not supported: push the image again with a current tool")]
    Unsupported(String),
    /// It is larger than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {0} bytes; more than {MAX_MANIFEST_BYTES} are refused")]
    TooLarge(usize),
}

impl Manifest {
    /// Parses a manifest's bytes. `announced` is the media type that the registry or the descriptor told, if any.
    pub fn parse(bytes: &[u8], announced: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let written = value.get("mediaType").and_then(Value::as_str).map(str::to_owned);
        let announced = announced
            .map(|name| name.split(';').next().unwrap_or(name).trim())
            .filter(|name| *name != "application/json" && *name != "text/plain" && !name.is_empty());
        if let (Some(announced), Some(written)) = (announced, &written)
            && announced != written
        {
            return Err(ManifestError::MediaType {
                announced: announced.to_owned(),
                written: written.clone(),
            });
        }
        if value.get("schemaVersion").and_then(Value::as_i64) == Some(1) {
            return Err(ManifestError::Unsupported("docker schema 1".to_owned()));
        }
        let layers = value.get("layers").is_some() || value.get("config").is_some();
        let manifests = value.get("manifests").is_some();
        let manifest = match (layers, manifests) {
            (true, false) => Self::Image(Box::new(
                serde_json::from_value(value).map_err(ManifestError::Json)?,
            )),
            (false, true) => Self::Index(Box::new(
                serde_json::from_value(value).map_err(ManifestError::Json)?,
            )),
            (true, true) => return Err(ManifestError::Ambiguous("both layers and manifests")),
            (false, false) => return Err(ManifestError::Ambiguous("neither layers nor manifests")),
        };
        manifest.check_type(announced.or(written.as_deref()))?;
        for descriptor in manifest.descriptors() {
            descriptor_digest(descriptor)?;
        }
        Ok(manifest)
    }

    fn check_type(&self, name: Option<&str>) -> Result<(), ManifestError> {
        let Some(name) = name else { return Ok(()) };
        let fits = match self {
            Self::Image(_) => matches!(
                name,
                "application/vnd.oci.image.manifest.v1+json"
                    | "application/vnd.docker.distribution.manifest.v2+json"
            ),
            Self::Index(_) => matches!(
                name,
                "application/vnd.oci.image.index.v1+json"
                    | "application/vnd.docker.distribution.manifest.list.v2+json"
            ),
        };
        if fits {
            Ok(())
        } else {
            Err(ManifestError::Unsupported(name.to_owned()))
        }
    }

    fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(image.config()).chain(image.layers()).collect(),
            Self::Index(index) => index.manifests().iter().collect(),
        }
    }

    /// Returns the media type that a request or a descriptor for this manifest should carry.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Image(image) => image.media_type().clone().unwrap_or(MediaType::ImageManifest),
            Self::Index(index) => index.media_type().clone().unwrap_or(MediaType::ImageIndex),
        }
    }
}

/// Returns a descriptor's digest as ours. Descriptors out of [`Manifest::parse`] always have one.
pub fn descriptor_digest(descriptor: &Descriptor) -> Result<Digest, ManifestError> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|source| ManifestError::Digest(text, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(digest: &str) -> String {
        format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}}"#)
    }

    fn image(extra: &str) -> String {
        let blob = descriptor(&format!("sha256:{}", "a".repeat(64)));
        format!(r#"{{"schemaVersion":2,{extra}"config":{blob},"layers":[{blob}]}}"#)
    }

    #[test]
    fn an_image_and_an_index_are_told_apart() {
        assert!(matches!(
            Manifest::parse(image("").as_bytes(), None),
            Ok(Manifest::Image(_))
        ));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let announced = "application/vnd.oci.image.index.v1+json";
        assert!(matches!(
            Manifest::parse(index.as_bytes(), Some(announced)),
            Ok(Manifest::Index(_))
        ));
    }

    #[test]
    fn confusion_is_refused() {
        let both = image(r#""manifests":[],"#);
        assert!(matches!(
            Manifest::parse(both.as_bytes(), None),
            Err(ManifestError::Ambiguous(_))
        ));
        assert!(matches!(
            Manifest::parse(b"{}", None),
            Err(ManifestError::Ambiguous(_))
        ));
        let typed = image(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#);
        let other = "application/vnd.oci.image.index.v1+json";
        assert!(matches!(
            Manifest::parse(typed.as_bytes(), Some(other)),
            Err(ManifestError::MediaType { .. })
        ));
        assert!(matches!(
            Manifest::parse(image("").as_bytes(), Some(other)),
            Err(ManifestError::Unsupported(_))
        ));
        let schema1 = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(
            Manifest::parse(schema1.as_bytes(), None),
            Err(ManifestError::Unsupported(_))
        ));
    }

    #[test]
    fn a_digest_with_a_path_in_it_is_refused() {
        let blob = descriptor("sha256:../../etc/passwd");
        let text = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[]}}"#);
        assert!(Manifest::parse(text.as_bytes(), None).is_err());
    }
}
