//! Where clients come in.

use std::io;
use std::os::unix::net::UnixListener;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket. Whoever may open its file may do anything on this host, so its maker decides about the file's mode.
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn into_tokio(self) -> io::Result<tokio::net::UnixListener> {
        match self {
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener)
            }
        }
    }
}
