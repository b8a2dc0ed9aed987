//! A client's conversation with a monitor: the standard streams of a container or of an exec'd process, in frames.
//!
//! ```text
//! frame = kind (u8), length (u32, little-endian), that many bytes
//! ```
//!
//! Client to monitor: standard input, its end, a new terminal size, a signal. Monitor to client: started, failed,
//! output, exited. The session ends when either side closes it; the container goes on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What a monitor tells a client.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The process runs.
    Started,
    /// No process came about.
    Failed(runtime::StartError),
    /// It wrote to standard output, or to its terminal.
    Stdout(Vec<u8>),
    /// It wrote to standard error.
    Stderr(Vec<u8>),
    /// It ended, all output has been sent, and (for `--rm`) the container is gone.
    Exited(super::record::ExitRecord),
}

/// The client's end.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
}

impl Session {
    /// Waits for the next event; `None` when the monitor has closed the session.
    pub fn next(&mut self) -> io::Result<Option<SessionEvent>> {
        todo!("{:?}", self.stream)
    }

    /// Sends standard input.
    pub fn send_stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        todo!("{bytes:?}")
    }

    /// Ends standard input; output goes on.
    pub fn close_stdin(&mut self) -> io::Result<()> {
        todo!()
    }

    /// Tells the terminal's new size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        todo!("{rows} {columns}")
    }

    /// Sends a signal to the process.
    pub fn signal(&mut self, number: i32) -> io::Result<()> {
        todo!("{number}")
    }
}

impl AsFd for Session {
    /// The descriptor to poll for readability before [`Session::next`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
