//! The three kinds of clients of a process: on a hijacked connection, on a websocket, and on a plain response.

use crate::server::{Conversation, Outlet};
use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// Bytes of Docker's header in front of a piece of output.
const HEADER: usize = 8;
/// No message that a websocket's client types, or pastes, is longer.
const LONGEST_MESSAGE: usize = 1 << 20;
/// So long a client may take to notice that all has been said, and to close: seconds.
const FAREWELL: i64 = 10;

/// What has come from a client.
#[derive(Debug)]
pub(in crate::operations) enum Received {
    /// Nothing now.
    Nothing,
    /// Input.
    Bytes(Vec<u8>),
    /// There will be no more.
    End,
}

/// A client of a process. Nothing here waits, unless it says so.
pub(in crate::operations) trait Client {
    /// The descriptor to poll.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Whether there is input that poll(2) does not tell of.
    fn has_input(&self) -> bool;
    /// Takes at most so many bytes of input.
    fn receive(&mut self, most: usize) -> io::Result<Received>;
    /// Sends output as far as the client takes it, and keeps the rest. Not to be called while it is behind.
    fn send(&mut self, stderr: bool, bytes: &[u8]) -> io::Result<()>;
    /// Sends more of what was kept.
    fn flush(&mut self) -> io::Result<()>;
    /// Whether something is kept.
    fn is_behind(&self) -> bool;
}

/// Puts Docker's header before a piece of output.
pub(in crate::operations) fn header(stderr: bool, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [1 + u8::from(stderr), 0, 0, 0, a, b, c, d]
}

/// A client that has taken over its connection.
#[derive(Debug)]
pub(in crate::operations) struct Hijacked {
    socket: OwnedFd,
    early: Bytes,
    multiplexed: bool,
    kept: Vec<u8>,
    sent: usize,
}

impl Hijacked {
    pub(in crate::operations) fn new(mut conversation: Conversation, multiplexed: bool) -> Self {
        Self {
            early: std::mem::take(&mut conversation.early),
            socket: conversation.into(),
            multiplexed,
            kept: Vec::new(),
            sent: 0,
        }
    }

    /// Ends the conversation so that the client gets all that it was sent. Closing at once, with input unread, would reset
    /// the connection. Waits for the client.
    pub(in crate::operations) fn part(mut self) {
        if shutdown(&self.socket, Shutdown::Write).is_err() {
            return;
        }
        let patience = Timespec {
            tv_sec: FAREWELL,
            tv_nsec: 0,
        };
        loop {
            let mut set = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            match poll(&mut set, Some(&patience)) {
                Err(Errno::INTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match self.receive(16 << 10) {
                Ok(Received::Bytes(_) | Received::Nothing) => {}
                Ok(Received::End) | Err(_) => return,
            }
        }
    }
}

impl Client for Hijacked {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn has_input(&self) -> bool {
        !self.early.is_empty()
    }

    fn receive(&mut self, most: usize) -> io::Result<Received> {
        if !self.early.is_empty() {
            let length = self.early.len().min(most);
            return Ok(Received::Bytes(self.early.copy_to_bytes(length).to_vec()));
        }
        let mut buffer = vec![0; most];
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(Received::End),
            Ok((length, _)) => {
                buffer.truncate(length);
                Ok(Received::Bytes(buffer))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    fn send(&mut self, stderr: bool, bytes: &[u8]) -> io::Result<()> {
        if self.multiplexed {
            self.kept.extend_from_slice(&header(stderr, bytes.len()));
        }
        self.kept.extend_from_slice(bytes);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while self.is_behind() {
            match send(&self.socket, &self.kept[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.kept.clear();
        self.sent = 0;
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.sent < self.kept.len()
    }
}

/// A client that has not asked to take over its connection: it can only read. Writing to it waits.
#[derive(Debug)]
pub(in crate::operations) struct Reader<'o> {
    outlet: &'o mut Outlet,
    multiplexed: bool,
}

impl<'o> Reader<'o> {
    pub(in crate::operations) fn new(outlet: &'o mut Outlet, multiplexed: bool) -> Self {
        Self { outlet, multiplexed }
    }
}

impl Client for Reader<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.outlet.descriptor()
    }

    fn has_input(&self) -> bool {
        false
    }

    fn receive(&mut self, _most: usize) -> io::Result<Received> {
        Ok(Received::Nothing)
    }

    fn send(&mut self, stderr: bool, bytes: &[u8]) -> io::Result<()> {
        if self.multiplexed {
            let mut piece = header(stderr, bytes.len()).to_vec();
            piece.extend_from_slice(bytes);
            return self.outlet.write_all(&piece);
        }
        self.outlet.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_behind(&self) -> bool {
        false
    }
}

/// A client on a websocket. Both kinds of output come as they are: Docker does not multiplex here.
pub(in crate::operations) struct Socket {
    websocket: WebSocket<Wire>,
    /// Of a message that was longer than what could be taken.
    unread: Bytes,
    behind: bool,
    /// Messages of bytes; old clients get text.
    binary: bool,
}

/// The connection below a websocket; never waits.
struct Wire {
    socket: OwnedFd,
    early: Bytes,
    /// A read has found nothing: what comes next, poll(2) tells of.
    dry: bool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let length = self.early.len().min(buffer.len());
            self.early.copy_to_slice(&mut buffer[..length]);
            return Ok(length);
        }
        let received = recv(&self.socket, buffer, RecvFlags::DONTWAIT);
        self.dry = received.is_err();
        Ok(received.map(|(length, _)| length)?)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(send(
            &self.socket,
            buffer,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    pub(in crate::operations) fn new(mut conversation: Conversation, binary: bool) -> Self {
        let wire = Wire {
            early: std::mem::take(&mut conversation.early),
            socket: conversation.into(),
            dry: false,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE));
        Self {
            websocket: WebSocket::from_raw_socket(wire, Role::Server, Some(config)),
            unread: Bytes::new(),
            behind: false,
            binary,
        }
    }

    /// Says that it was all. A client that does not listen any more misses nothing.
    pub(in crate::operations) fn part(mut self) {
        if self
            .websocket
            .close(None)
            .and_then(|()| self.websocket.flush())
            .is_err()
        {
            return;
        }
        let Wire { socket, .. } = self.websocket.into_inner();
        Hijacked {
            socket,
            early: Bytes::new(),
            multiplexed: false,
            kept: Vec::new(),
            sent: 0,
        }
        .part();
    }

    fn settle(&mut self, done: tungstenite::Result<()>) -> io::Result<()> {
        self.behind = false;
        match done {
            Ok(()) => Ok(()),
            Err(tungstenite::Error::Io(error)) if is_later(&error) => {
                self.behind = true;
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Client for Socket {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.websocket.get_ref().socket.as_fd()
    }

    fn has_input(&self) -> bool {
        // There may be whole messages in its buffer.
        !self.unread.is_empty() || !self.websocket.get_ref().dry
    }

    fn receive(&mut self, most: usize) -> io::Result<Received> {
        if self.unread.is_empty() {
            self.unread = match self.websocket.read() {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Text(text)) => text.into(),
                Ok(Message::Close(_)) => return Ok(Received::End),
                Ok(_) => return Ok(Received::Nothing),
                Err(tungstenite::Error::Io(error)) if is_later(&error) => return Ok(Received::Nothing),
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(Received::End);
                }
                Err(error) => return Err(io::Error::other(error)),
            };
        }
        let length = self.unread.len().min(most);
        if length == 0 {
            return Ok(Received::Nothing);
        }
        Ok(Received::Bytes(self.unread.copy_to_bytes(length).to_vec()))
    }

    fn send(&mut self, _stderr: bool, bytes: &[u8]) -> io::Result<()> {
        let message = if self.binary {
            Message::binary(bytes.to_vec())
        } else {
            Message::text(String::from_utf8_lossy(bytes).into_owned())
        };
        let done = self.websocket.send(message);
        self.settle(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.websocket.flush();
        self.settle(done)
    }

    fn is_behind(&self) -> bool {
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_dockers() {
        assert_eq!(header(false, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(header(true, 0x0102_0304), [2, 0, 0, 0, 1, 2, 3, 4]);
    }
}
