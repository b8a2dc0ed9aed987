//! The options of the Dockerfile frontend: a map of strings, as `buildx` writes it.

use super::SolveError;
use engine::builder::{Allowed, CachePlace, RunNetwork, StepLimits};
use oci::Platform;
use std::collections::BTreeMap;

/// Options of a build, as they came.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Options of a build, understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `filename`: the Dockerfile's name.
    pub filename: Option<String>,
    /// `context`: the address of a context that the client has not.
    pub address: Option<String>,
    /// `contextsubdir`.
    pub subdirectory: Option<String>,
    /// `contextkey`, `dockerfilekey`: the client's names for its directories.
    pub context_name: Option<String>,
    pub dockerfile_name: Option<String>,
    /// `context:NAME`.
    pub contexts: Vec<(String, String)>,
    /// `local-sessionid:NAME`: sessions that serve one directory.
    pub sessions: BTreeMap<String, String>,
    /// `build-arg:NAME`.
    pub arguments: BTreeMap<String, String>,
    /// `label:NAME`.
    pub labels: BTreeMap<String, String>,
    /// `target`.
    pub target: Option<String>,
    /// `no-cache` without stages.
    pub no_cache: bool,
    /// `no-cache` with stages.
    pub uncached_stages: Vec<String>,
    /// `image-resolve-mode`.
    pub pull: bool,
    /// `platform`; one at least.
    pub platforms: Vec<Platform>,
    /// `add-hosts`.
    pub hosts: Vec<(String, String)>,
    /// `force-network-mode`.
    pub network: RunNetwork,
    /// `shm-size`, `ulimit`, `cgroup-parent`.
    pub limits: StepLimits,
    /// `requestid`: what to do instead of building.
    pub call: Option<String>,
    /// `cache-from` and `cache-imports`: where finished steps are taken from.
    pub caches: Vec<CachePlace>,
    /// What was understood and is not done, for a warning.
    pub ignored: Vec<String>,
}

impl Options {
    /// Understands the options. What nobody here knows makes no difference, as with BuildKit.
    pub(crate) fn parse(attributes: &Attributes) -> Result<Self, SolveError> {
        let mut options = Self::default();
        for (key, value) in attributes {
            options.one(key, value)?;
        }
        if options.platforms.is_empty() {
            options.platforms.push(Platform::host());
        }
        Ok(options)
    }

    fn one(&mut self, key: &str, value: &str) -> Result<(), SolveError> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        if let Some((kind, name)) = key.split_once(':') {
            let (name, value) = (name.to_owned(), value.to_owned());
            match kind {
                "build-arg" => drop(self.arguments.insert(name, value)),
                "label" => drop(self.labels.insert(name, value)),
                "context" => self.contexts.push((name, value)),
                "local-sessionid" => drop(self.sessions.insert(name, value)),
                "attest" => self.ignored.push(format!("attestation {name}")),
                _ => {}
            }
            return Ok(());
        }
        match key {
            "filename" => self.filename = text(),
            "context" => self.address = text(),
            "contextsubdir" => self.subdirectory = text(),
            "contextkey" => self.context_name = text(),
            "dockerfilekey" => self.dockerfile_name = text(),
            "target" => self.target = text(),
            "no-cache" if value.is_empty() => self.no_cache = true,
            "no-cache" => self.uncached_stages = split(value).map(str::to_owned).collect(),
            "image-resolve-mode" => {
                self.pull = match value {
                    "pull" => true,
                    "" | "default" | "local" => false,
                    other => return invalid(format!("invalid image-resolve-mode: {other}")),
                }
            }
            "platform" => {
                for platform in split(value) {
                    let platform = platform
                        .parse()
                        .map_err(|error: oci::PlatformError| SolveError::Invalid(error.to_string()))?;
                    if !self.platforms.contains(&platform) {
                        self.platforms.push(platform);
                    }
                }
            }
            "add-hosts" => {
                for pair in split(value) {
                    let Some((name, address)) = pair.split_once('=') else {
                        return invalid(format!("failed to parse additional hosts: {pair}"));
                    };
                    self.hosts.push((name.to_owned(), address.to_owned()));
                }
            }
            "force-network-mode" => {
                self.network = match value {
                    "" | "sandbox" | "default" => RunNetwork::Default,
                    "host" => RunNetwork::Host,
                    "none" => RunNetwork::None,
                    other => return invalid(format!("invalid netmode {other}")),
                }
            }
            "shm-size" => match value.parse::<u64>() {
                Ok(0) => {}
                Ok(size) => self.limits.shm_size = Some(size),
                Err(_) => return invalid(format!("failed to parse shm size: {value}")),
            },
            "ulimit" => {
                for limit in split(value) {
                    self.limits.ulimits.push(ulimit(limit)?);
                }
            }
            "cgroup-parent" => self.limits.cgroup_parent = text(),
            "cache-from" => {
                for name in split(value) {
                    self.caches.extend(registry(name)?);
                }
            }
            "cache-imports" if !value.is_empty() => {
                let entries: Option<Vec<Import>> = serde_json::from_str(value).map_err(|error| {
                    SolveError::Invalid(format!("failed to unmarshal cache-imports: {error}"))
                })?;
                for Import { kind, attributes } in entries.unwrap_or_default() {
                    let name = attributes.get("ref");
                    match (kind.as_str(), name) {
                        ("registry", Some(name)) => self.caches.extend(registry(name)?),
                        _ => self.ignored.push(format!("a cache of type {kind}")),
                    }
                }
            }
            "requestid" => self.call = text(),
            "memory" | "memswap" | "cpushares" | "cpuperiod" | "cpuquota" | "cpusetcpus" | "cpusetmems"
                if !matches!(value, "" | "0") =>
            {
                self.ignored.push(key.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the proxy variables among the build arguments: `RUN` sees them, and neither image nor cache does.
    pub(crate) fn proxy(&self) -> BTreeMap<String, String> {
        let is_proxy = |name: &str| {
            matches!(
                name.to_ascii_uppercase().as_str(),
                "HTTP_PROXY" | "HTTPS_PROXY" | "FTP_PROXY" | "NO_PROXY" | "ALL_PROXY"
            )
        };
        let wanted = self.arguments.iter().filter(|(name, _)| is_proxy(name));
        wanted
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Returns the time that the image is to bear, if the user says so.
    pub(crate) fn epoch(&self) -> Result<Option<i64>, SolveError> {
        let Some(text) = self
            .arguments
            .get("SOURCE_DATE_EPOCH")
            .filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        match text.parse() {
            Ok(epoch) => Ok(Some(epoch)),
            Err(_) => invalid(format!("invalid SOURCE_DATE_EPOCH: {text}")),
        }
    }
}

/// One of `cache-imports`.
#[derive(Debug, serde::Deserialize)]
struct Import {
    #[serde(default, alias = "Type", alias = "type", rename = "Type")]
    kind: String,
    #[serde(default, alias = "Attrs", alias = "attrs", rename = "Attrs")]
    attributes: BTreeMap<String, String>,
}

/// Returns a cache in a registry; `None` if it has no name.
pub(super) fn registry(name: &str) -> Result<Option<CachePlace>, SolveError> {
    if name.is_empty() {
        return Ok(None);
    }
    match name.parse() {
        Ok(reference) => Ok(Some(CachePlace::Registry(reference))),
        Err(error) => invalid(format!("invalid cache {name}: {error}")),
    }
}

/// Understands the rights that the user gives a build.
pub(crate) fn rights<'r>(names: impl IntoIterator<Item = &'r str>) -> Result<Allowed, SolveError> {
    let mut allowed = Allowed::default();
    for name in names {
        match name {
            "network.host" => allowed.host_network = true,
            "security.insecure" => allowed.insecure = true,
            // Each device is asked for by its name; there are none for builds.
            other => {
                return Err(SolveError::Unsupported(format!("the entitlement {other}")));
            }
        }
    }
    Ok(allowed)
}

fn invalid<T>(message: String) -> Result<T, SolveError> {
    Err(SolveError::Invalid(message))
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn ulimit(text: &str) -> Result<(String, i64, i64), SolveError> {
    let wrong = || SolveError::Invalid(format!("failed to parse ulimits: {text}"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let number = |text: &str| text.parse::<i64>().ok().ok_or_else(wrong);
    Ok((name.to_owned(), number(soft)?, number(hard)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Options, SolveError> {
        let attributes = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Options::parse(&attributes)
    }

    #[test]
    fn options_are_buildx_own() {
        let options = parse(&[
            ("filename", "sub/Dockerfile"),
            ("build-arg:A", "1"),
            ("build-arg:https_proxy", "http://p"),
            ("build-arg:SOURCE_DATE_EPOCH", "12"),
            ("label:a.b", "c=d"),
            ("context:base", "docker-image://busybox"),
            ("local-sessionid:context", "s1"),
            ("target", ""),
            ("no-cache", "one,two"),
            ("image-resolve-mode", "pull"),
            ("platform", "linux/arm64, linux/amd64,linux/amd64"),
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("force-network-mode", "none"),
            ("shm-size", "1024"),
            ("ulimit", "nofile=1:2,core=-1"),
            ("memory", "4096"),
            ("attest:provenance", "mode=min"),
            ("cache-from", "a/b:1"),
            (
                "cache-imports",
                r#"[{"Type":"registry","Attrs":{"ref":"c:2"}},{"Type":"gha"}]"#,
            ),
            ("nobody-knows", "it"),
        ])
        .unwrap();
        assert_eq!(options.filename.as_deref(), Some("sub/Dockerfile"));
        assert_eq!(options.arguments.len(), 3);
        assert_eq!(options.proxy().keys().collect::<Vec<_>>(), ["https_proxy"]);
        assert_eq!(options.epoch().unwrap(), Some(12));
        assert_eq!(options.labels["a.b"], "c=d");
        assert_eq!(
            options.contexts,
            [("base".to_owned(), "docker-image://busybox".to_owned())]
        );
        assert_eq!(options.sessions["context"], "s1");
        assert_eq!(options.target, None);
        assert!(!options.no_cache && options.uncached_stages == ["one", "two"] && options.pull);
        assert_eq!(options.platforms.len(), 2);
        assert_eq!(options.hosts[1], ("b".to_owned(), "::1".to_owned()));
        assert_eq!(options.network, RunNetwork::None);
        assert_eq!(options.limits.shm_size, Some(1024));
        assert_eq!(
            options.limits.ulimits,
            [("nofile".to_owned(), 1, 2), ("core".to_owned(), -1, -1)]
        );
        assert_eq!(
            options.ignored,
            ["attestation provenance", "a cache of type gha", "memory"]
        );
        assert_eq!(options.caches.len(), 2);
        let plain = parse(&[("no-cache", "")]).unwrap();
        assert!(plain.no_cache && plain.platforms == [Platform::host()]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (key, value) in [
            ("platform", "///"),
            ("add-hosts", "a"),
            ("force-network-mode", "bridge2"),
            ("shm-size", "much"),
            ("ulimit", "nofile"),
            ("ulimit", "nofile=a:b"),
            ("image-resolve-mode", "maybe"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
        assert!(
            parse(&[("build-arg:SOURCE_DATE_EPOCH", "x")])
                .unwrap()
                .epoch()
                .is_err()
        );
        assert!(rights(["network.host"]).unwrap().host_network);
        assert!(rights(["device"]).is_err());
    }
}
