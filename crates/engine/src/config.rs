//! The configuration file: one commented TOML file in which every key has a default that serves.

use crate::images::ImagePolicy;
use registry::Mirror;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the configuration is looked for unless `--config-file` names another.
const SYSTEM_FILE: &str = "/etc/coracle/config.toml";
/// No configuration is larger.
const LARGEST: u64 = 1 << 20;

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many bytes of build cache may stay after a build, mounts included and images' own layers left out.
    pub build_cache_limit: Option<ByteSize>,
    /// Directories with specifications of the Container Device Interface; a later one counts more.
    pub cdi_directories: Vec<PathBuf>,
    /// Who makes containers' cgroups.
    pub cgroup_driver: CgroupDriver,
    /// Whether containers and builds trust the host's own extra CA certificates.
    pub host_ca: HostCa,
    /// Which unused images are kept; the others go by themselves.
    pub image_policy: ImagePolicy,
    /// Registries (`host[:port]`) reached over plain HTTP or with certificates nobody vouches for.
    pub insecure_registries: Vec<String>,
    /// Where systemd's journal listens, for the log driver `journald`.
    pub journal_socket: PathBuf,
    /// Log driver of containers that name none: `json-file`, `local`, `journald` or `none`.
    pub log_driver: String,
    /// Its options, as `--log-opt` has them, where a container does not say otherwise.
    pub log_options: BTreeMap<String, OptionValue>,
    /// Registry mirrors.
    pub mirrors: Vec<Mirror>,
    /// Processes and threads that a container may have unless it is told otherwise; -1 is no limit.
    pub pids_limit: i64,
    /// Subnet of the default bridge, `172.30.0.0/16`; picked free if there is none.
    pub subnet: Option<ipnet::Ipv4Net>,
}

/// A size, written as text (`"20GB"`) or as a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OptionValue")]
pub struct ByteSize(u64);

impl ByteSize {
    /// Returns it in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<OptionValue> for ByteSize {
    type Error = String;

    fn try_from(value: OptionValue) -> Result<Self, String> {
        let bytes = match &value {
            OptionValue::Text(text) => crate::size::bytes(text).map_err(|error| error.to_string())?,
            OptionValue::Number(number) => *number,
            OptionValue::Truth(_) => return Err(format!("{value} is no size: write \"20GB\"")),
        };
        match u64::try_from(bytes) {
            Ok(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!("{value} is no size: write \"20GB\"")),
        }
    }
}

/// Who makes containers' cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// systemd where it runs with cgroup version 2 alone, otherwise we.
    #[default]
    Auto,
    /// systemd: each container has a scope.
    Systemd,
    /// We, directly in the hierarchies.
    Cgroupfs,
}

/// Whether the host's own extra CA certificates are trusted inside containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostCa {
    /// Where the host has any.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// The value of an option that a flag gives as text. Written as what it is, it is as good.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// `"10m"`.
    Text(String),
    /// `3`.
    Number(i64),
    /// `true`.
    Truth(bool),
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Truth(truth) => truth.fmt(f),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            build_cache_limit: None,
            cdi_directories: crate::cdi::DIRECTORIES.map(PathBuf::from).to_vec(),
            cgroup_driver: CgroupDriver::Auto,
            host_ca: HostCa::Auto,
            image_policy: ImagePolicy::default(),
            insecure_registries: Vec::new(),
            journal_socket: "/run/systemd/journal/socket".into(),
            log_driver: "json-file".into(),
            log_options: BTreeMap::new(),
            mirrors: Vec::new(),
            pids_limit: 4096,
            subnet: None,
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has an unknown key or a value of the wrong kind.
    #[error("the configuration file '{path}' is wrong")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// It is far too large to be one.
    #[error("the configuration file '{path}' is larger than 1 MiB")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// Reads the file at `path`, which must be there, or the default file, which need not.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        use std::io::Read;
        let file = path.unwrap_or(Path::new(SYSTEM_FILE));
        let failed = |source| ConfigError::Read {
            path: file.to_owned(),
            source,
        };
        let opened = match std::fs::File::open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                return Ok(Self::default());
            }
            opened => opened.map_err(failed)?,
        };
        let mut text = String::new();
        opened
            .take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > LARGEST {
            return Err(ConfigError::TooLarge {
                path: file.to_owned(),
            });
        }
        Self::parse(&text).map_err(|source| ConfigError::Syntax {
            path: file.to_owned(),
            source,
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_keeps_its_default() {
        let config = Config::parse(
            "pids_limit = 100\n[[mirrors]]\nprefix = 'docker.io'\nendpoint = 'm.example/hub'\n",
        )
        .unwrap();
        assert_eq!(config.pids_limit, 100);
        assert_eq!(config.log_driver, "json-file");
        assert_eq!(config.mirrors[0].endpoint, "m.example/hub");
    }

    #[test]
    fn an_image_policy_is_read() {
        let config = Config::parse("[image_policy]\nkeep = 3\nuntil = '720h'\nmax_size = '50g'\n").unwrap();
        let policy = config.image_policy;
        assert_eq!((policy.keep, policy.max_size), (Some(3), Some(50 << 30)));
        assert_eq!(policy.until, Some(jiff::SignedDuration::from_hours(720)));
        for bad in [
            "max_size = '-1'",
            "max_size = 'much'",
            "until = 'soon'",
            "size = '1g'",
        ] {
            assert!(Config::parse(&format!("[image_policy]\n{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_text_or_numbers() {
        let limit = |text: &str| Config::parse(&format!("build_cache_limit = {text}"));
        for (text, expected) in [("\"2k\"", 2048), ("4096", 4096), ("\"1.5 MB\"", 3 << 19)] {
            assert_eq!(limit(text).unwrap().build_cache_limit.unwrap().bytes(), expected);
        }
        for text in ["\"much\"", "true", "0", "-1", "\"0\""] {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let error = Config::parse("pid_limit = 100").unwrap_err().to_string();
        assert!(error.contains("pid_limit") && error.contains("line 1"), "{error}");
    }
}
