//! A client of a monitor: frames out without ever waiting, frames in as they come.

use crate::containers::request::RestartPolicy;
use crate::containers::session::{HEADER, Kind, LONGEST, Mode, WINDOW, header};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::unix::net::UnixStream;

/// Bytes that may wait for a client before it counts as slow.
pub(super) const BACKLOG: usize = 1 << 20;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) number: u32,
    /// What it wants; `None` until it has said so.
    pub(super) mode: Option<Mode>,
    /// It came with the start: the process waits for it as it would wait for a pipe. Others are dropped when they are
    /// too slow.
    pub(super) foreground: bool,
    /// It has been told that the process runs.
    pub(super) welcomed: bool,
    /// To be closed once all has been sent.
    pub(super) closing: bool,
    /// Gone, or misbehaved.
    pub(super) gone: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    /// Bytes of input that it may still send.
    allowance: u32,
}

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Hello(Mode),
    Input(Vec<u8>),
    InputEnd,
    Resize(u16, u16),
    Signal(i32),
    Stop(i32),
    Policy(RestartPolicy),
    Leave,
    Networks,
}

impl Client {
    pub(super) fn new(stream: UnixStream, number: u32, mode: Option<Mode>, foreground: bool) -> Self {
        Self {
            stream,
            number,
            mode,
            foreground,
            welcomed: false,
            closing: false,
            gone: false,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            allowance: 0,
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Queues a frame.
    pub(super) fn tell(&mut self, kind: Kind, content: &[u8]) {
        if self.closing || self.gone {
            return;
        }
        self.outgoing.extend_from_slice(&header(kind, content.len()));
        self.outgoing.extend_from_slice(content);
    }

    /// Tells it that the process runs, and gives leave for the first input.
    pub(super) fn welcome(&mut self, since: &[u8]) {
        self.welcomed = true;
        self.tell(Kind::Started, since);
        if self.mode == Some(Mode::Attach) {
            self.allow(WINDOW);
        }
    }

    /// Gives leave for more input.
    pub(super) fn allow(&mut self, bytes: u32) {
        self.allowance = self.allowance.saturating_add(bytes).min(WINDOW);
        self.tell(Kind::Credit, &bytes.to_le_bytes());
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) {
        while self.sent < self.outgoing.len() && !self.gone {
            match send(
                &self.stream,
                &self.outgoing[self.sent..],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.gone = true,
            }
        }
        if self.sent == self.outgoing.len() {
            self.sent = 0;
            // A burst must not stay ours for the life of the container.
            self.outgoing = Vec::new();
        } else if self.sent > BACKLOG {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads what has come; returns the frames that are whole.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Vec<Message> {
        match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.gone = true,
            Ok((count, _)) => self.incoming.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.gone = true,
        }
        let mut messages = Vec::new();
        let mut done = 0;
        while let Some(head) = self.incoming.get(done..done + HEADER) {
            let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if length > LONGEST {
                self.gone = true;
                break;
            }
            let Some(content) = self.incoming.get(done + HEADER..done + HEADER + length) else {
                break;
            };
            match message(head[0], content) {
                Some(Message::Input(_)) if length > self.allowance as usize => self.gone = true,
                Some(message) => {
                    if let Message::Input(_) = message {
                        self.allowance -= u32::try_from(length).unwrap_or(self.allowance);
                    }
                    messages.push(message);
                }
                None => self.gone = true,
            }
            done += HEADER + length;
        }
        self.incoming.drain(..done);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        messages
    }
}

fn message(kind: u8, content: &[u8]) -> Option<Message> {
    let number = || content.try_into().ok().map(i32::from_le_bytes);
    Some(match Kind::read(kind)? {
        Kind::Hello => Message::Hello(match content {
            [0] => Mode::Attach,
            [1] => Mode::Wait,
            [2] => Mode::NextExit,
            _ => return None,
        }),
        Kind::Stdin => Message::Input(content.to_vec()),
        Kind::StdinEnd => Message::InputEnd,
        Kind::Resize => {
            let &[a, b, c, d] = content else { return None };
            Message::Resize(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
        }
        Kind::Signal => Message::Signal(number()?),
        Kind::Stop => Message::Stop(number()?),
        Kind::Leave => Message::Leave,
        Kind::Networks => Message::Networks,
        Kind::Policy => Message::Policy(serde_json::from_slice(content).ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn frames_may_come_in_pieces_and_nonsense_ends_the_client() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours, 1, None, false);
        let mut buffer = [0; 1024];
        client.allow(10);
        theirs.write_all(&[0, 1, 0]).unwrap();
        assert!(client.receive(&mut buffer).is_empty());
        theirs.write_all(&[0, 0, 0, 1, 2, 0, 0, 0, b'h', b'i']).unwrap();
        assert_eq!(
            client.receive(&mut buffer),
            [Message::Hello(Mode::Attach), Message::Input(b"hi".to_vec())]
        );
        theirs
            .write_all(&[1, 9, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
            .unwrap();
        assert!(client.receive(&mut buffer).is_empty());
        assert!(client.gone, "it sent more than it was allowed");
    }
}
