//! The tags of a repository, page by page.

use crate::RegistryError;
use crate::endpoint::{Endpoint, endpoints};
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Call, Session, refusal};
use crate::transport::Answer;
use oci::Reference;
use reqwest::Method;
use reqwest::header::{HeaderMap, LINK};
use url::Url;

/// The largest page that is read.
const LARGEST_PAGE: u64 = 4 << 20;
/// More pages are a loop.
const MOST_PAGES: usize = 1000;

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
    let mut tags = Vec::new();
    let mut next: Option<Url> = None;
    for _ in 0..MOST_PAGES {
        let (page, link) = page(session, endpoint, reference, next.as_ref()).await?;
        tags.extend(page);
        match link {
            Some(link) => next = Some(link),
            None => return Ok(tags),
        }
    }
    Err(RegistryError::Response {
        host: endpoint.host.clone(),
        why: "its list of tags has no end".to_owned(),
    })
}

async fn page(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    at: Option<&Url>,
) -> Result<(Vec<String>, Option<Url>), RegistryError> {
    let mut attempt = 1;
    loop {
        let failed = match once(session, endpoint, reference, at).await {
            Ok(page) => return Ok(page),
            Err(failed) => failed,
        };
        match failed.again {
            Again::After(asked) if attempt < MOST_ATTEMPTS => {
                tokio::time::sleep(delay(session.tuning.backoff, attempt, asked)).await;
            }
            _ => return Err(failed.error),
        }
        attempt += 1;
    }
}

async fn once(
    session: &Session,
    endpoint: &Endpoint,
    reference: &Reference,
    at: Option<&Url>,
) -> Result<(Vec<String>, Option<Url>), Failed> {
    let call = Call {
        method: Method::GET,
        headers: HeaderMap::new(),
        body: None,
        pinned: false,
    };
    let mut answer = match at {
        Some(url) => session.call_at(endpoint, url.clone(), call).await?,
        None => session.call(endpoint, "tags/list?n=1000", call).await?,
    };
    if answer.status().as_u16() != 200 {
        let failed = refusal(answer, reference).await;
        return Err(match failed.error {
            RegistryError::NotFound(_) => RegistryError::RepositoryNotFound(reference.familiar_name()).into(),
            _ => failed,
        });
    }
    let next = next(&answer).filter(|next| endpoint.owns(next));
    let body = answer.body("the list of tags", LARGEST_PAGE).await?;
    let page: Page = serde_json::from_slice(&body).map_err(|error| RegistryError::Response {
        host: endpoint.host.clone(),
        why: format!("its list of tags is no JSON ({:?})", error.classify()),
    })?;
    // What is no tag is nothing that could be asked for.
    let tags = page.tags.unwrap_or_default();
    let tags = tags.into_iter().filter(|tag| reference.with_tag(tag).is_ok());
    Ok((tags.collect(), next))
}

/// Reads `Link: </v2/…>; rel="next"` (RFC 8288).
fn next(answer: &Answer) -> Option<Url> {
    let links = answer.response.headers().get_all(LINK);
    links.iter().find_map(|link| {
        let (target, parameters) = link.to_str().ok()?.split_once('>')?;
        let is_next = parameters.contains("rel=\"next\"") || parameters.contains("rel=next");
        let target = target.trim().strip_prefix('<')?;
        is_next.then(|| answer.response.url().join(target).ok())?
    })
}
