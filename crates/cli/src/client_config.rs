//! The user's `~/.docker/config.json`, as far as the command line reads it: proxies, detach keys, formats.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No configuration is larger.
const LARGEST: u64 = 4 << 20;

/// What we read of `config.json`. Credentials are the registry's business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientConfig {
    /// Keys that detach from a container.
    pub detach_keys: Option<String>,
    /// Format of `images`.
    pub images_format: Option<String>,
    /// Format of `network ls`.
    pub networks_format: Option<String>,
    /// Proxies by daemon; `default` is for all.
    pub proxies: BTreeMap<String, Proxies>,
    /// Filters of every `prune`.
    pub prune_filters: Vec<String>,
    /// Format of `ps`.
    pub ps_format: Option<String>,
    /// Format of `stats`.
    pub stats_format: Option<String>,
    /// Format of `volume ls`.
    pub volumes_format: Option<String>,
}

/// Proxies that containers and builds are told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "the names in the file")]
pub(crate) struct Proxies {
    /// For `http` URLs.
    pub http_proxy: Option<String>,
    /// For `https` URLs.
    pub https_proxy: Option<String>,
    /// Hosts reached without one.
    pub no_proxy: Option<String>,
    /// For `ftp` URLs.
    pub ftp_proxy: Option<String>,
    /// For all the others.
    pub all_proxy: Option<String>,
}

impl ClientConfig {
    /// Reads the file in `directory`, in `$DOCKER_CONFIG` or in `~/.docker`; where there is none, all is unset.
    pub(crate) fn load(directory: Option<&Path>) -> Result<Self, String> {
        let directory = directory
            .map(Path::to_owned)
            .or_else(|| {
                std::env::var_os("DOCKER_CONFIG")
                    .filter(|value| !value.is_empty())
                    .map(PathBuf::from)
            })
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
        let Some(path) = directory.map(|directory| directory.join("config.json")) else {
            return Ok(Self::default());
        };
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        serde_json::from_str(&text).map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    /// Returns the proxy variables for containers and builds, in both cases as programs look for either.
    pub(crate) fn proxy_variables(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let Some(proxies) = self.proxies.get("default") else {
            return variables;
        };
        for (name, value) in [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                variables.insert(name.to_owned(), value.to_owned());
                variables.insert(name.to_lowercase(), value.to_owned());
            }
        }
        variables
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(LARGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_given_in_both_cases() {
        let config: ClientConfig = serde_json::from_str(
            r#"{"auths":{},"detachKeys":"ctrl-x","proxies":{"default":{"httpProxy":"http://p:3128","noProxy":"a,b"}}}"#,
        )
        .unwrap();
        assert_eq!(config.detach_keys.as_deref(), Some("ctrl-x"));
        let variables = config.proxy_variables();
        assert_eq!(variables.len(), 4);
        assert_eq!(variables["http_proxy"], "http://p:3128");
        assert_eq!(variables["NO_PROXY"], "a,b");
    }
}
