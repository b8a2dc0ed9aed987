//! The server behind [`FakeRegistry`]: routing, access, and faults on the wire.

use super::{Access, Content, FakeRegistry, Fault, Object, Request, TokenServer};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

/// Where Docker Hub is searched.
pub(super) const SEARCH: &str = "/v1/search";

/// Bodies go out in pieces of this size, so that a fault in the middle is one.
const PIECE: usize = 16 << 10;

#[expect(clippy::panic, reason = "without its registry a test has failed")]
pub(super) fn start(tls: Option<&Tls<'_>>) -> FakeRegistry {
    match try_start(tls) {
        Ok(registry) => registry,
        Err(error) => panic!("the test registry does not start: {error}"),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn try_start(tls: Option<&Tls<'_>>) -> Result<FakeRegistry, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let acceptor = tls.map(acceptor).transpose()?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let content = Arc::new(Mutex::new(Content {
        objects: HashMap::new(),
        scripts: Vec::new(),
        constant: Vec::new(),
        access: Access::Anonymous,
        tokens: Vec::new(),
        log: Vec::new(),
        connections: 0,
        own_address: format!("{scheme}://{address}"),
        uploads: HashMap::new(),
        opened: 0,
    }));
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let served = content.clone();
    let thread = std::thread::Builder::new()
        .name("test-registry".to_owned())
        .spawn(move || runtime.block_on(accept(listener, acceptor, served, stopped)))?;
    Ok(FakeRegistry {
        address,
        content,
        stop,
        thread: Some(thread),
    })
}

/// How TLS is spoken.
pub(super) struct Tls<'a> {
    pub(super) certificate: &'a str,
    pub(super) key: &'a str,
    /// The authority that vouches for clients; without one everybody may come.
    pub(super) clients: Option<&'a str>,
}

fn acceptor(tls: &Tls<'_>) -> Result<TlsAcceptor, Failure> {
    let certificates =
        |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = certificates(tls.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match tls.clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authority)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    Ok(TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key)?)))
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    content: Arc<Mutex<Content>>,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let stream = tokio::select! {
            // Either told to stop, or nobody is left who could tell.
            _ = stopped.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_out_of_descriptors) => continue,
            },
        };
        let (acceptor, content) = (acceptor.clone(), content.clone());
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    // A client that does not trust us goes away here, as some tests want.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, content).await;
                    }
                }
                None => connection(stream, content).await,
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    content: Arc<Mutex<Content>>,
) {
    let served = content.clone();
    let service = service_fn(move |request| {
        let content = served.clone();
        async move { answer(request, &content).await }
    });
    lock(&content).connections += 1;
    // Connections break here on purpose, and clients go away; neither is an error of the server.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
    lock(&content).connections -= 1;
}

pub(super) fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: hyper::Request<Incoming>,
    content: &Mutex<Content>,
) -> io::Result<Response<Scripted>> {
    let (parts, body) = request.into_parts();
    let is_upload = parts.uri.path().contains("/blobs/uploads/");
    let (body, upload) = if is_upload {
        (Bytes::new(), Some(body))
    } else {
        (body.collect().await.map_err(io::Error::other)?.to_bytes(), None)
    };
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (fault, takes) = {
        let mut content = lock(content);
        content.log.push(request.clone());
        let fault = content.fault(&request.path);
        let takes = upload.is_some()
            && matches!(
                fault,
                Fault::None | Fault::CutAfter(_) | Fault::StallAfter(_) | Fault::Header(..)
            )
            && content.challenge(&request).is_none();
        (fault, takes)
    };
    if let (Some(upload), true) = (upload, takes) {
        return super::upload::answer(&request, upload, fault, content).await;
    }
    let mut content = lock(content);
    match fault {
        Fault::Close => return Err(io::Error::other("closed on purpose")),
        Fault::Redirect(to) => return reply(307, &[("location", &to)], &[]),
        Fault::Status(status, headers, body) => {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            return reply(status, &headers, body.as_bytes());
        }
        _ => {}
    }
    if request.path == "/token" {
        return content.token(&request);
    }
    if let Some(challenge) = content.challenge(&request) {
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        return reply(401, &[("www-authenticate", &challenge)], body);
    }
    if request.path == "/v2/" {
        return reply(200, &[], b"{}");
    }
    if request.method == "PUT" && request.path.contains("/manifests/") {
        return super::upload::manifest(&mut content, &request, &body);
    }
    match content.objects.get(&request.path) {
        Some(object) if request.path == SEARCH => search(object, &request.query),
        Some(object) => object.serve(&request, fault),
        None if request.path.contains("/manifests/") => {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            reply(404, &[], body)
        }
        None => reply(
            404,
            &[],
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#,
        ),
    }
}

/// Answers with those of the repositories that have the term in their names or descriptions, as many as asked for.
fn search(all: &Object, query: &str) -> io::Result<Response<Scripted>> {
    let value_of = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let term = value_of("q")
        .unwrap_or_default()
        .replace("%2F", "/")
        .replace('+', " ");
    let most = value_of("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&all.bytes).map_err(io::Error::other)?;
    let has = |repository: &serde_json::Value| {
        ["name", "description"]
            .iter()
            .filter_map(|key| repository[key].as_str())
            .any(|text| text.contains(&term))
    };
    let found: Vec<_> = all.into_iter().filter(has).take(most).collect();
    let body = serde_json::json!({"num_results": found.len(), "query": term, "results": found}).to_string();
    reply(200, &[("content-type", "application/json")], body.as_bytes())
}

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response<Scripted>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let length = body.len().to_string();
    response
        .header("content-length", length)
        .body(Scripted::new(body, End::Clean))
        .map_err(io::Error::other)
}

impl Content {
    fn fault(&mut self, path: &str) -> Fault {
        for (part, faults) in &mut self.scripts {
            if path.contains(part.as_str())
                && let Some(fault) = faults.pop_front()
            {
                return fault;
            }
        }
        self.constant
            .iter()
            .find(|(part, _)| path.contains(part.as_str()))
            .map_or(Fault::None, |(_, fault)| fault.clone())
    }

    /// Returns what to challenge the client with, if it has not shown what it needs.
    fn challenge(&mut self, request: &Request) -> Option<String> {
        let shown = request.headers.get("authorization").map_or("", String::as_str);
        match &self.access {
            Access::Anonymous => None,
            Access::Basic(user, password) => {
                (shown != basic(user, password)).then(|| "Basic realm=\"test\"".to_owned())
            }
            Access::Bearer(server) => {
                let uses = server.uses.unwrap_or(usize::MAX);
                let mut tokens = self.tokens.iter_mut();
                let token = tokens.find(|(token, used)| shown == format!("Bearer {token}") && *used < uses);
                if let (Some((_, used)), false) = (token, server.useless) {
                    *used += 1;
                    return None;
                }
                let own = format!("{}/token", self.own_address);
                let realm = server.realm.as_deref().unwrap_or(&own);
                let repository = request.path.trim_start_matches("/v2/");
                let repository = repository.split("/manifests/").next().unwrap_or_default();
                let repository = repository.split("/blobs/").next().unwrap_or_default();
                Some(format!(
                    "Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:{repository}:pull\""
                ))
            }
        }
    }

    fn token(&mut self, request: &Request) -> io::Result<Response<Scripted>> {
        let Access::Bearer(server) = &self.access else {
            return reply(404, &[], &[]);
        };
        let TokenServer {
            login, refresh_token, ..
        } = server;
        let shown = request.headers.get("authorization").map_or("", String::as_str);
        let allowed = match (request.method.as_str(), login, refresh_token) {
            ("POST", _, Some(expected)) => request
                .body
                .split('&')
                .any(|pair| pair == format!("refresh_token={expected}")),
            ("GET", Some((user, password)), _) => shown == basic(user, password),
            ("GET", None, None) => true,
            _ => false,
        };
        if !allowed {
            return reply(401, &[], br#"{"details":"incorrect username or password"}"#);
        }
        let token = format!("token-{}", self.tokens.len() + 1);
        let life = server.expires_in.unwrap_or(300);
        // As token servers do for who asks to stay.
        let refresh = match refresh_token {
            Some(refresh) if request.query.contains("offline_token=true") => {
                format!(r#","refresh_token":"{refresh}""#)
            }
            _ => String::new(),
        };
        let body = format!(r#"{{"token":"{token}","expires_in":{life}{refresh}}}"#);
        self.tokens.push((token, 0));
        reply(200, &[("content-type", "application/json")], body.as_bytes())
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

impl Object {
    fn serve(&self, request: &Request, fault: Fault) -> io::Result<Response<Scripted>> {
        let mut bytes = self.bytes.to_vec();
        let whole = bytes.len();
        let mut status = StatusCode::OK;
        let mut headers = vec![
            ("content-type".to_owned(), self.content_type.clone()),
            ("docker-content-digest".to_owned(), self.digest.to_string()),
        ];
        let range = request
            .headers
            .get("range")
            .filter(|_| fault != Fault::IgnoreRange);
        let span = range
            .and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                let first: usize = first.parse().ok()?;
                let last = if last.is_empty() {
                    whole - 1
                } else {
                    last.parse().ok()?
                };
                Some((first, last.min(whole.saturating_sub(1))))
            })
            .filter(|(first, last)| first <= last);
        if let Some((first, last)) = span {
            bytes.truncate(last + 1);
            bytes.drain(..first);
            status = StatusCode::PARTIAL_CONTENT;
            headers.push((
                "content-range".to_owned(),
                format!("bytes {first}-{last}/{whole}"),
            ));
        }
        let mut end = End::Clean;
        let mut length = Some(bytes.len());
        let mut pace = None;
        match fault {
            Fault::Append(more) => {
                bytes.extend(more);
                length = None;
            }
            Fault::Body(other) => {
                length = Some(other.len());
                bytes = other;
            }
            Fault::CutAfter(count) => {
                bytes.truncate(count);
                end = End::Broken;
            }
            Fault::FlipBit(at) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
            }
            Fault::Header(name, value) => {
                headers.retain(|(known, _)| *known != name);
                if !value.is_empty() {
                    headers.push((name, value));
                }
            }
            Fault::Slow(rate) => pace = Some(rate),
            Fault::StallAfter(count) => {
                bytes.truncate(count);
                end = End::Silent;
            }
            Fault::Close | Fault::IgnoreRange | Fault::None | Fault::Redirect(_) | Fault::Status(..) => {}
        }
        let mut response = Response::new(Scripted::new(&bytes, end).at(pace));
        *response.status_mut() = status;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(io::Error::other)?;
            response
                .headers_mut()
                .insert(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
        }
        if let Some(length) = length {
            response
                .headers_mut()
                .insert("content-length", HeaderValue::from(length));
        }
        Ok(response)
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Broken,
    Clean,
    Silent,
}

/// A body that ends as it is told to.
#[derive(Debug)]
pub(super) struct Scripted {
    pieces: VecDeque<Bytes>,
    end: End,
    /// Whether what went before has had its chance to be written out.
    flushed: bool,
    /// How long each piece is waited for.
    pause: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Scripted {
    fn new(bytes: &[u8], end: End) -> Self {
        Self {
            pieces: bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect(),
            end,
            flushed: false,
            pause: None,
            waiting: None,
        }
    }

    /// Lets it come at so many bytes a second.
    fn at(mut self, rate: Option<u64>) -> Self {
        self.pause = rate.map(|rate| Duration::from_micros(PIECE as u64 * 1_000_000 / rate.max(1)));
        self
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let (Some(pause), false) = (self.pause, self.pieces.is_empty()) {
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.end {
            End::Clean => Poll::Ready(None),
            End::Silent => Poll::Pending,
            End::Broken if self.flushed => Poll::Ready(Some(Err(io::Error::other("cut on purpose")))),
            End::Broken => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
