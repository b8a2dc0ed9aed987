//! What registries have: `search`, `image referrers`.

use super::Images;
use crate::EngineError;
use crate::containers::notation::boolean;
use crate::pattern::check_keys;
use oci::{Descriptor, Reference};
use registry::{Found, registry_of};

/// So many are asked for where nobody says how many.
const USUAL: usize = 25;
/// Docker's bound.
const MOST: usize = 100;

/// Which of what was found is wanted. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    stars: u64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl SearchFilter {
    /// Reads `stars=…`, `is-official=…` and `is-automated=…`.
    pub fn new(filters: &[(String, String)]) -> Result<Self, EngineError> {
        check_keys(filters, &["is-automated", "is-official", "stars"])?;
        let mut wanted = Self::default();
        for (key, value) in filters {
            let wrong = || EngineError::Invalid {
                message: format!("invalid filter '{key}={value}'"),
                hint: None,
            };
            let truth = || boolean::parse(value).map_err(|_not_one| wrong());
            match key.as_str() {
                "stars" => wanted.stars = wanted.stars.max(value.parse().map_err(|_not_a_number| wrong())?),
                "is-official" => wanted.official = Some(truth()?),
                _ => wanted.automated = Some(truth()?),
            }
        }
        Ok(wanted)
    }

    /// Says whether a repository is wanted.
    pub fn accepts(&self, found: &Found) -> bool {
        found.stars >= self.stars
            && self.official.is_none_or(|wanted| found.official == wanted)
            && self.automated.is_none_or(|wanted| found.automated == wanted)
    }
}

impl Images<'_> {
    /// Searches Docker Hub, or the registry with which the term begins (`registry.example/term`); returns `limit` repositories
    /// at most, 25 for 0, the most liked first. Names are such that they can be pulled.
    pub fn search(&self, term: &str, limit: usize) -> Result<Vec<Found>, EngineError> {
        let limit = if limit == 0 { USUAL } else { limit };
        if limit > MOST {
            return Err(EngineError::Invalid {
                message: format!("limit {limit} is outside the range of [1, {MOST}]"),
                hint: None,
            });
        }
        if term.contains("://") {
            return Err(EngineError::Invalid {
                message: "invalid repository name (ex: \"registry.domain.tld/myrepos\")".into(),
                hint: Some("leave the scheme out".into()),
            });
        }
        let (registry, rest) = match term.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (registry_of(host), rest)
            }
            _ => (oci::DEFAULT_REGISTRY, term),
        };
        let is_hub = registry == oci::DEFAULT_REGISTRY;
        let rest = if is_hub {
            rest.strip_prefix("library/").unwrap_or(rest)
        } else {
            rest
        };
        if rest.is_empty() {
            return Err(EngineError::Invalid {
                message: format!("'{term}' leaves nothing to search for"),
                hint: Some("write a part of a repository's name".into()),
            });
        }
        let mut found = self.engine.registry_client()?.search(registry, rest, limit)?;
        if !is_hub {
            for one in &mut found {
                one.name = format!("{registry}/{}", one.name);
            }
        }
        // Equal ones stay in the registry's order.
        found.sort_by_key(|one| std::cmp::Reverse(one.stars));
        Ok(found)
    }

    /// Lists what refers to the image or artifact that a reference names at its registry: signatures, attestations.
    pub fn referrers(&self, reference: &Reference) -> Result<Vec<Descriptor>, EngineError> {
        let client = self.engine.registry_client()?;
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => client.manifest(reference)?.1,
        };
        Ok(client.referrers(reference, &digest)?)
    }
}
