//! Connections, and each request on its way from hyper to an operation's thread and back.

use super::engines::Engines;
use super::guard::{self, Way};
use super::listen::{Entrance, Visitor};
use super::outlet::{Outlet, Streamed};
use super::reply::Head;
use super::{
    ApiVersion, BodyReader, Conversation, Exchange, Failure, Limits, Listener, Query, Reply, Route, route,
    version,
};
use crate::operations;
use bytes::Bytes;
use engine::Locations;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// A request's line and headers may be so long; build arguments and filters stand in the line.
const LONGEST_HEAD: usize = 128 << 10;
/// How long a client may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);

type Answer = Response<Either<Full<Bytes>, Streamed>>;
type Tables = &'static [&'static [Route]];

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The event loop did not come about.
    #[error("cannot start the server")]
    Runtime(#[source] io::Error),
    /// A socket cannot be listened on.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
}

/// The server on one root.
#[derive(Debug)]
pub struct Server {
    engines: Arc<Engines>,
    limits: Limits,
    tables: Tables,
}

/// What all connections share.
#[derive(Debug)]
struct House {
    engines: Arc<Engines>,
    limits: Limits,
    tables: Tables,
    connections: Arc<Semaphore>,
    operations: Arc<Semaphore>,
}

impl Server {
    /// Makes a server for the engine at these locations.
    pub fn new(locations: Locations) -> Self {
        Self {
            engines: Arc::new(Engines::new(locations)),
            limits: Limits::default(),
            tables: operations::TABLES,
        }
    }

    /// Sets what it takes on.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Serves all listeners until the other end of `stop` is closed. What is being answered then has a moment to come to
    /// its end. Containers do not notice.
    pub fn run(&self, listeners: Vec<Listener>, stop: UnixStream) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(self.limits.operations + 16)
            .thread_keep_alive(Duration::from_secs(2))
            .enable_all()
            .build()
            .map_err(ServerError::Runtime)?;
        let house = Arc::new(House {
            engines: Arc::clone(&self.engines),
            limits: self.limits,
            tables: self.tables,
            connections: Arc::new(Semaphore::new(self.limits.connections)),
            operations: Arc::new(Semaphore::new(self.limits.operations)),
        });
        let ended = runtime.block_on(async {
            let (end, ending) = watch::channel(false);
            let mut doors = tokio::task::JoinSet::new();
            for listener in listeners {
                let entrance = listener.into_entrance().map_err(ServerError::Listen)?;
                doors.spawn(accept(entrance, Arc::clone(&house), ending.clone()));
            }
            stop.set_nonblocking(true).map_err(ServerError::Runtime)?;
            let stop = tokio::net::UnixStream::from_std(stop).map_err(ServerError::Runtime)?;
            let stopped = stop.readable().await.map_err(ServerError::Runtime);
            doors.shutdown().await;
            end.send_replace(true);
            let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
            // Whether all have gone or the time is up: it is the end.
            drop(tokio::time::timeout(self.limits.farewell, house.connections.acquire_many(all)).await);
            stopped
        });
        // Operations that wait would keep us for ever; they hold nothing that the next command does not find.
        runtime.shutdown_background();
        ended
    }
}

async fn accept(entrance: Entrance, house: Arc<House>, ending: watch::Receiver<bool>) {
    loop {
        match entrance.accept().await {
            Ok(visitor) => {
                let Ok(place) = Arc::clone(&house.connections).try_acquire_owned() else {
                    visitor.turn_away(&full(&house.limits));
                    continue;
                };
                let guest = Guest {
                    house: Arc::clone(&house),
                    way: visitor.way(),
                    ending: ending.clone(),
                    place: Arc::new(place),
                };
                tokio::spawn(receive(visitor, guest));
            }
            // Out of descriptors: some come free when other connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What we say to one connection too many.
fn full(limits: &Limits) -> Vec<u8> {
    let message = format!(
        "there are {} connections, which is as many as are taken: close some, or try again later",
        limits.connections
    );
    let text = json!({ "message": message }).to_string() + "\n";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// What a connection's requests share.
#[derive(Debug, Clone)]
struct Guest {
    house: Arc<House>,
    way: Way,
    ending: watch::Receiver<bool>,
    /// Kept while anything of the connection is used, also after it has been taken over.
    place: Arc<OwnedSemaphorePermit>,
}

async fn receive(visitor: Visitor, guest: Guest) {
    match visitor {
        Visitor::Tcp(stream, None) => converse(TokioIo::new(stream), guest).await,
        Visitor::Tcp(stream, Some(acceptor)) => {
            // Who has no certificate hears of it in the handshake.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                converse(TokioIo::new(stream), guest).await;
            }
        }
        Visitor::Unix(stream) => converse(TokioIo::new(stream), guest).await,
    }
}

/// Serves one connection to its end.
async fn converse<S>(stream: S, guest: Guest)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let head = guest.house.limits.head;
    let mut ending = guest.ending.clone();
    let service = service_fn(move |request| {
        let guest = guest.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(request, guest).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(stream, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // What breaks is the client's connection, and the client knows.
        _ = connection.as_mut() => return,
        // The sender lives until the event loop ends.
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    connection.await.unwrap_or_default();
}

async fn answer(request: Request<Incoming>, guest: Guest) -> Answer {
    let is_head = request.method() == hyper::Method::HEAD;
    let answer = match prepare(request, &guest) {
        Ok((operation, exchange, upgrade)) => dispatch(operation, exchange, upgrade, guest).await,
        Err(failure) => failed(&failure),
    };
    if !is_head {
        return answer;
    }
    answer.map(|_| Either::Left(Full::default()))
}

/// Has an operation done on a thread of its own. One that panics has harmed nobody but itself: it was alone with its
/// engine, which is closed and not used again.
async fn dispatch(
    operation: route::Operation,
    exchange: Exchange,
    upgrade: Option<OnUpgrade>,
    guest: Guest,
) -> Answer {
    let Ok(turn) = Arc::clone(&guest.house.operations).try_acquire_owned() else {
        return failed(&Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "there are {} operations under way, which is as many as are taken: end some that wait ('logs -f', 'events', 'wait', attached clients), or try again later",
                guest.house.limits.operations
            ),
        ));
    };
    let held = Held {
        _turn: turn,
        _place: guest.place,
    };
    let (send, receive) = oneshot::channel();
    tokio::task::spawn_blocking(move || work(operation, exchange, upgrade, send, held));
    match receive.await {
        Ok(answer) => answer,
        Err(_) => failed(&Failure::internal(
            "the operation ended without an answer: that is a mistake of the server's, which has written it to its standard error",
        )),
    }
}

/// What an operation has of the server's limits until it ends.
#[derive(Debug)]
struct Held {
    _turn: OwnedSemaphorePermit,
    _place: Arc<OwnedSemaphorePermit>,
}

type Prepared = (route::Operation, Exchange, Option<OnUpgrade>);

fn prepare(mut request: Request<Incoming>, guest: &Guest) -> Result<Prepared, Failure> {
    guard::check(guest.way, request.uri(), request.headers())?;
    let (version, path) = version::split(request.uri().path());
    let version = match version {
        None => ApiVersion::NEWEST,
        Some(Err(error)) => return Err(Failure::bad_request(error.to_string())),
        Some(Ok(version)) if version > ApiVersion::NEWEST => {
            return Err(Failure::bad_request(format!(
                "client version {version} is too new. Maximum supported API version is {}",
                ApiVersion::NEWEST
            )));
        }
        Some(Ok(version)) if version < ApiVersion::OLDEST => {
            return Err(Failure::bad_request(format!(
                "client version {version} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
                ApiVersion::OLDEST
            )));
        }
        Some(Ok(version)) => version,
    };
    let found = route::Method::of(request.method())
        .and_then(|method| route::find(guest.house.tables.iter().copied(), method, path));
    let Some((route, parameters)) = found else {
        return Err(Failure::not_found("page not found"));
    };
    let operation = route.operation;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let upgrade = request
        .headers()
        .contains_key(UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let runtime = tokio::runtime::Handle::current();
    let exchange = Exchange {
        version,
        parameters,
        query,
        headers: parts.headers,
        body: BodyReader::new(Some(body), runtime.clone()).with_patience(&guest.house.limits),
        engines: Arc::clone(&guest.house.engines),
        runtime,
    };
    Ok((operation, exchange, upgrade))
}

/// Runs an operation on this thread, from its answer's head to its last byte.
fn work(
    operation: route::Operation,
    mut exchange: Exchange,
    upgrade: Option<OnUpgrade>,
    send: oneshot::Sender<Answer>,
    held: Held,
) {
    let reply = operation(&mut exchange);
    let runtime = exchange.runtime().clone();
    // A client that has gone hears nothing: failed sends are its own doing.
    match reply {
        Err(failure) => drop(send.send(failed(&failure))),
        Ok(Reply::Whole(head, bytes)) => {
            drop(send.send(build(&head, Either::Left(Full::new(bytes.into())))));
        }
        Ok(Reply::Stream(head, write)) => stream(head, write, send, &runtime),
        Ok(Reply::Hijack(kind, talk)) => {
            let Some(upgrade) = upgrade else {
                let why = "this operation takes over the connection: ask for it with 'Connection: Upgrade' and 'Upgrade: tcp'";
                return drop(send.send(failed(&Failure::bad_request(why))));
            };
            drop(send.send(switching("tcp", &[("content-type", kind.to_owned())])));
            let conversation =
                runtime.block_on(async { Conversation::new(upgrade.await.map_err(io::Error::other)?) });
            if let Ok(conversation) = conversation {
                talk(conversation);
            }
        }
        Ok(Reply::Upgrade(protocol, headers, speak)) => {
            let Some(upgrade) = upgrade else {
                let why =
                    format!("this operation speaks another protocol: ask for it with 'Upgrade: {protocol}'");
                return drop(send.send(failed(&Failure::bad_request(why))));
            };
            drop(send.send(switching(protocol, &headers)));
            runtime.spawn(async move {
                let _held = held;
                if let Ok(upgraded) = upgrade.await {
                    speak(upgraded).await;
                }
            });
        }
    }
}

fn stream(
    head: Head,
    write: super::reply::Writing,
    send: oneshot::Sender<Answer>,
    runtime: &tokio::runtime::Handle,
) {
    let (begin, begun) = oneshot::channel();
    let mut outlet = match Outlet::new(head, begin) {
        Ok(outlet) => outlet,
        Err(error) => return drop(send.send(failed(&Failure::internal(error.to_string())))),
    };
    let forward = runtime.spawn(async move {
        match begun.await {
            Ok((head, body)) => {
                drop(send.send(build(&head, Either::Right(body))));
                None
            }
            // It failed before it had anything to say.
            Err(_) => Some(send),
        }
    });
    let written = write(&mut outlet).and_then(|()| Ok(outlet.begin()?));
    match written {
        Ok(()) => {}
        Err(failure) if outlet.has_begun() => outlet.abort(&failure.message),
        Err(failure) => {
            drop(outlet);
            if let Ok(Some(send)) = runtime.block_on(forward) {
                drop(send.send(failed(&failure)));
            }
        }
    }
}

fn build(head: &Head, body: Either<Full<Bytes>, Streamed>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = head.status;
    if !head.content_type.is_empty() {
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(head.content_type));
    }
    set_headers(&mut answer, &head.headers);
    answer
}

fn set_headers(answer: &mut Answer, headers: &[(&'static str, String)]) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(*name, value);
        }
    }
    let own = [
        ("api-version", ApiVersion::NEWEST.to_string()),
        ("docker-experimental", "false".to_owned()),
        ("ostype", "linux".to_owned()),
        ("server", format!("Coracle/{} (linux)", env!("CARGO_PKG_VERSION"))),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
}

fn switching(protocol: &str, headers: &[(&'static str, String)]) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set_headers(&mut answer, headers);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        headers.insert(UPGRADE, protocol);
    }
    answer
}

fn failed(failure: &Failure) -> Answer {
    let text = json!({ "message": failure.message }).to_string() + "\n";
    let head = Head {
        status: failure.status,
        ..Head::ok("application/json")
    };
    build(&head, Either::Left(Full::new(text.into())))
}

#[cfg(test)]
mod tests;
