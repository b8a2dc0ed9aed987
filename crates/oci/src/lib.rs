//! Pure values of the image and distribution specifications.
//!
//! In: strings and JSON from users, registries and archives, all of them untrusted. Out: values that cannot be
//! wrong: a [`Digest`] is 64 hex digits, a [`Reference`] is normalised, a [`Manifest`] is not also an index.
//! Stands on `oci-spec` for descriptors and manifests. Never does I/O.

mod digest;
mod image_config;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod rootfs;

pub use digest::{Digest, DigestError};
pub use image_config::{BuildStep, BuildSteps, Config, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError, descriptor_digest};
pub use media_type::{Compression, LayerMediaType};
pub use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_REGISTRY, Reference, ReferenceError};
pub use rootfs::Overlay;
