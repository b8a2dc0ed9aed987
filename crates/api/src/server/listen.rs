//! Where clients come in.

use super::guard::Way;
use super::tls::Tls;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP in the clear. Whoever reaches it may do anything on this host: for loopback addresses alone.
    Tcp(TcpListener),
    /// TCP with certificates on both sides.
    Tls(TcpListener, Tls),
    /// A unix socket. Whoever may open its file may do anything on this host, so its maker decides about the file's mode.
    Unix(UnixListener),
}

/// The same on the event loop.
pub(super) enum Entrance {
    Tcp(tokio::net::TcpListener, Option<tokio_rustls::TlsAcceptor>),
    Unix(tokio::net::UnixListener),
}

/// A client that has just come in.
pub(super) enum Visitor {
    Tcp(tokio::net::TcpStream, Option<tokio_rustls::TlsAcceptor>),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    pub(super) fn into_entrance(self) -> io::Result<Entrance> {
        let tcp = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        Ok(match self {
            Self::Tcp(listener) => Entrance::Tcp(tcp(listener)?, None),
            Self::Tls(listener, Tls(config)) => Entrance::Tcp(tcp(listener)?, Some(config.into())),
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Entrance::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }
}

impl Entrance {
    pub(super) async fn accept(&self) -> io::Result<Visitor> {
        match self {
            Self::Tcp(listener, acceptor) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small, and a peer that is gone for good must not keep its place for ever.
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                Ok(Visitor::Tcp(stream, acceptor.clone()))
            }
            Self::Unix(listener) => Ok(Visitor::Unix(listener.accept().await?.0)),
        }
    }
}

impl Visitor {
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Tcp(_, None) => Way::Loopback,
            Self::Tcp(_, Some(_)) => Way::Secured,
            Self::Unix(_) => Way::Unix,
        }
    }

    /// Turns a client away who has not said anything yet. One that would have to shake hands first is just left.
    pub(super) fn turn_away(&self, answer: &[u8]) {
        // It is a courtesy: a client that does not take it at once goes without.
        match self {
            Self::Tcp(stream, None) => drop(stream.try_write(answer)),
            Self::Tcp(_, Some(_)) => {}
            Self::Unix(stream) => drop(stream.try_write(answer)),
        }
    }
}
