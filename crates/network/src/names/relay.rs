//! Queries on their way: one over UDP that another server was asked, and one client's conversation over TCP.

use super::message::Verdict;
use super::server::Upstream;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::netlink::inside;

/// How long one server may take before the next is asked. The C library waits for five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client may keep a connection without a word, and a server one with a question.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes that tell a message's length over TCP (RFC 1035, 4.2.2).
const LENGTH: usize = 2;

/// Does `work` where the server is asked from.
fn from<T>(
    netns: BorrowedFd<'_>,
    upstream: Upstream,
    work: impl FnOnce() -> std::io::Result<T>,
) -> std::io::Result<T> {
    if upstream.from_host {
        return work();
    }
    inside(netns, work).map_err(|error| std::io::Error::from(error.errno))?
}

/// A query that another server was asked over UDP, from a port of its own: who would forge the answer has to guess it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) socket: UdpSocket,
    pub(super) query: Vec<u8>,
    pub(super) client: SocketAddr,
    /// The server's number.
    pub(super) number: usize,
    pub(super) deadline: Instant,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting,
    /// So many bytes.
    Answered(usize),
    Failed,
}

impl Asked {
    pub(super) fn ask(
        netns: BorrowedFd<'_>,
        upstream: Upstream,
        number: usize,
        query: &[u8],
        client: SocketAddr,
    ) -> std::io::Result<Self> {
        let any: IpAddr = match upstream.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = from(netns, upstream, || UdpSocket::bind((any, 0)))?;
        socket.set_nonblocking(true)?;
        socket.connect(upstream.address)?;
        socket.send(query)?;
        Ok(Self {
            socket,
            query: query.to_vec(),
            client,
            number,
            deadline: Instant::now() + PATIENCE,
        })
    }

    pub(super) fn look(&self, buffer: &mut [u8], now: Instant) -> Outcome {
        loop {
            return match self.socket.recv(buffer) {
                // The socket hears that server only; an answer to an older question of another client's is not ours.
                Ok(length) if length >= LENGTH && buffer[..LENGTH] == self.query[..LENGTH] => {
                    Outcome::Answered(length)
                }
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock && now < self.deadline => {
                    Outcome::Waiting
                }
                Err(_) => Outcome::Failed,
            };
        }
    }
}

/// A client's conversation over TCP: one question after the other.
#[derive(Debug)]
pub(super) struct Call {
    stream: TcpStream,
    /// What of `stream` is waited for at the moment.
    watched: EventFlags,
    pub(super) deadline: Instant,
    state: State,
}

/// What a conversation waits for.
#[derive(Debug)]
enum State {
    /// The client's question.
    Question(Vec<u8>),
    /// Another server's answer.
    Elsewhere(Elsewhere),
    /// That the client takes its answer, of which so much is gone.
    Answer(Vec<u8>, usize),
}

/// A question, with its length, and the connection on which it was passed on.
#[derive(Debug)]
struct Elsewhere {
    stream: TcpStream,
    watched: EventFlags,
    number: usize,
    question: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    deadline: Instant,
}

/// How a step of a conversation ended.
enum Step {
    /// Nothing more to do for now.
    Wait,
    /// The state has changed.
    Next(State),
    /// It is over.
    Over,
}

impl Call {
    /// Takes a connection; one that cannot be used is dropped.
    pub(super) fn take(stream: TcpStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            watched: EventFlags::empty(),
            deadline: Instant::now() + IDLE,
            state: State::Question(Vec::new()),
        })
    }

    /// Says to `readiness` what this conversation waits for now. Returns whether it can be waited for.
    pub(super) fn watch(&mut self, readiness: BorrowedFd<'_>) -> bool {
        // The other one is taken off the list: whoever hangs up meanwhile would be reported without end.
        let (client, other) = match &self.state {
            State::Question(_) => (EventFlags::IN, None),
            State::Answer(..) => (EventFlags::OUT, None),
            State::Elsewhere(elsewhere) if elsewhere.sent < elsewhere.question.len() => {
                (EventFlags::empty(), Some(EventFlags::OUT))
            }
            State::Elsewhere(_) => (EventFlags::empty(), Some(EventFlags::IN)),
        };
        let mut watched = watch(readiness, self.stream.as_fd(), &mut self.watched, client);
        if let (State::Elsewhere(elsewhere), Some(wanted)) = (&mut self.state, other) {
            watched = watched.and(watch(
                readiness,
                elsewhere.stream.as_fd(),
                &mut elsewhere.watched,
                wanted,
            ));
        }
        watched.is_ok()
    }

    /// Does what can be done without waiting. Returns whether the conversation goes on.
    pub(super) fn go_on(
        &mut self,
        now: Instant,
        netns: BorrowedFd<'_>,
        upstream: &[Upstream],
        judge: &mut dyn FnMut(&[u8]) -> Verdict,
        give_up: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> bool {
        if now >= self.deadline {
            return false;
        }
        loop {
            let step = match &mut self.state {
                State::Question(bytes) => match read_message(&mut self.stream, bytes) {
                    Progress::Whole => match judge(&bytes[LENGTH..]) {
                        Verdict::Answer(answer) => Step::Next(State::Answer(with_length(&answer), 0)),
                        Verdict::Ignore => Step::Over,
                        Verdict::Forward => {
                            Step::Next(pass_on(netns, upstream, 0, std::mem::take(bytes), give_up))
                        }
                    },
                    Progress::Part => Step::Wait,
                    Progress::End => Step::Over,
                },
                State::Elsewhere(elsewhere) => match elsewhere.go_on(now) {
                    Progress::Part => Step::Wait,
                    Progress::Whole => Step::Next(State::Answer(std::mem::take(&mut elsewhere.answer), 0)),
                    Progress::End => {
                        let question = std::mem::take(&mut elsewhere.question);
                        Step::Next(pass_on(netns, upstream, elsewhere.number + 1, question, give_up))
                    }
                },
                State::Answer(bytes, sent) => match write_on(&mut self.stream, bytes, sent) {
                    Progress::Part => Step::Wait,
                    // An answer without a byte is one that could not be made.
                    Progress::Whole if bytes.is_empty() => Step::Over,
                    Progress::Whole => {
                        self.deadline = now + IDLE;
                        Step::Next(State::Question(Vec::new()))
                    }
                    Progress::End => Step::Over,
                },
            };
            match step {
                Step::Wait => return true,
                Step::Over => return false,
                Step::Next(state) => self.state = state,
            }
        }
    }
}

impl Elsewhere {
    fn go_on(&mut self, now: Instant) -> Progress {
        if now >= self.deadline {
            return Progress::End;
        }
        if self.sent < self.question.len() {
            match write_on(&mut self.stream, &self.question, &mut self.sent) {
                Progress::Whole => {}
                other => return other,
            }
        }
        read_message(&mut self.stream, &mut self.answer)
    }
}

/// Passes a question (with its length) on to the first server from number `first` on that can be called.
fn pass_on(
    netns: BorrowedFd<'_>,
    upstream: &[Upstream],
    first: usize,
    question: Vec<u8>,
    give_up: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> State {
    for (number, upstream) in upstream.iter().enumerate().skip(first) {
        if let Ok(stream) = from(netns, *upstream, || begin_call(upstream.address)) {
            return State::Elsewhere(Elsewhere {
                stream,
                watched: EventFlags::empty(),
                number,
                question,
                sent: 0,
                answer: Vec::new(),
                deadline: Instant::now() + PATIENCE,
            });
        }
    }
    let failure = question.get(LENGTH..).and_then(give_up);
    State::Answer(failure.map_or_else(Vec::new, |failure| with_length(&failure)), 0)
}

/// Begins to connect, without waiting for it.
fn begin_call(address: SocketAddr) -> std::io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}

fn with_length(message: &[u8]) -> Vec<u8> {
    // Messages of ours are shorter than that; hickory-proto makes no longer ones.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&message[..usize::from(length)]);
    bytes
}

/// Has `readiness` report `wanted` of a descriptor, of which it reports `watched` so far. A descriptor that is closed
/// leaves the list by itself.
pub(super) fn watch(
    readiness: BorrowedFd<'_>,
    descriptor: BorrowedFd<'_>,
    watched: &mut EventFlags,
    wanted: EventFlags,
) -> Result<(), Errno> {
    // Nobody looks at what is ready: everything is tried.
    let data = EventData::new_u64(0);
    if *watched == wanted {
        return Ok(());
    }
    if watched.is_empty() {
        epoll::add(readiness, descriptor, data, wanted)?;
    } else if wanted.is_empty() {
        epoll::delete(readiness, descriptor)?;
    } else {
        epoll::modify(readiness, descriptor, data, wanted)?;
    }
    *watched = wanted;
    Ok(())
}

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Part,
    Whole,
    /// The other side has gone.
    End,
}

/// Reads on until `bytes` is one whole message with its length.
fn read_message(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Progress {
    loop {
        let wanted = match bytes.first_chunk::<LENGTH>() {
            None => LENGTH,
            Some(length) => LENGTH + usize::from(u16::from_be_bytes(*length)),
        };
        let missing = wanted - bytes.len();
        if missing == 0 {
            return Progress::Whole;
        }
        let mut buffer = [0; 4096];
        let most = missing.min(buffer.len());
        match stream.read(&mut buffer[..most]) {
            Ok(0) => return Progress::End,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Part,
            Err(_) => return Progress::End,
        }
    }
}

fn write_on(stream: &mut TcpStream, bytes: &[u8], sent: &mut usize) -> Progress {
    while *sent < bytes.len() {
        match stream.write(&bytes[*sent..]) {
            Ok(0) => return Progress::End,
            Ok(length) => *sent += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // One that is still connecting has not gone.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                return Progress::Part;
            }
            Err(_) => return Progress::End,
        }
    }
    Progress::Whole
}
