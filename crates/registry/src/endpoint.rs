//! Where a reference is looked for: its registry, and the mirrors that stand for it.

use crate::names::is_localhost;
use crate::{Mirror, RegistryConfig, RegistryError};
use oci::Reference;
use std::net::IpAddr;
use url::Url;

/// The host that serves what `docker.io` names.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// The host that is searched for what `docker.io` has.
const INDEX: &str = "index.docker.io";

/// Plain or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Returns an address's scheme.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        match url.scheme() {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }
}

/// What is to be done with a repository: what a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// Only to know who we are.
    Login,
    /// Reading.
    Pull,
    /// Reading and writing.
    Push {
        /// Other repositories of the registry whose blobs are to be mounted.
        sources: Vec<String>,
    },
}

/// One place that may have a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port that are connected to.
    pub(crate) host: String,
    /// The registry by the name that credentials go by; `docker.io` for the Hub.
    pub(crate) registry: String,
    /// The repository, by its name there.
    pub(crate) repository: String,
    /// Ways of talking to it, the preferred one first.
    pub(crate) schemes: Vec<Scheme>,
    /// What for.
    pub(crate) access: Access,
}

impl Endpoint {
    /// Says whether an address is the place's own, so that credentials may go there.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        let schemes = [Scheme::Http, Scheme::Https];
        schemes
            .iter()
            .filter_map(|scheme| self.url(*scheme, "").ok())
            .any(|own| own.origin() == url.origin())
    }

    /// Returns the address of something below `/v2/<repository>/`.
    pub(crate) fn url(&self, scheme: Scheme, rest: &str) -> Result<Url, RegistryError> {
        self.root_url(scheme, &format!("v2/{}/{rest}", self.repository))
    }

    /// Returns the address of something that belongs to no repository.
    pub(crate) fn root_url(&self, scheme: Scheme, path: &str) -> Result<Url, RegistryError> {
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        Url::parse(&format!("{scheme}://{}/{path}", self.host)).map_err(|source| RegistryError::Connection {
            host: self.host.clone(),
            source: Box::new(source),
        })
    }

    /// Names the place, to find it again.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

/// Returns the places to look for a reference, in the order to try them; the last one is where it says.
pub(crate) fn endpoints(
    config: &RegistryConfig,
    reference: &Reference,
) -> Result<Vec<Endpoint>, RegistryError> {
    let name = reference.name();
    let mut found = Vec::new();
    for mirror in &config.mirrors {
        if let Some(rest) = below(&name, &mirror.prefix) {
            let endpoint = mirrored(config, mirror, rest)?;
            if !found.contains(&endpoint) {
                found.push(endpoint);
            }
        }
    }
    let origin = origin(config, reference, Access::Pull);
    found.retain(|endpoint| *endpoint != origin);
    found.push(origin);
    Ok(found)
}

/// Returns the place that a reference names itself.
pub(crate) fn origin(config: &RegistryConfig, reference: &Reference, access: Access) -> Endpoint {
    let registry = reference.registry();
    let host = if registry == oci::DEFAULT_REGISTRY {
        DOCKER_HUB
    } else {
        registry
    };
    Endpoint {
        host: host.to_owned(),
        registry: registry.to_owned(),
        repository: reference.repository().to_owned(),
        schemes: schemes(config, host),
        access,
    }
}

/// Returns a registry as such, without a repository.
pub(crate) fn registry_itself(config: &RegistryConfig, registry: &str) -> Endpoint {
    let host = if registry == oci::DEFAULT_REGISTRY {
        DOCKER_HUB
    } else {
        registry
    };
    Endpoint {
        host: host.to_owned(),
        registry: registry.to_owned(),
        repository: String::new(),
        schemes: schemes(config, host),
        access: Access::Login,
    }
}

/// Returns where a registry is searched.
pub(crate) fn searched(config: &RegistryConfig, registry: &str) -> Endpoint {
    let mut endpoint = registry_itself(config, registry);
    if registry == oci::DEFAULT_REGISTRY {
        INDEX.clone_into(&mut endpoint.host);
    }
    endpoint
}

/// Returns what follows the prefix, if the name is in it: `docker.io/lib` is no prefix of `docker.io/library`.
fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(prefix.trim_end_matches('/'))?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix('/')
}

fn mirrored(config: &RegistryConfig, mirror: &Mirror, rest: &str) -> Result<Endpoint, RegistryError> {
    let broken = |why, source| RegistryError::Mirror {
        prefix: mirror.prefix.clone(),
        endpoint: mirror.endpoint.clone(),
        why,
        source,
    };
    let wrong = |why| broken(why, None);
    let (scheme, place) = match mirror.endpoint.split_once("://") {
        Some(("http", place)) => (Some(Scheme::Http), place),
        Some(("https", place)) => (Some(Scheme::Https), place),
        Some(_) => return Err(wrong("its scheme is neither http nor https")),
        None => (None, mirror.endpoint.as_str()),
    };
    let place = place.trim_end_matches('/');
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let repository = match (path, rest) {
        ("", "") => return Err(wrong("no repository is left: give the endpoint a path")),
        ("", rest) => rest.to_owned(),
        (path, "") => path.to_owned(),
        (path, rest) => format!("{path}/{rest}"),
    };
    // The grammar of references is also the one of what may stand in the address.
    let parsed: Reference = format!("{host}/{repository}:x")
        .parse()
        .map_err(|source| broken("it is not [http://]host[:port][/path]", Some(source)))?;
    if parsed.registry() != host || parsed.repository() != repository {
        return Err(wrong("its host needs a dot, a port or the name localhost"));
    }
    Ok(Endpoint {
        host: host.to_owned(),
        registry: host.to_owned(),
        repository,
        schemes: scheme.map_or_else(|| schemes(config, host), |scheme| vec![scheme]),
        access: Access::Pull,
    })
}

/// Docker's rule: loopback and what the user listed may fall back to plain HTTP.
fn schemes(config: &RegistryConfig, host: &str) -> Vec<Scheme> {
    if is_insecure(config, host) || is_loopback(host_name(host)) {
        vec![Scheme::Https, Scheme::Http]
    } else {
        vec![Scheme::Https]
    }
}

/// Says whether the user listed a host, with or without its port, as insecure.
pub(crate) fn is_insecure(config: &RegistryConfig, host: &str) -> bool {
    let name = host_name(host);
    config
        .insecure
        .iter()
        .any(|listed| listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(name))
}

/// Says whether a host name or address is this machine's own by definition.
pub(crate) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    is_localhost(bare) || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mirrors: &[(&str, &str)]) -> RegistryConfig {
        RegistryConfig {
            mirrors: mirrors
                .iter()
                .map(|(prefix, endpoint)| Mirror {
                    prefix: (*prefix).to_owned(),
                    endpoint: (*endpoint).to_owned(),
                })
                .collect(),
            insecure: vec!["plain.example".to_owned(), "odd.example:5000".to_owned()],
            ..RegistryConfig::default()
        }
    }

    fn places(mirrors: &[(&str, &str)], reference: &str) -> Vec<String> {
        endpoints(&config(mirrors), &reference.parse().unwrap())
            .unwrap()
            .iter()
            .map(|endpoint| {
                let ways: Vec<String> = endpoint
                    .schemes
                    .iter()
                    .map(|scheme| endpoint.url(*scheme, "x").unwrap().to_string())
                    .collect();
                ways.join(" ")
            })
            .collect()
    }

    #[test]
    fn plain_http_is_for_loopback_and_what_is_listed() {
        for (reference, expected) in [
            ("ubuntu", "https://registry-1.docker.io/v2/library/ubuntu/x"),
            ("ghcr.io/a/b", "https://ghcr.io/v2/a/b/x"),
            (
                "localhost:5000/a",
                "https://localhost:5000/v2/a/x http://localhost:5000/v2/a/x",
            ),
            (
                "127.9.9.9:1/a",
                "https://127.9.9.9:1/v2/a/x http://127.9.9.9:1/v2/a/x",
            ),
            (
                "[::1]:5000/a",
                "https://[::1]:5000/v2/a/x http://[::1]:5000/v2/a/x",
            ),
            (
                "plain.example:80/a",
                "https://plain.example:80/v2/a/x http://plain.example/v2/a/x",
            ),
            (
                "odd.example:5000/a",
                "https://odd.example:5000/v2/a/x http://odd.example:5000/v2/a/x",
            ),
            ("odd.example:5001/a", "https://odd.example:5001/v2/a/x"),
            ("128.0.0.1:5000/a", "https://128.0.0.1:5000/v2/a/x"),
            (
                "localhost.evil.example/a",
                "https://localhost.evil.example/v2/a/x",
            ),
        ] {
            assert_eq!(places(&[], reference), [expected], "{reference}");
        }
    }

    #[test]
    fn mirrors_stand_for_whole_components() {
        let hub = "https://registry-1.docker.io/v2/library/ubuntu/x";
        for (prefix, endpoint, expected) in [
            (
                "docker.io",
                "m.example",
                Some("https://m.example/v2/library/ubuntu/x"),
            ),
            (
                "docker.io/library",
                "http://m.example/hub/",
                Some("http://m.example/v2/hub/ubuntu/x"),
            ),
            (
                "docker.io/library/ubuntu",
                "m.example:81/u",
                Some("https://m.example:81/v2/u/x"),
            ),
            ("docker.io/lib", "m.example", None),
            ("ghcr.io", "m.example", None),
        ] {
            let expected: Vec<&str> = expected.into_iter().chain([hub]).collect();
            assert_eq!(
                places(&[(prefix, endpoint)], "ubuntu"),
                expected,
                "{prefix} {endpoint}"
            );
        }
    }

    #[test]
    fn senseless_mirrors_are_refused() {
        for endpoint in [
            "ftp://m.example",
            "m.example/../x",
            "justname",
            "m.example?x=",
            "",
            "a@m.example",
        ] {
            let config = config(&[("docker.io", endpoint)]);
            let error = endpoints(&config, &"ubuntu".parse().unwrap()).unwrap_err();
            assert!(matches!(error, RegistryError::Mirror { .. }), "{endpoint}");
        }
        let config = config(&[("docker.io/library/ubuntu", "m.example")]);
        assert!(endpoints(&config, &"ubuntu".parse().unwrap()).is_err());
    }
}
