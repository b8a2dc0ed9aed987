//! Connections, and each request on its way from hyper to an operation's thread and back.

use super::engines::Engines;
use super::outlet::{Outlet, Streamed};
use super::reply::Head;
use super::{
    ApiVersion, BodyReader, Conversation, Exchange, Failure, Listener, Query, Reply, route, version,
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
use tokio::sync::oneshot;

/// Threads for operations. Those that wait (`wait`, `logs -f`, `events`) hold one each.
const THREADS: usize = 2048;
/// How long a client may take for a request's head.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Response<Either<Full<Bytes>, Streamed>>;

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
}

impl Server {
    /// Makes a server for the engine at these locations.
    pub fn new(locations: Locations) -> Self {
        Self {
            engines: Arc::new(Engines::new(locations)),
        }
    }

    /// Serves all listeners until the other end of `stop` is closed. Containers do not notice the end.
    pub fn run(&self, listeners: Vec<Listener>, stop: UnixStream) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(THREADS)
            .thread_keep_alive(Duration::from_secs(2))
            .enable_all()
            .build()
            .map_err(ServerError::Runtime)?;
        let ended = runtime.block_on(async {
            for listener in listeners {
                let listener = listener.into_tokio().map_err(ServerError::Listen)?;
                tokio::spawn(accept(listener, Arc::clone(&self.engines)));
            }
            stop.set_nonblocking(true).map_err(ServerError::Runtime)?;
            let stop = tokio::net::UnixStream::from_std(stop).map_err(ServerError::Runtime)?;
            stop.readable().await.map_err(ServerError::Runtime)
        });
        // Operations that wait would keep us for ever; they hold nothing that the next command does not find.
        runtime.shutdown_background();
        ended
    }
}

async fn accept(listener: tokio::net::UnixListener, engines: Arc<Engines>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(TokioIo::new(stream), Arc::clone(&engines)));
            }
            // Out of descriptors: some come free when other connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Serves one connection to its end.
async fn converse<S>(stream: S, engines: Arc<Engines>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let engines = Arc::clone(&engines);
        async move { Ok::<_, std::convert::Infallible>(answer(request, engines).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(stream, service)
        .with_upgrades();
    // What breaks is the client's connection, and the client knows.
    connection.await.unwrap_or_default();
}

async fn answer(request: Request<Incoming>, engines: Arc<Engines>) -> Answer {
    let is_head = request.method() == hyper::Method::HEAD;
    let answer = match prepare(request, engines) {
        Ok((operation, exchange, upgrade)) => {
            let (send, receive) = oneshot::channel();
            tokio::task::spawn_blocking(move || work(operation, exchange, upgrade, send));
            match receive.await {
                Ok(answer) => answer,
                Err(_) => failed(&Failure::internal("the operation ended without an answer")),
            }
        }
        Err(failure) => failed(&failure),
    };
    if !is_head {
        return answer;
    }
    answer.map(|_| Either::Left(Full::default()))
}

type Prepared = (route::Operation, Exchange, Option<OnUpgrade>);

fn prepare(mut request: Request<Incoming>, engines: Arc<Engines>) -> Result<Prepared, Failure> {
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
        .and_then(|method| route::find(operations::TABLES.iter().copied(), method, path));
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
        body: BodyReader::new(Some(body), runtime.clone()),
        engines,
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
