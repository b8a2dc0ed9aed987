//! Connections that clients have taken over: a descriptor for a thread that polls, reads and writes.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// A client's connection, raw. Blocking; closing it ends the conversation. A client that has no more to say shuts its side
/// down, which reads as the end while writing goes on.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// What the client sent behind its request already; to be used before anything is read.
    pub early: Bytes,
    descriptor: OwnedFd,
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<Conversation> for OwnedFd {
    fn from(conversation: Conversation) -> Self {
        conversation.descriptor
    }
}

impl Conversation {
    /// Takes a connection off its event loop. A plain socket is handed over as it is; for others (TLS) a pair of sockets is
    /// made, and tasks carry bytes between them and the connection.
    pub(crate) fn new(upgraded: Upgraded) -> io::Result<Self> {
        let upgraded = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => {
                return Self::plain(parts.io.into_inner().into_std()?.into(), parts.read_buf);
            }
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => {
                return Self::plain(parts.io.into_inner().into_std()?.into(), parts.read_buf);
            }
            Err(upgraded) => upgraded,
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        tokio::spawn(carry(TokioIo::new(upgraded), ours));
        Self::plain(theirs.into(), Bytes::new())
    }

    fn plain(descriptor: OwnedFd, early: Bytes) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, false)?;
        Ok(Self { early, descriptor })
    }
}

/// Carries bytes both ways, and each side's end to the other, until both have ended or one is broken.
async fn carry(one: impl AsyncRead + AsyncWrite, other: impl AsyncRead + AsyncWrite) {
    let (one_reads, one_writes) = tokio::io::split(one);
    let (other_reads, other_writes) = tokio::io::split(other);
    // A side that breaks ends the conversation, and there is nobody to tell.
    let ended = tokio::try_join!(
        carry_one_way(one_reads, other_writes),
        carry_one_way(other_reads, one_writes)
    );
    drop(ended);
}

async fn carry_one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}
