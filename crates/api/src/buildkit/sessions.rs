//! Clients' sessions: connections on which the client serves, and we call. They are all that the server remembers.

use super::wire::{auth, filesync, secrets, ssh, upload};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// How long a build waits for the session that it names: client libraries open it at the same time.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much may be under way to us on one stream, and on all of a session's.
const WINDOW: u32 = 4 << 20;

/// How a client introduces its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The session's id.
    pub id: String,
    /// What tells the client's directory from others: the same for each build of it.
    pub shared_key: String,
    /// The calls that it takes, `/service/method`.
    pub methods: BTreeSet<String>,
}

impl Introduction {
    /// Reads the headers, of HTTP or of gRPC: `all` returns the values of one.
    pub(crate) fn read<'h>(all: impl Fn(&str) -> Vec<&'h str>) -> Self {
        let first = |name: &str| {
            all(name)
                .first()
                .map(|value| (*value).to_owned())
                .unwrap_or_default()
        };
        Self {
            id: first("x-docker-expose-session-uuid"),
            shared_key: first("x-docker-expose-session-sharedkey"),
            methods: all("x-docker-expose-session-grpc-method")
                .iter()
                .map(|method| method.to_lowercase())
                .collect(),
        }
    }
}

/// A session that is open, or was a moment ago.
#[derive(Debug)]
pub(crate) struct Session {
    introduction: Introduction,
    channel: Channel,
}

impl Session {
    /// Says whether the client takes a call.
    pub(crate) fn supports(&self, method: &str) -> bool {
        self.introduction.methods.contains(&method.to_lowercase())
    }

    /// What tells the client's directory from others, if the client has said so.
    pub(crate) fn shared_key(&self) -> Option<&str> {
        Some(self.introduction.shared_key.as_str()).filter(|key| !key.is_empty())
    }

    pub(super) fn files(&self) -> filesync::Receiving<Channel> {
        filesync::Receiving::new(self.channel.clone()).max_decoding_message_size(super::LARGEST_MESSAGE)
    }

    pub(super) fn directories(&self) -> filesync::SendingFiles<Channel> {
        filesync::SendingFiles::new(self.channel.clone())
    }

    pub(super) fn streams(&self) -> filesync::SendingBytes<Channel> {
        filesync::SendingBytes::new(self.channel.clone())
    }

    pub(super) fn auth(&self) -> auth::AuthClient<Channel> {
        auth::AuthClient::new(self.channel.clone())
    }

    pub(super) fn secrets(&self) -> secrets::SecretsClient<Channel> {
        secrets::SecretsClient::new(self.channel.clone())
    }

    pub(super) fn agents(&self) -> ssh::SshClient<Channel> {
        ssh::SshClient::new(self.channel.clone())
    }

    pub(super) fn uploads(&self) -> upload::UploadClient<Channel> {
        upload::UploadClient::new(self.channel.clone()).max_decoding_message_size(super::LARGEST_MESSAGE)
    }
}

/// The sessions that are open.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: Mutex<HashMap<String, Arc<Session>>>,
    changed: Condvar,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a session is open.
    pub(crate) fn is_open(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Keeps a session open until its connection ends.
    pub(crate) async fn keep<S>(&self, introduction: Introduction, stream: S)
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let (gone, over) = oneshot::channel();
        let connector = Once(Some(Watched { stream, _gone: gone }));
        let endpoint = Endpoint::from_static("http://session")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        // A client that does not speak the protocol hears that by the end of its connection.
        let Ok(channel) = endpoint.connect_with_connector(connector).await else {
            return;
        };
        let id = introduction.id.clone();
        let session = Arc::new(Session {
            introduction,
            channel,
        });
        self.lock().insert(id.clone(), Arc::clone(&session));
        self.changed.notify_all();
        // Nothing is ever sent: the other end is dropped together with the connection.
        drop(over.await);
        let mut known = self.lock();
        if known.get(&id).is_some_and(|known| Arc::ptr_eq(known, &session)) {
            known.remove(&id);
        }
    }

    /// Returns a session, waiting a while for one that is just being opened. Only for threads that may block.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        // What stands before a colon only tells builds apart that share a session.
        let id = id.rsplit(':').next().unwrap_or(id);
        let end = Instant::now() + PATIENCE;
        let mut known = self.lock();
        loop {
            if let Some(session) = known.get(id) {
                return Some(Arc::clone(session));
            }
            let left = end.checked_duration_since(Instant::now())?;
            known = self
                .changed
                .wait_timeout(known, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Hands a connection out once: a session that has broken is not opened again.
struct Once<S>(Option<S>);

impl<S: Send + 'static> Service<Uri> for Once<S> {
    type Response = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the client's session has ended");
        std::future::ready(self.0.take().ok_or_else(ended))
    }
}

/// A connection that tells when it is dropped.
struct Watched<S> {
    stream: S,
    _gone: oneshot::Sender<()>,
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
