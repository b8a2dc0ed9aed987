//! Lists that come page by page: tags, repositories, referrers.

use crate::RegistryError;
use crate::endpoint::Endpoint;
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::session::{Call, Session, refusal};
use crate::transport::Answer;
use oci::Reference;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use url::Url;

/// The largest page that is read.
const LARGEST_PAGE: u64 = 4 << 20;
/// More pages are a loop.
pub(crate) const MOST_PAGES: usize = 1000;

/// Where a page is.
#[derive(Debug, Clone)]
pub(crate) enum At {
    /// Below the endpoint's repository.
    Below(String),
    /// Where another page says.
    Link(Url),
    /// Anywhere at the registry.
    Root(String),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    pub(crate) session: &'a Session,
    pub(crate) endpoint: &'a Endpoint,
    /// Whose it is, for what is said of refusals.
    pub(crate) of: Option<&'a Reference>,
    pub(crate) accept: &'static str,
    /// What it is called in errors.
    pub(crate) what: &'static str,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    /// The one after it.
    pub(crate) next: Option<At>,
}

impl Listing<'_> {
    /// Fetches a page, again where that may help; `None` where there is none.
    pub(crate) async fn page(&self, at: &At) -> Result<Option<Page>, RegistryError> {
        let mut attempt = 1;
        loop {
            let failed = match self.once(at).await {
                Ok(page) => return Ok(page),
                Err(failed) => failed,
            };
            match failed.again {
                Again::After(asked) if attempt < MOST_ATTEMPTS => {
                    tokio::time::sleep(delay(self.session.tuning.backoff, attempt, asked)).await;
                }
                _ => return Err(failed.error),
            }
            attempt += 1;
        }
    }

    async fn once(&self, at: &At) -> Result<Option<Page>, Failed> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        let call = Call {
            method: Method::GET,
            headers,
            body: None,
            pinned: false,
        };
        let (session, endpoint) = (self.session, self.endpoint);
        let mut answer = match at {
            At::Below(rest) => session.call(endpoint, rest, call).await?,
            At::Link(url) => session.call_at(endpoint, url.clone(), call).await?,
            At::Root(path) => {
                session
                    .call_with(endpoint, &|scheme| endpoint.root_url(scheme, path), call)
                    .await?
            }
        };
        if answer.status().as_u16() == 404 && answer.own {
            drop(answer.complaint().await);
            return Ok(None);
        }
        if answer.status().as_u16() != 200 {
            return Err(match self.of {
                Some(reference) => refusal(answer, reference).await,
                None => Failed::by_status(answer.complaint().await),
            });
        }
        let next = next(&answer).filter(|next| endpoint.owns(next)).map(At::Link);
        let bytes = answer.body(self.what, LARGEST_PAGE).await?;
        Ok(Some(Page { bytes, next }))
    }

    /// Reads a page's JSON.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, page: &Page) -> Result<T, RegistryError> {
        serde_json::from_slice(&page.bytes).map_err(|error| RegistryError::Response {
            host: self.endpoint.host.clone(),
            why: format!(
                "{} is no JSON of the right shape ({:?})",
                self.what,
                error.classify()
            ),
        })
    }

    /// Says that pages lead to pages without an end.
    pub(crate) fn endless(&self) -> RegistryError {
        RegistryError::Response {
            host: self.endpoint.host.clone(),
            why: format!("{} has no end", self.what),
        }
    }
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
