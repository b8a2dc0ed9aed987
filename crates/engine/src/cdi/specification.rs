//! A specification file, read and checked. Fields that we have no use for are left out; unknown ones are let be, for
//! newer versions add some.

use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The newest version whose meaning we know; those before it are parts of it.
const NEWEST: (u32, u32) = (1, 1);

/// A file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Specification {
    cdi_version: String,
    /// `vendor.com/class`.
    pub(super) kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    /// What any of its devices needs.
    #[serde(default)]
    pub(super) container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What is changed about a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Edits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) mounts: Vec<Mount>,
    pub(super) hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    pub(super) additional_gids: Vec<u32>,
    #[serde(rename = "netDevices")]
    net_devices: Vec<Value>,
    #[serde(rename = "intelRdt")]
    intel_rdt: Option<Value>,
}

/// A device node. What it does not say is looked up on the host when the container starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeviceNode {
    /// In the container.
    pub(crate) path: PathBuf,
    /// On the host; `path` if it says nothing.
    pub(crate) host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) major: Option<i64>,
    pub(crate) minor: Option<i64>,
    pub(crate) file_mode: Option<u32>,
    /// Of `r`, `w`, `m`; all of them if it says nothing.
    pub(crate) permissions: String,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Mount {
    pub(crate) host_path: PathBuf,
    pub(crate) container_path: PathBuf,
    pub(crate) options: Vec<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// A program of the host's that is to run at some moment of a container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hook {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

impl Specification {
    /// Reads JSON.
    pub(super) fn parse_json(text: &str) -> Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        Self::from_value(value)
    }

    /// Reads what came out of JSON or YAML.
    pub(super) fn from_value(value: Value) -> Result<Self, String> {
        let specification: Self =
            serde_json::from_value(value).map_err(|error| format!("is no CDI specification: {error}"))?;
        specification.check()?;
        Ok(specification)
    }

    /// Returns what a device needs beyond what all of them need.
    pub(super) fn device(&self, kind: &str, name: &str) -> Option<&Edits> {
        if self.kind != kind {
            return None;
        }
        let device = self.devices.iter().find(|device| device.name == name)?;
        Some(&device.container_edits)
    }

    fn check(&self) -> Result<(), String> {
        let version = version(&self.cdi_version)
            .ok_or_else(|| format!("has the version '{}', which is none", self.cdi_version))?;
        if version > NEWEST {
            return Err(format!(
                "is of version {}, which is not known here",
                self.cdi_version
            ));
        }
        if !self.kind.contains('/') {
            return Err(format!(
                "has the kind '{}', which is not of the form vendor/class",
                self.kind
            ));
        }
        self.container_edits.check()?;
        for device in &self.devices {
            if device.name.is_empty() {
                return Err("has a device without a name".to_owned());
            }
            device
                .container_edits
                .check()
                .map_err(|why| format!("{why} (device '{}')", device.name))?;
        }
        Ok(())
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        let absolute = |path: &Path, what: &str| {
            if path.is_absolute() {
                Ok(())
            } else {
                Err(format!(
                    "has the {what} '{}', which is not absolute",
                    path.display()
                ))
            }
        };
        for device in &self.device_nodes {
            absolute(&device.path, "device path")?;
            if let Some(path) = &device.host_path {
                absolute(path, "device path")?;
            }
            if !matches!(device.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return Err(format!("has a device of the unknown type '{}'", device.kind));
            }
            if !device.permissions.bytes().all(|each| b"rwm".contains(&each)) {
                return Err(format!(
                    "has the device permissions '{}', which are not of r, w and m",
                    device.permissions
                ));
            }
        }
        for mount in &self.mounts {
            absolute(&mount.host_path, "mount's source")?;
            absolute(&mount.container_path, "mount's target")?;
        }
        if self.env.iter().any(|variable| !variable.contains('=')) {
            return Err("has an environment variable without a value".to_owned());
        }
        if !self.net_devices.is_empty() || self.intel_rdt.is_some() {
            return Err("moves network devices or sets Intel RDT, which is not supported".to_owned());
        }
        Ok(())
    }
}

/// Reads `0.6.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u32>().ok()?;
    parts.next().is_none().then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_ones_say_why() {
        let spec = |version: &str, kind: &str, edits: &str| {
            format!(r#"{{"cdiVersion":"{version}","kind":"{kind}","containerEdits":{edits}}}"#)
        };
        for (text, why) in [
            ("{".to_owned(), "is not JSON"),
            ("{}".to_owned(), "is no CDI specification"),
            (spec("x", "a/b", "{}"), "which is none"),
            (spec("9.0.0", "a/b", "{}"), "is of version 9.0.0"),
            (spec("0.6.0", "a", "{}"), "vendor/class"),
            (
                spec("0.6.0", "a/b", r#"{"deviceNodes":[{"path":"dev/x"}]}"#),
                "not absolute",
            ),
            (
                spec(
                    "0.6.0",
                    "a/b",
                    r#"{"deviceNodes":[{"path":"/dev/x","type":"z"}]}"#,
                ),
                "unknown type",
            ),
            (
                spec(
                    "0.6.0",
                    "a/b",
                    r#"{"mounts":[{"hostPath":"x","containerPath":"/x"}]}"#,
                ),
                "not absolute",
            ),
            (spec("0.6.0", "a/b", r#"{"env":["A"]}"#), "without a value"),
            (spec("0.8.0", "a/b", r#"{"intelRdt":{}}"#), "not supported"),
        ] {
            let error = Specification::parse_json(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        Specification::parse_json(&spec("0.8.0", "a/b", "{}")).unwrap();
    }
}
