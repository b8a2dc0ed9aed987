//! The tags of a repository, page by page.

use crate::RegistryError;
use crate::endpoint::{Endpoint, endpoints};
use crate::pages::{At, Listing, MOST_PAGES};
use crate::session::Session;
use oci::Reference;

#[derive(serde::Deserialize)]
struct Page {
    /// `null` where there are none.
    tags: Option<Vec<String>>,
}

/// Lists the tags, at the mirrors first, in the registry's order.
pub(crate) async fn list(session: &Session, reference: &Reference) -> Result<Vec<String>, RegistryError> {
    let mut places = endpoints(&session.config, reference)?;
    let origin = places.pop();
    for mirror in &places {
        if let Ok(tags) = list_at(session, mirror, reference).await {
            return Ok(tags);
        }
    }
    match origin {
        Some(origin) => list_at(session, &origin, reference).await,
        None => Err(RegistryError::NotFound(reference.familiar())),
    }
}

async fn list_at(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
) -> Result<Vec<String>, RegistryError> {
    let listing = Listing {
        session,
        endpoint,
        of: Some(reference),
        accept: "application/json",
        what: "its list of tags",
    };
    let mut tags = Vec::new();
    let mut at = At::Below("tags/list?n=1000".to_owned());
    for _ in 0..MOST_PAGES {
        let page = listing.page(&at).await?;
        let page = page.ok_or_else(|| RegistryError::RepositoryNotFound(reference.familiar_name()))?;
        let names: Page = listing.read(&page)?;
        // What is no tag is nothing that could be asked for.
        let names = names.tags.unwrap_or_default();
        tags.extend(names.into_iter().filter(|tag| reference.with_tag(tag).is_ok()));
        match page.next {
            Some(next) => at = next,
            None => return Ok(tags),
        }
    }
    Err(listing.endless())
}
