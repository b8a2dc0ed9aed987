//! A client's conversation with a monitor: the standard streams of a container or of an exec'd process, in frames.
//!
//! ```text
//! frame = kind (u8), length (u32, little-endian), that many bytes
//! ```
//!
//! Client to monitor: what the client wants, standard input, its end, a new terminal size, a signal. Monitor to
//! client: started, failed, output, exited, and leave to send so much more input. The session ends when either side
//! closes it; the container goes on.
//!
//! A client sends no more input than it has leave for, so that a size or a signal never waits behind input that the
//! process does not read.

use super::record::ExitRecord;
use super::request::RestartPolicy;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// No frame is longer.
pub(super) const LONGEST: usize = 64 << 10;
/// Bytes of input that a client may be ahead of the process.
pub(super) const WINDOW: u32 = 64 << 10;
/// Bytes in front of a frame's content.
pub(super) const HEADER: usize = 5;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Client: what it wants, a [`Mode`].
    Hello = 0,
    /// Client: standard input.
    Stdin = 1,
    /// Client: no more of it.
    StdinEnd = 2,
    /// Client: rows and columns.
    Resize = 3,
    /// Client: a signal for the process.
    Signal = 4,
    /// Client: likewise, and the restart policy shall not start it again.
    Stop = 5,
    /// Client: another restart policy, a document.
    Policy = 6,
    /// Client: end the container, for the host goes down.
    Leave = 7,
    /// Client: bring about the networks that stand in the run directory.
    Networks = 8,
    /// Monitor: the process runs; for who attaches later, since when it is told of output.
    Started = 16,
    /// Monitor: it does not, a document.
    Failed = 17,
    /// Monitor: output.
    Stdout = 18,
    /// Monitor: output.
    Stderr = 19,
    /// Monitor: the process has ended, a document.
    Exited = 20,
    /// Monitor: so many more bytes of input may be sent.
    Credit = 21,
    /// Monitor: what was asked for is noted.
    Noted = 22,
}

impl Kind {
    pub(super) fn read(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Stdin,
            Self::StdinEnd,
            Self::Resize,
            Self::Signal,
            Self::Stop,
            Self::Policy,
            Self::Leave,
            Self::Networks,
            Self::Started,
            Self::Failed,
            Self::Stdout,
            Self::Stderr,
            Self::Exited,
            Self::Credit,
            Self::Noted,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == byte)
    }
}

/// What a client wants of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// Output, and to send input.
    Attach = 0,
    /// To know when the container has ended for good.
    Wait = 1,
    /// To know when it ends the next time, though its restart policy may start it again.
    NextExit = 2,
}

/// Writes a frame's first bytes.
pub(super) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    // Contents are at most LONGEST, which fits.
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind as u8, length[0], length[1], length[2], length[3]]
}

/// What a monitor tells a client.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The process runs.
    Started,
    /// No process came about.
    Failed(runtime::StartError),
    /// There is room for input again: see [`Session::stdin_room`].
    Room,
    /// It wrote to standard output, or to its terminal.
    Stdout(Vec<u8>),
    /// It wrote to standard error.
    Stderr(Vec<u8>),
    /// It ended, all output has been sent, and (for `--rm`) the container is gone.
    Exited(ExitRecord),
}

/// How waiting for a container's end went.
#[derive(Debug)]
pub(super) enum Ending {
    /// It ended.
    Exited(ExitRecord),
    /// The monitor went without a word.
    Silence,
    /// Nothing happened in time.
    TimeIsUp,
}

/// What was read.
enum Frame {
    Credit,
    End,
    Event(SessionEvent),
    Noted,
}

/// The client's end.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    /// Bytes of input that may still be sent.
    credit: u32,
    /// What came while we waited for leave to send.
    early: VecDeque<SessionEvent>,
    exec_id: Option<String>,
    begun: Option<i64>,
}

impl Session {
    /// Wraps a stream whose monitor knows already what we want.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            credit: 0,
            early: VecDeque::new(),
            exec_id: None,
            begun: None,
        }
    }

    /// Returns the moment, in nanoseconds since 1970, from which on the session is told of output. What is older is in the
    /// log. Known from the event `Started` on, for sessions with a container that ran already.
    pub fn begun(&self) -> Option<i64> {
        self.begun
    }

    pub(super) fn set_exec_id(&mut self, exec_id: String) {
        self.exec_id = Some(exec_id);
    }

    /// Returns what events call the process, if `exec` started it.
    pub fn exec_id(&self) -> Option<&str> {
        self.exec_id.as_deref()
    }

    /// Wraps a fresh connection and says what we want.
    pub(super) fn open(stream: UnixStream, mode: Mode) -> io::Result<Self> {
        let mut session = Self::new(stream);
        session.send(Kind::Hello, &[mode as u8])?;
        Ok(session)
    }

    /// Waits for the next event; `None` when the monitor has closed the session.
    #[expect(
        clippy::should_implement_trait,
        reason = "it blocks and it fails: no loop should hide that"
    )]
    pub fn next(&mut self) -> io::Result<Option<SessionEvent>> {
        if let Some(event) = self.early.pop_front() {
            return Ok(Some(event));
        }
        Ok(match self.read()? {
            Frame::End => None,
            Frame::Event(event) => Some(event),
            // Whoever polled before they called must not be kept waiting for more.
            Frame::Credit | Frame::Noted => Some(SessionEvent::Room),
        })
    }

    /// Whether [`Session::next`] has something to return that the descriptor does not tell of.
    pub fn has_events(&self) -> bool {
        !self.early.is_empty()
    }

    /// Returns how many bytes of input the process has room for: so many, [`Session::send_stdin`] takes without
    /// waiting. Reading no more than that from standard input, and nothing while it is 0, is what keeps a client
    /// responsive whose process does not read.
    pub fn stdin_room(&self) -> usize {
        self.credit as usize
    }

    /// Sends standard input. Waits while the process has no room for it; events that come meanwhile are kept for
    /// [`Session::next`]. Input for a process that has ended goes nowhere.
    pub fn send_stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.credit == 0 {
                match self.read()? {
                    Frame::End => return Ok(()),
                    Frame::Event(event) => self.early.push_back(event),
                    Frame::Credit | Frame::Noted => {}
                }
                continue;
            }
            let length = rest.len().min(self.credit as usize).min(LONGEST);
            let (now, later) = rest.split_at(length);
            self.send(Kind::Stdin, now)?;
            // At most the credit itself, so it fits.
            self.credit -= u32::try_from(length).unwrap_or(self.credit);
            rest = later;
        }
        Ok(())
    }

    /// Ends standard input; output goes on.
    pub fn close_stdin(&mut self) -> io::Result<()> {
        self.send(Kind::StdinEnd, &[])
    }

    /// Tells the terminal's new size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        let ([a, b], [c, d]) = (rows.to_le_bytes(), columns.to_le_bytes());
        self.send(Kind::Resize, &[a, b, c, d])
    }

    /// Sends a signal to the process.
    pub fn signal(&mut self, number: i32) -> io::Result<()> {
        self.send(Kind::Signal, &number.to_le_bytes())
    }

    /// Sends a signal to the process, and tells the monitor not to start it again.
    pub(super) fn stop(&mut self, number: i32) -> io::Result<()> {
        self.send(Kind::Stop, &number.to_le_bytes())
    }

    /// Tells the monitor to end the container as when the host goes down.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.send(Kind::Leave, &[])
    }

    /// Gives the container another restart policy; returns when the monitor has noted it, or is gone.
    pub(super) fn set_policy(&mut self, policy: RestartPolicy) -> io::Result<()> {
        self.send(Kind::Policy, &serde_json::to_vec(&policy)?)?;
        loop {
            match self.read()? {
                Frame::End | Frame::Noted => return Ok(()),
                Frame::Event(event) => self.early.push_back(event),
                Frame::Credit => {}
            }
        }
    }

    /// Has the monitor bring about the networks that stand in the run directory; returns when it has, or is gone. The
    /// inner error is the monitor's.
    pub(super) fn rejoin(&mut self) -> io::Result<Result<(), runtime::StartError>> {
        self.send(Kind::Networks, &[])?;
        loop {
            match self.read()? {
                Frame::End | Frame::Noted => return Ok(Ok(())),
                Frame::Event(SessionEvent::Failed(error)) => return Ok(Err(error)),
                Frame::Event(event) => self.early.push_back(event),
                Frame::Credit => {}
            }
        }
    }

    /// Waits at most until `deadline` for the end.
    pub(super) fn exit_until(&mut self, deadline: Option<std::time::Instant>) -> io::Result<Ending> {
        loop {
            if !self.early.is_empty() || super::wait::readable(self.as_fd(), deadline)? {
                match self.next() {
                    Ok(Some(SessionEvent::Exited(exit))) => return Ok(Ending::Exited(exit)),
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(Ending::Silence),
                    Err(error) if is_gone(&error) => return Ok(Ending::Silence),
                    Err(error) => return Err(error),
                }
            } else {
                return Ok(Ending::TimeIsUp);
            }
        }
    }

    fn send(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(HEADER + content.len());
        frame.extend_from_slice(&header(kind, content.len()));
        frame.extend_from_slice(content);
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(rustix::io::Errno::INTR) => {}
                // The process has ended; what it left to say is still to be read.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads one frame.
    fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; HEADER];
        // The end is only an end between two frames.
        loop {
            match self.stream.read(&mut head[..1]) {
                Ok(0) => return Ok(Frame::End),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => return Ok(Frame::End),
                Err(error) => return Err(error),
            }
        }
        self.stream.read_exact(&mut head[1..])?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(wrong("a frame is too long"));
        }
        let mut content = vec![0; length];
        self.stream.read_exact(&mut content)?;
        let document = |what| move |error| io::Error::other(format!("{what} cannot be read: {error}"));
        Ok(Frame::Event(match Kind::read(head[0]) {
            Some(Kind::Started) => {
                self.begun = content.try_into().ok().map(i64::from_le_bytes);
                SessionEvent::Started
            }
            Some(Kind::Failed) => {
                SessionEvent::Failed(serde_json::from_slice(&content).map_err(document("the reason"))?)
            }
            Some(Kind::Stdout) => SessionEvent::Stdout(content),
            Some(Kind::Stderr) => SessionEvent::Stderr(content),
            Some(Kind::Exited) => {
                SessionEvent::Exited(serde_json::from_slice(&content).map_err(document("the exit record"))?)
            }
            Some(Kind::Credit) => {
                let bytes = content
                    .try_into()
                    .map_err(|_wrong_length| wrong("a credit is not four bytes"))?;
                self.credit = self.credit.saturating_add(u32::from_le_bytes(bytes));
                return Ok(Frame::Credit);
            }
            Some(Kind::Noted) => return Ok(Frame::Noted),
            _ => return Err(wrong("a frame is of no known kind")),
        }))
    }
}

fn wrong(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Says whether the error means that the other side has closed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

impl AsFd for Session {
    /// The descriptor to poll for readability before [`Session::next`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn frame(kind: Kind, content: &[u8]) -> Vec<u8> {
        [&header(kind, content.len()), content].concat()
    }

    #[test]
    fn input_waits_for_leave_and_what_comes_meanwhile_is_kept() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut session = Session::open(ours, Mode::Attach).unwrap();
        assert_eq!(session.stdin_room(), 0);
        theirs.write_all(&frame(Kind::Stdout, b"early")).unwrap();
        theirs
            .write_all(&frame(Kind::Credit, &3_u32.to_le_bytes()))
            .unwrap();
        theirs
            .write_all(&frame(Kind::Credit, &9_u32.to_le_bytes()))
            .unwrap();
        session.send_stdin(b"hello").unwrap();
        let mut seen = [0; 21];
        theirs.read_exact(&mut seen).unwrap();
        let expected = [
            frame(Kind::Hello, &[0]),
            frame(Kind::Stdin, b"hel"),
            frame(Kind::Stdin, b"lo"),
        ]
        .concat();
        assert_eq!(&seen[..], &expected[..]);
        assert!(matches!(session.next().unwrap(), Some(SessionEvent::Stdout(bytes)) if bytes == b"early"));
        drop(theirs);
        assert!(session.next().unwrap().is_none());
        session.send_stdin(b"into the void").unwrap();
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&header(Kind::Stdout, 1 << 30)).unwrap();
        assert!(Session::new(ours).next().is_err());
    }
}
