//! A response's body, as a plain writer.

use super::reply::Head;
use bytes::Bytes;
use hyper::body::Frame;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// So many pieces wait for a slow reader; then whoever writes waits.
const WAITING: usize = 8;
/// No piece is larger, so that a reader that does not read costs no more than [`WAITING`] of these.
const LARGEST: usize = 64 << 10;

/// A head on its way, and the body that belongs to it.
pub(super) type Beginning = (Head, Streamed);

#[derive(Debug)]
struct Unsent {
    beginning: Beginning,
    reply: oneshot::Sender<Beginning>,
}

/// Writes a response's body. The head goes out with the first byte, so that what fails before has a status of its own.
/// Only for threads that may block.
#[derive(Debug)]
pub(crate) struct Outlet {
    unsent: Option<Unsent>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    gone: OwnedFd,
}

impl Outlet {
    pub(super) fn new(head: Head, reply: oneshot::Sender<Beginning>) -> io::Result<Self> {
        let (reader, gone) = pipe_with(PipeFlags::CLOEXEC)?;
        let (pieces, coming) = mpsc::channel(WAITING);
        let body = Streamed {
            coming,
            _here: reader,
        };
        Ok(Self {
            unsent: Some(Unsent {
                beginning: (head, body),
                reply,
            }),
            pieces,
            gone,
        })
    }

    /// Sends the head now: for streams on which nothing may come for long.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let Some(Unsent { beginning, reply }) = self.unsent.take() else {
            return Ok(());
        };
        reply
            .send(beginning)
            .map_err(|_unsent| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    /// Whether the head is on its way.
    pub(crate) fn has_begun(&self) -> bool {
        self.unsent.is_none()
    }

    /// Returns a descriptor on which poll(2) reports an error as soon as nobody reads the response any more.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.gone.as_fd()
    }

    /// Breaks the response off, so that the client sees that it is not whole.
    pub(super) fn abort(&mut self, why: &str) {
        // A client that is gone need not be told.
        drop(self.pieces.blocking_send(Err(io::Error::other(why.to_owned()))));
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let bytes = &bytes[..bytes.len().min(LARGEST)];
        self.pieces
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_unsent| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if std::thread::panicking() && self.has_begun() {
            // It must not look whole.
            self.abort("the operation broke off");
        }
    }
}

/// What [`Outlet`] writes, on its way to the client.
#[derive(Debug)]
pub(super) struct Streamed {
    coming: mpsc::Receiver<io::Result<Bytes>>,
    /// While this is open, somebody reads.
    _here: OwnedFd,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.coming
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
