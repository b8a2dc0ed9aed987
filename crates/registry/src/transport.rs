//! Requests and answers: connections, redirects, and what the network's failures mean.

use crate::certificates::{self, Certificates};
use crate::endpoint::{is_insecure, is_loopback};
use crate::error::{Cause, printable};
use crate::names::{NameError, Names};
use crate::{RegistryConfig, RegistryError, Tuning, tls};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// Redirects that are followed for one request.
const MOST_REDIRECTS: usize = 10;
/// A registry that copies a large blob to its place takes so many times longer to answer.
const PATIENCE_AFTER_PUT: u32 = 10;
/// Encrypted greetings that a plain server on this machine leaves unanswered should not cost the full timeout.
const LOOPBACK_CONNECT: Duration = Duration::from_secs(5);

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Sent to the URL's own origin only.
    pub(crate) authorization: Option<HeaderValue>,
    /// Whether the answer is checked against a digest, so that it does not matter who gives it.
    pub(crate) pinned: bool,
    /// Body of a POST; such a request is never redirected.
    pub(crate) form: Option<String>,
    /// Any other body, small enough to be sent again.
    pub(crate) body: Option<Bytes>,
}

/// How a body that is sent as it comes is getting on.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes handed to the connection.
    sent: AtomicU64,
    /// Whether the connection waits for us, and not we for it.
    starving: AtomicBool,
}

impl Pace {
    /// Remembers that so many more bytes went to the connection.
    pub(crate) fn gave(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Remembers whether there is nothing to give.
    pub(crate) fn starve(&self, starving: bool) {
        self.starving.store(starving, Ordering::Relaxed);
    }
}

/// What came, with how to read more of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Host and port of the registry that was asked.
    pub(crate) host: String,
    /// Whether the answer is the registry's own, and not one of somebody that it redirected to.
    pub(crate) own: bool,
    idle: Duration,
}

/// Whom a client takes for who they say they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Anyone,
    Authorities,
    /// Anyone, and by no proxy.
    Loopback,
}

/// Connections to all hosts. One client per way of trusting, made when the first such host is asked.
#[derive(Debug)]
pub(crate) struct Transport {
    config: RegistryConfig,
    tuning: Tuning,
    loopback: OnceLock<Client>,
    unverified: OnceLock<Client>,
    verified: OnceLock<Client>,
    /// For hosts that have certificates of their own; `None` for those that have been looked for.
    own: Mutex<HashMap<String, Option<Client>>>,
}

impl Transport {
    pub(crate) fn new(config: RegistryConfig, tuning: Tuning) -> Self {
        Self {
            config,
            tuning,
            loopback: OnceLock::new(),
            unverified: OnceLock::new(),
            verified: OnceLock::new(),
            own: Mutex::default(),
        }
    }

    /// Sends a request and follows redirects. Credentials stay with the origin that was asked first.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, RegistryError> {
        let host = host_and_port(&ask.url);
        let first = ask.url.origin();
        let mut url = ask.url;
        let mut own = true;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self
                .client(&url)?
                .request(ask.method.clone(), url.clone())
                .headers(ask.headers.clone());
            if let (true, Some(value)) = (own, &ask.authorization) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            if let Some(form) = &ask.form {
                request = request
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone());
            }
            if let Some(body) = &ask.body {
                request = request.body(body.clone());
            }
            // Who was given something may have to put it away first.
            let patience = if ask.method == Method::PUT {
                self.tuning.idle_timeout * PATIENCE_AFTER_PUT
            } else {
                self.tuning.idle_timeout
            };
            let limit = self.tuning.connect_timeout + patience;
            let response = match tokio::time::timeout(limit, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.failure(error, &url)),
                Err(_elapsed) => {
                    return Err(RegistryError::Timeout {
                        host: host_and_port(&url),
                        seconds: limit.as_secs(),
                        doing: "before it answered",
                    });
                }
            };
            if !is_redirect(response.status()) {
                return Ok(Answer {
                    response,
                    host,
                    own,
                    idle: self.tuning.idle_timeout,
                });
            }
            let keeps_method = matches!(response.status().as_u16(), 307 | 308);
            if !keeps_method && ask.method != Method::GET && ask.method != Method::HEAD {
                return Err(redirect(&host, "it would make another request of it"));
            }
            if ask.form.is_some() {
                return Err(redirect(&host, "it would carry a secret elsewhere"));
            }
            let next = target(&response, &url).ok_or_else(|| redirect(&host, "it says not where to"))?;
            self.check_redirect(&host, &url, &next, ask.pinned)?;
            // Once away, always away: coming back does not bring the credentials back.
            own = own && next.origin() == first;
            url = next;
        }
        Err(redirect(&host, "it is the eleventh in a row"))
    }

    /// Sends a body as it comes; there is no limit to how long that takes as long as the other side takes it. No
    /// redirect is followed.
    pub(crate) async fn stream(
        &self,
        ask: &Ask,
        body: reqwest::Body,
        pace: &Pace,
    ) -> Result<Answer, RegistryError> {
        let mut request = self
            .client(&ask.url)?
            .request(ask.method.clone(), ask.url.clone())
            .headers(ask.headers.clone())
            .body(body);
        if let Some(value) = &ask.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let host = host_and_port(&ask.url);
        let limit = self.tuning.connect_timeout + self.tuning.idle_timeout;
        let mut sending = std::pin::pin!(request.send());
        let mut last = (0, Instant::now());
        loop {
            match tokio::time::timeout(limit / 4, &mut sending).await {
                Ok(Ok(response)) => {
                    return Ok(Answer {
                        response,
                        host,
                        own: true,
                        idle: self.tuning.idle_timeout,
                    });
                }
                Ok(Err(error)) => return Err(self.failure(error, &ask.url)),
                Err(_elapsed) => {
                    let sent = pace.sent.load(Ordering::Relaxed);
                    if sent != last.0 || pace.starving.load(Ordering::Relaxed) {
                        last = (sent, Instant::now());
                    } else if last.1.elapsed() >= limit {
                        return Err(RegistryError::Timeout {
                            host,
                            seconds: limit.as_secs(),
                            doing: "in the middle of a transfer",
                        });
                    }
                }
            }
        }
    }

    fn check_redirect(&self, host: &str, from: &Url, to: &Url, pinned: bool) -> Result<(), RegistryError> {
        match (from.scheme(), to.scheme()) {
            (_, "https") | ("http", "http") => Ok(()),
            ("https", "http") if pinned || is_insecure(&self.config, &host_and_port(to)) => Ok(()),
            ("https", "http") => Err(redirect(
                host,
                "it leads from https to http, where anybody may change what a tag means",
            )),
            _ => Err(redirect(host, "it leads to something other than http")),
        }
    }

    /// Picks the client by whom we talk to: loopback knows no proxy, and neither it nor what is listed as insecure
    /// needs a certificate. A host with certificates put down for it has a client of its own.
    fn client(&self, url: &Url) -> Result<Client, RegistryError> {
        let name = url.host_str().unwrap_or_default();
        let host = host_and_port(url);
        let (slot, trust) = if is_loopback(name) {
            (&self.loopback, Trust::Loopback)
        } else if is_insecure(&self.config, &host) {
            (&self.unverified, Trust::Anyone)
        } else {
            (&self.verified, Trust::Authorities)
        };
        if url.scheme() == "https"
            && let Some(client) = self.own_client(url, &host, trust)?
        {
            return Ok(client);
        }
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = self.make(url, trust, Certificates::default())?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn own_client(&self, url: &Url, host: &str, trust: Trust) -> Result<Option<Client>, RegistryError> {
        // Nothing is left half done under this lock.
        let mut known = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(host) {
            return Ok(client.clone());
        }
        let found = certificates::find(&self.config.certificates, host)?;
        let client = found
            .map(|certificates| self.make(url, trust, certificates))
            .transpose()?;
        known.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    fn make(&self, url: &Url, trust: Trust, certificates: Certificates) -> Result<Client, RegistryError> {
        let connect = self.tuning.connect_timeout;
        let mut builder = Client::builder()
            .connect_timeout(if trust == Trust::Loopback {
                connect.min(LOOPBACK_CONNECT)
            } else {
                connect
            })
            .dns_resolver(Names::new(self.tuning.hosts.clone()))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tls_backend_preconfigured(if trust == Trust::Authorities {
                tls::verified(certificates)?
            } else {
                tls::unverified(certificates)?
            });
        if trust == Trust::Loopback || self.tuning.no_proxy {
            builder = builder.no_proxy();
        }
        if !self.config.user_agent.is_empty() {
            builder = builder.user_agent(self.config.user_agent.clone());
        }
        builder.build().map_err(|error| self.failure(error, url))
    }

    /// Returns the address of the proxy that requests to a host go through, if they do.
    fn proxy(&self, url: &Url) -> Option<String> {
        if self.tuning.no_proxy || is_loopback(url.host_str()?) {
            return None;
        }
        // The same rules that reqwest follows.
        let destination = url.as_str().parse().ok()?;
        let found = hyper_util::client::proxy::matcher::Matcher::from_env().intercept(&destination)?;
        let uri = found.uri();
        let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host()?);
        Some(uri.port().map_or_else(
            || format!("{scheme}://{host}"),
            |port| format!("{scheme}://{host}:{port}"),
        ))
    }

    /// Puts a failed request in our words.
    fn failure(&self, error: reqwest::Error, url: &Url) -> RegistryError {
        // The URL may hold a signature that is as good as a password.
        let error = error.without_url();
        let host = host_and_port(url);
        let proxy = self.proxy(url);
        if error.is_timeout() {
            return RegistryError::Timeout {
                host,
                seconds: self.tuning.connect_timeout.as_secs(),
                doing: "while connecting",
            };
        }
        let kind = classify(&error);
        let connecting = error.is_connect();
        let source: Cause = Box::new(error);
        match kind {
            Failure::Name | Failure::Other | Failure::Refused if connecting && proxy.is_some() => {
                RegistryError::Proxy {
                    proxy: proxy.unwrap_or_default(),
                    host,
                    source,
                }
            }
            Failure::Name => RegistryError::HostNotFound { host, source },
            Failure::Other if connecting => RegistryError::Unreachable { host, source },
            Failure::Other => RegistryError::Connection { host, source },
            Failure::Refused => RegistryError::ConnectionRefused { host, source },
            Failure::Tls(why) => RegistryError::Tls { host, why, source },
        }
    }
}

enum Failure {
    Name,
    Other,
    Refused,
    Tls(String),
}

fn classify(error: &(dyn Error + 'static)) -> Failure {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NameError>() {
            return Failure::Name;
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Failure::Tls(tls::explain(error));
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => return Failure::Refused,
            // An io::Error's source() is its content's source, which steps over the content.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    Failure::Other
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect(host: &str, why: &'static str) -> RegistryError {
    RegistryError::Redirect {
        host: host.to_owned(),
        why,
    }
}

fn target(response: &Response, from: &Url) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut to = from.join(location).ok()?;
    // A password in a redirect is somebody else's doing.
    if !to.username().is_empty() || to.password().is_some() {
        to.set_username("").ok()?;
        to.set_password(None).ok()?;
    }
    to.host_str()?;
    Some(to)
}

/// Returns `host[:port]` of an address, the port where it is not the scheme's own.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns a header's text, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns the next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(RegistryError::Connection {
                host: self.host.clone(),
                source: Box::new(error.without_url()),
            }),
            Err(_elapsed) => Err(RegistryError::Timeout {
                host: self.host.clone(),
                seconds: self.idle.as_secs(),
                doing: "in the middle of a transfer",
            }),
        }
    }

    /// Reads the body, at most `limit` bytes of it.
    pub(crate) async fn body(&mut self, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let announced = self.response.content_length();
        let too_large = |host: &str| RegistryError::TooLarge {
            what: what.to_owned(),
            host: host.to_owned(),
            limit,
        };
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(&self.host));
        }
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(None) => return Ok(body),
                Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(too_large(&self.host));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(RegistryError::Connection { host, source }) => {
                    return Err(RegistryError::Truncated {
                        what: what.to_owned(),
                        host,
                        received: body.len() as u64,
                        expected: announced.unwrap_or(limit),
                        source: Some(source),
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what a registry says about its refusal: codes, and a message fit to print.
    pub(crate) async fn complaint(mut self) -> Complaint {
        const LONGEST: u64 = 64 << 10;
        let retry_after = self
            .header("retry-after")
            .and_then(|text| crate::retry::asked(text, SystemTime::now()));
        let status = self.status().as_u16();
        // The status says enough where the body cannot be read.
        let body = self.body("an error message", LONGEST).await.unwrap_or_default();
        let mut complaint = Complaint {
            host: self.host,
            status,
            retry_after,
            codes: Vec::new(),
            message: String::new(),
        };
        if let Ok(errors) = serde_json::from_slice::<ErrorBody>(&body) {
            for error in errors.errors {
                if complaint.message.is_empty() {
                    complaint.message = printable(&error.message);
                }
                complaint.codes.push(error.code);
            }
        }
        complaint
    }
}

/// An error answer (distribution spec, "Error Codes").
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) host: String,
    pub(crate) status: u16,
    /// Seconds that the server asks to wait.
    pub(crate) retry_after: Option<u64>,
    /// `MANIFEST_UNKNOWN` and the like.
    pub(crate) codes: Vec<String>,
    /// What the registry says in words.
    pub(crate) message: String,
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(serde::Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}
