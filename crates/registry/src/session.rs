//! What all requests of one client share, and the way of one request: scheme, credentials, answer.

use crate::endpoint::{Endpoint, Scheme};
use crate::retry::{Again, Failed, MOST_ATTEMPTS, delay};
use crate::token::{Reply, Tokens};
use crate::transport::{Answer, Ask, Pace, Transport};
use crate::{RegistryConfig, RegistryError, Tuning};
use bytes::Bytes;
use oci::{Digest, Reference};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;
use url::Url;

/// Wrong bytes are fetched again so often: a cache on the way may be broken, but not for ever.
const MOST_MISMATCHES: u32 = 3;

/// A small document may take so many times as long as a server may be silent.
const PATIENCE: u32 = 4;

/// A request, apart from where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Whether the answer is checked against a digest.
    pub(crate) pinned: bool,
}

/// Connections, tokens, and which scheme each host speaks.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) config: RegistryConfig,
    pub(crate) tuning: Tuning,
    pub(crate) transport: Transport,
    /// What all blobs together may have on their way in segments.
    pub(crate) lanes: Semaphore,
    tokens: Tokens,
    schemes: Mutex<HashMap<String, Scheme>>,
}

/// A small piece of content that is read whole.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Path below the repository.
    pub(crate) rest: String,
    /// `Accept`.
    pub(crate) accept: &'static str,
    /// What it is called in errors.
    pub(crate) what: &'static str,
    /// The most bytes that are read.
    pub(crate) limit: u64,
    /// Digest and size, where they are known.
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
    /// Whose it is.
    pub(crate) reference: &'a Reference,
}

/// What came for a [`Wanted`], with the digest of its bytes.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) content_type: Option<String>,
}

impl Session {
    pub(crate) fn new(config: RegistryConfig, tuning: Tuning) -> Self {
        Self {
            transport: Transport::new(config.clone(), tuning.clone()),
            config,
            tuning,
            lanes: Semaphore::new(crate::lanes::MOST_OF_ALL),
            tokens: Tokens::default(),
            schemes: Mutex::default(),
        }
    }

    /// Sends a request as it is, with no credentials but its own.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, RegistryError> {
        self.transport.send(ask).await
    }

    /// Sends a GET below the endpoint's repository, over whichever scheme the host speaks, showing credentials when
    /// it asks for them, once.
    pub(crate) async fn get(
        &self,
        endpoint: &Endpoint,
        rest: &str,
        headers: &HeaderMap,
        pinned: bool,
    ) -> Result<Answer, Failed> {
        let call = Call {
            method: Method::GET,
            headers: headers.clone(),
            body: None,
            pinned,
        };
        self.call(endpoint, rest, call).await
    }

    /// Sends a request below the endpoint's repository, like [`Session::get`].
    pub(crate) async fn call(&self, endpoint: &Endpoint, rest: &str, call: Call) -> Result<Answer, Failed> {
        self.call_with(endpoint, &|scheme| endpoint.url(scheme, rest), call)
            .await
    }

    /// Sends a request to an address that the endpoint has by whichever scheme its host speaks.
    pub(crate) async fn call_with(
        &self,
        endpoint: &Endpoint,
        url: &(dyn Fn(Scheme) -> Result<Url, RegistryError> + Sync),
        call: Call,
    ) -> Result<Answer, Failed> {
        let known = self.scheme(&endpoint.host);
        let candidates: Vec<Scheme> = match known {
            Some(scheme) if endpoint.schemes.contains(&scheme) => vec![scheme],
            _ => endpoint.schemes.clone(),
        };
        let mut failure = None;
        for scheme in candidates {
            let result = match url(scheme) {
                Ok(url) => self.call_at(endpoint, url, call.clone()).await,
                Err(error) => Err(error.into()),
            };
            match result {
                Err(failed) if failed.error.is_unreachable() => failure = Some(failed),
                other => {
                    if other.is_ok() {
                        self.remember(&endpoint.host, scheme);
                    }
                    return other;
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            RegistryError::Response {
                host: endpoint.host.clone(),
                why: "there is no way to talk to it".to_owned(),
            }
            .into()
        }))
    }

    /// Sends a request to an address that the endpoint has given, or that is its own. Only there credentials are shown.
    pub(crate) async fn call_at(&self, endpoint: &Endpoint, url: Url, call: Call) -> Result<Answer, Failed> {
        let mut ask = Ask {
            method: call.method,
            url,
            headers: call.headers,
            authorization: None,
            pinned: call.pinned,
            form: None,
            body: call.body,
        };
        ask.authorization = self.shown(endpoint, &ask.url).await;
        let answer = self.transport.send(ask.clone()).await?;
        if answer.status().as_u16() != 401 || !answer.own {
            return Ok(answer);
        }
        let reply = self
            .reply(endpoint, &ask.url, ask.authorization.clone(), &answer)
            .await?;
        let Reply::Retry { header, password } = reply else {
            return Ok(answer);
        };
        // Read to its end, so that the connection serves again.
        drop(answer.complaint().await);
        ask.authorization = Some(header);
        let answer = self.transport.send(ask).await?;
        if answer.status().as_u16() == 401 && answer.own && password {
            return Err(RegistryError::CredentialsRefused {
                host: endpoint.registry.clone(),
            }
            .into());
        }
        Ok(answer)
    }

    /// Returns what may be shown at an address and is still valid from before.
    async fn shown(&self, endpoint: &Endpoint, url: &Url) -> Option<HeaderValue> {
        if !endpoint.owns(url) {
            return None;
        }
        self.tokens.held(url, endpoint).await
    }

    /// Finds what answers a 401. An address that is not the endpoint's own gets nothing: it would be somebody else
    /// asking for our password (CVE-2020-15157).
    async fn reply(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        refused: Option<HeaderValue>,
        answer: &Answer,
    ) -> Result<Reply, Failed> {
        if !endpoint.owns(url) {
            return Ok(Reply::Nothing);
        }
        if let Some(scheme) = Scheme::of(url) {
            self.remember(&endpoint.host, scheme);
        }
        self.tokens
            .answer(&self.transport, &self.config, endpoint, (url, refused), answer)
            .await
    }

    /// Sends a body as it comes. A 401 is answered for the next time: the body is not there a second time.
    pub(crate) async fn stream(
        &self,
        endpoint: &Endpoint,
        url: Url,
        headers: HeaderMap,
        body: (reqwest::Body, &Pace),
    ) -> Result<Answer, Failed> {
        let authorization = self.shown(endpoint, &url).await;
        let ask = Ask {
            method: Method::PATCH,
            url,
            headers,
            authorization,
            pinned: true,
            form: None,
            body: None,
        };
        let (body, pace) = body;
        let answer = self.transport.stream(&ask, body, pace).await?;
        if answer.status().as_u16() != 401 {
            return Ok(answer);
        }
        let refused = ask.authorization;
        match self.reply(endpoint, &ask.url, refused, &answer).await? {
            Reply::Retry { .. } => Err(Failed {
                error: RegistryError::CredentialsRefused {
                    host: endpoint.registry.clone(),
                },
                again: Again::After(0),
            }),
            Reply::Nothing => Ok(answer),
        }
    }

    /// Fetches something small, checks it, and tries again where that may help.
    pub(crate) async fn document(
        &self,
        endpoint: &Endpoint,
        wanted: &Wanted<'_>,
    ) -> Result<Document, RegistryError> {
        let mut attempt = 1;
        loop {
            // Silence is noticed elsewhere; this is for a server that sends a byte now and then.
            let limit = self.tuning.idle_timeout * PATIENCE;
            let failed = match tokio::time::timeout(limit, self.document_once(endpoint, wanted)).await {
                Ok(Ok(document)) => return Ok(document),
                Ok(Err(failed)) => failed,
                Err(_elapsed) => {
                    return Err(RegistryError::Timeout {
                        host: endpoint.host.clone(),
                        seconds: limit.as_secs(),
                        doing: "or nearly so while a small document was awaited",
                    });
                }
            };
            let most = match failed.error {
                RegistryError::DigestMismatch { .. } | RegistryError::Size { .. } => MOST_MISMATCHES,
                _ => MOST_ATTEMPTS,
            };
            match failed.again {
                Again::After(asked) if attempt < most => {
                    tokio::time::sleep(delay(self.tuning.backoff, attempt, asked)).await;
                }
                _ => return Err(failed.error),
            }
            attempt += 1;
        }
    }

    async fn document_once(&self, endpoint: &Endpoint, wanted: &Wanted<'_>) -> Result<Document, Failed> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(wanted.accept));
        let mut answer = self
            .get(endpoint, &wanted.rest, &headers, wanted.digest.is_some())
            .await?;
        if answer.status().as_u16() != 200 {
            return Err(refusal(answer, wanted.reference).await);
        }
        let bytes = answer.body(wanted.what, wanted.limit).await?;
        let content_type = answer.header("content-type").map(str::to_owned);
        let digest = sha256(&bytes);
        let mismatch = |expected: String| Failed {
            error: RegistryError::DigestMismatch {
                what: wanted.what.to_owned(),
                host: answer.host.clone(),
                expected,
                actual: digest,
            },
            again: Again::After(0),
        };
        if let Some(size) = wanted.size
            && size != bytes.len() as u64
        {
            return Err(Failed {
                error: RegistryError::Size {
                    what: wanted.what.to_owned(),
                    host: answer.host.clone(),
                    expected: size,
                    actual: bytes.len().to_string(),
                },
                again: Again::After(0),
            });
        }
        if let Some(expected) = wanted.digest
            && expected != digest
        {
            return Err(mismatch(expected.to_string()));
        }
        // Digests of other algorithms may stand here; they say nothing that we could check.
        if let Some(announced) = answer.header("docker-content-digest")
            && announced.starts_with("sha256:")
            && announced != digest.to_string()
        {
            return Err(mismatch(crate::error::printable(announced)));
        }
        Ok(Document {
            bytes,
            digest,
            content_type,
        })
    }

    fn scheme(&self, host: &str) -> Option<Scheme> {
        let schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        schemes.get(host).copied()
    }

    fn remember(&self, host: &str, scheme: Scheme) {
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        schemes.insert(host.to_owned(), scheme);
    }
}

/// Puts an answer other than success into our words.
pub(crate) async fn refusal(answer: Answer, reference: &Reference) -> Failed {
    let own = answer.own;
    let complaint = answer.complaint().await;
    match complaint.status {
        401 | 403 if own => RegistryError::Denied(reference.familiar_name()).into(),
        404 if own && complaint.codes.iter().any(|code| code == "NAME_UNKNOWN") => {
            RegistryError::RepositoryNotFound(reference.familiar_name()).into()
        }
        404 if own => RegistryError::NotFound(reference.familiar()).into(),
        // A signed address of a content server that has run out; the next redirect has a new one.
        403 => Failed {
            again: Again::After(0),
            ..Failed::by_status(complaint)
        },
        _ => Failed::by_status(complaint),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest::from_sha256(digest)
}
