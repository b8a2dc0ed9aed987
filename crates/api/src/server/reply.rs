//! What an operation answers.

use super::{Conversation, Failure, Outlet};
use hyper::StatusCode;
use hyper::upgrade::Upgraded;
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Docker's name for output of several streams, each piece after a header of eight bytes.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Docker's name for a terminal's bytes, as they are.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// A response's status and headers.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Head {
    /// Makes the head of a good response.
    pub(crate) fn ok(content_type: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            headers: Vec::new(),
        }
    }
}

/// Writes a stream. What fails before the first byte is answered with its own status; later failures that the client
/// should read must be written by the operation, as a piece of what it streams.
pub(crate) type Writing = Box<dyn FnOnce(&mut Outlet) -> Result<(), Failure> + Send>;
/// Talks with a client that has taken over its connection.
pub(crate) type Talking = Box<dyn FnOnce(Conversation) + Send>;
/// Speaks another protocol on the connection.
pub(crate) type Speaking = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The answer to a request.
pub(crate) enum Reply {
    /// All of it at once.
    Whole(Head, Vec<u8>),
    /// Written as it comes, on the operation's own thread.
    Stream(Head, Writing),
    /// Docker's "hijacking": the connection's bytes become the process's streams. The content type is [`MULTIPLEXED`] or
    /// [`RAW`].
    Hijack(&'static str, Talking),
    /// An upgrade to a protocol (`h2c`), or a websocket with the headers that it needs.
    Upgrade(&'static str, Vec<(&'static str, String)>, Speaking),
}

impl Reply {
    /// Answers with a status alone.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::Whole(
            Head {
                status,
                content_type: "",
                headers: Vec::new(),
            },
            Vec::new(),
        )
    }

    /// Answers with a document.
    pub(crate) fn json(document: &impl Serialize) -> Result<Self, Failure> {
        Self::json_with(StatusCode::OK, document)
    }

    /// Answers with a document and a status.
    pub(crate) fn json_with(status: StatusCode, document: &impl Serialize) -> Result<Self, Failure> {
        let mut text = serde_json::to_vec(document).map_err(|error| Failure::internal(error.to_string()))?;
        text.push(b'\n');
        let head = Head {
            status,
            ..Head::ok("application/json")
        };
        Ok(Self::Whole(head, text))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(head, _) => f.debug_tuple("Whole").field(head).finish(),
            Self::Stream(head, _) => f.debug_tuple("Stream").field(head).finish(),
            Self::Hijack(kind, _) => f.debug_tuple("Hijack").field(kind).finish(),
            Self::Upgrade(protocol, _, _) => f.debug_tuple("Upgrade").field(protocol).finish(),
        }
    }
}
