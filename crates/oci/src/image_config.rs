//! The image configuration: OCI's fields and the ones that only Docker writes.
#![expect(
    clippy::zero_sized_map_values,
    reason = "Docker's documents write sets as maps to empty objects"
)]

use crate::{Digest, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image's configuration blob (OCI image spec, "Image Configuration"), whose digest is the image's id.
///
/// Field order is the order in which Docker writes them. Images made elsewhere are kept as the bytes they came
/// in; this type only reads those, and writes what we build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Processor architecture in Go's name.
    #[serde(default)]
    pub architecture: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What a container of this image runs, and how.
    #[serde(default)]
    pub config: Config,
    /// RFC 3339 time of making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// One entry per build step.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Operating system in Go's name.
    #[serde(default)]
    pub os: String,
    /// The layers, by the digests of their uncompressed tars.
    pub rootfs: RootFs,
    /// Architecture variant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The build cache in the image (`--cache-to type=inline`). Written only: what an image from elsewhere says here
    /// counts where it is asked for, and nowhere else (see [`BuildSteps`]).
    #[serde(
        rename = "coracle.build.steps.v1",
        skip_deserializing,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub build_steps: Vec<BuildStep>,
}

/// A step of a build, and the layer that it has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildStep {
    /// What it is looked up by.
    pub key: Digest,
    /// The number of its layer, from 0; it may have made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The instruction.
    pub summary: String,
}

/// The part of a configuration that holds a build cache.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BuildSteps {
    /// The steps.
    #[serde(default, rename = "coracle.build.steps.v1")]
    pub build_steps: Vec<BuildStep>,
    /// The layers.
    pub rootfs: RootFs,
}

/// What a container of the image runs by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Default arguments, or the command where there is no entry point.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// The program that `cmd` is handed to.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// `NAME=value` each. An entry without `=` carries no value and is never filled from the host.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// `port/protocol`.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// How to tell whether the container is well (Docker only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Free-form names and values.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Instructions that a build on top of this image runs first (Docker only).
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// The shell of shell-form instructions (Docker only).
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
    /// Signal that stops the container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// `user[:group]`, by name or number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Paths that get a volume each.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// Directory that the command starts in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// The empty object that Go's `map[string]struct{}` becomes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's health check. Durations are nanoseconds; 0 means "the default".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time that one check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that mean "unhealthy".
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One build step, as `image history` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What the maker noted, such as its builder's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step changed the configuration only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest of each layer's uncompressed tar.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".into(),
            diff_ids: Vec::new(),
        }
    }
}

impl ImageConfig {
    /// Returns the platform that the image is for.
    pub fn platform(&self) -> Platform {
        Platform::new(
            if self.os.is_empty() { "linux" } else { &self.os },
            if self.architecture.is_empty() {
                std::env::consts::ARCH
            } else {
                &self.architecture
            },
            &self.variant,
        )
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go writes an empty slice or map as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_nulls_and_extensions_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":["PATH=/bin"],
            "OnBuild":null,"Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000}},
            "history":null,"rootfs":{"type":"layers","diff_ids":null},"container":"x"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.volumes.keys().collect::<Vec<_>>(), ["/data"]);
        assert_eq!(config.config.healthcheck.unwrap().interval, 1_000_000_000);
        assert!(config.config.cmd.is_empty());
    }

    #[test]
    fn nothing_unset_is_written() {
        let text = serde_json::to_string(&ImageConfig::default()).unwrap();
        assert_eq!(
            text,
            r#"{"architecture":"","config":{},"os":"","rootfs":{"type":"layers","diff_ids":[]}}"#
        );
    }
}
