//! Searching a registry: the API of Docker Hub's first version, which some others have, too; where there is none, the
//! names of the repositories.

use crate::RegistryError;
use crate::endpoint::{Endpoint, searched};
use crate::error::printable;
use crate::pages::{At, Listing, MOST_PAGES};
use crate::session::Session;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name at the registry.
    pub name: String,
    /// What its owner says of it.
    #[serde(deserialize_with = "or_nothing")]
    pub description: String,
    /// How many users like it.
    #[serde(rename = "star_count")]
    pub stars: u64,
    /// Whether it is one of Docker's own.
    #[serde(rename = "is_official")]
    pub official: bool,
    /// Whether it says that it is built by itself; the Hub says so of none any more.
    #[serde(rename = "is_automated")]
    pub automated: bool,
}

fn or_nothing<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text: Option<String> = serde::Deserialize::deserialize(from)?;
    Ok(text.unwrap_or_default())
}

#[derive(serde::Deserialize)]
struct Results {
    results: Option<Vec<Found>>,
}

#[derive(serde::Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

/// Searches a registry for a term; returns so many repositories at most, in its order.
pub(crate) async fn search(
    session: &Session,
    registry: &str,
    term: &str,
    limit: usize,
) -> Result<Vec<Found>, RegistryError> {
    let endpoint = searched(&session.config, registry);
    let listing = Listing {
        session,
        endpoint: &endpoint,
        of: None,
        accept: "application/json",
        what: "its answer to the search",
    };
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("q", term)
        .append_pair("n", &limit.to_string())
        .finish();
    let page = listing.page(&At::Root(format!("v1/search?{query}"))).await?;
    let mut found = match page {
        Some(page) => {
            let results: Results = listing.read(&page)?;
            results.results.unwrap_or_default()
        }
        None => catalog(session, &endpoint, term, limit).await?,
    };
    found.truncate(limit);
    for one in &mut found {
        one.name = printable(&one.name);
        one.description = printable(&one.description);
    }
    Ok(found)
}

/// Looks for the term in the names of all repositories, where the registry tells them.
async fn catalog(
    session: &Session,
    endpoint: &Endpoint,
    term: &str,
    limit: usize,
) -> Result<Vec<Found>, RegistryError> {
    let listing = Listing {
        session,
        endpoint,
        of: None,
        accept: "application/json",
        what: "its list of repositories",
    };
    let mut found = Vec::new();
    let mut at = At::Root("v2/_catalog?n=1000".to_owned());
    for _ in 0..MOST_PAGES {
        let Some(page) = listing.page(&at).await? else {
            return Err(RegistryError::NoSearch(endpoint.host.clone()));
        };
        let catalog: Catalog = listing.read(&page)?;
        let names = catalog.repositories.unwrap_or_default();
        found.extend(
            names
                .into_iter()
                .filter(|name| name.contains(term))
                .map(|name| Found {
                    name,
                    ..Found::default()
                }),
        );
        match page.next {
            Some(next) if found.len() < limit => at = next,
            _ => return Ok(found),
        }
    }
    Err(listing.endless())
}
