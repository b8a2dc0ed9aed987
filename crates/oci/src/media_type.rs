//! Media types of layers: Docker's and OCI's names for the same three encodings.

use oci_spec::image::MediaType;
use serde::{Deserialize, Serialize};

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// Not at all: the blob is the tar.
    None,
    /// RFC 8878.
    Zstd,
}

/// A layer's media type, reduced to what unpacking needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerMediaType {
    /// How the tar is compressed.
    pub compression: Compression,
    /// Whether the type says that the layer must not be pushed (`foreign` or `nondistributable`).
    pub foreign: bool,
}

impl LayerMediaType {
    /// Recognises a layer's media type; `None` for anything that is no tar layer, such as an artifact's.
    pub fn recognise(media_type: &MediaType) -> Option<Self> {
        let name = media_type.to_string();
        let (compression, foreign) = match name.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                (Compression::None, false)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => (Compression::Gzip, false),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => (Compression::Zstd, false),
            "application/vnd.oci.image.layer.nondistributable.v1.tar" => (Compression::None, true),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => (Compression::Gzip, true),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => (Compression::Zstd, true),
            _ => return None,
        };
        Some(Self { compression, foreign })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_oci_names_mean_the_same() {
        for (name, compression) in [
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Compression::Gzip,
            ),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
        ] {
            let recognised = LayerMediaType::recognise(&MediaType::from(name)).unwrap();
            assert_eq!(
                (recognised.compression, recognised.foreign),
                (compression, false),
                "{name}"
            );
        }
        assert_eq!(
            LayerMediaType::recognise(&MediaType::from("application/json")),
            None
        );
    }
}
