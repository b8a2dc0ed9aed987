//! Between a process's streams, its log and any number of clients: one poll(2), no thread, no waiting anywhere else.

use super::client::{BACKLOG, Client, Message};
use super::log::Log;
use super::streams::Ends;
use crate::containers::logs::Source;
use crate::containers::record::ExitRecord;
use crate::containers::request::RestartPolicy;
use crate::containers::session::{Kind, LONGEST, Mode};
use crate::events::now;
use runtime::StartError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// What is read at once of a process that writes little, and of one that writes much.
const LITTLE: usize = 4 << 10;
const MUCH: usize = 256 << 10;
/// The pipes of a process that writes much hold so many bytes, so that it and we wake each other less often.
const PIPE: usize = 512 << 10;
/// After so long without anything to do, memory that a flood needed is given back.
const QUIET: Duration = Duration::from_secs(1);
/// How long a client that is not in the foreground may take for its last bytes.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often a stream is read at most when its process has ended. What was left in it is less; but whoever else has it
/// open may go on writing for ever, and clients would have to be sent all of it.
const MOST_LEFT: u32 = 1024;

/// What clients asked of the monitor, beyond streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Signal(i32),
    Stop(i32),
    Policy(RestartPolicy),
    /// The host goes down.
    Leave,
    /// Its networks are to be others; the client of this number waits for an answer.
    Networks(u32),
}

/// What a round has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// The process has ended.
    pub(super) ended: bool,
    /// Which of the other descriptors were ready, the first the lowest bit.
    pub(super) ready: u32,
}

/// Input on its way to the process.
#[derive(Debug)]
struct Input {
    client: u32,
    bytes: Vec<u8>,
    done: usize,
}

/// The relay.
#[derive(Debug, Default)]
pub(super) struct Relay {
    pub(super) ends: Ends,
    pub(super) log: Option<Log>,
    pub(super) listener: Option<UnixListener>,
    /// Standard input ends when a client that could send it leaves.
    pub(super) stdin_once: bool,
    pub(super) requests: Vec<Request>,
    clients: Vec<Client>,
    numbered: u32,
    input: VecDeque<Input>,
    input_ends: bool,
    buffer: Vec<u8>,
}

/// Whose descriptor a place in the poll set is.
#[derive(Debug, Clone, Copy)]
enum Who {
    Client(usize),
    Input,
    Listener,
    Log,
    Other(usize),
    Output(Source),
    Process,
}

impl Relay {
    /// Adds the client that came with the start.
    pub(super) fn add_first(&mut self, stream: UnixStream, mode: Option<Mode>) {
        self.numbered += 1;
        self.clients.push(Client::new(stream, self.numbered, mode, true));
    }

    /// Adds a client that has waited for the start. It is told at once, for the same monitor may start the process again.
    pub(super) fn add_early(&mut self, stream: UnixStream, mode: Mode) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        self.numbered += 1;
        let mut client = Client::new(stream, self.numbered, Some(mode), mode == Mode::Attach);
        client.welcome(&[]);
        self.clients.push(client);
    }

    /// Tells those who attached that the process runs, and lets go of the first client if it wanted no more.
    pub(super) fn tell_started(&mut self) {
        for client in &mut self.clients {
            if client.welcomed {
                continue;
            }
            client.welcome(&[]);
            client.closing |= client.mode.is_none();
        }
        self.flush_clients();
    }

    /// Tells the first client why there is no process.
    pub(super) fn tell_failed(&mut self, error: &StartError) -> io::Result<()> {
        let document = serde_json::to_vec(error)?;
        for client in &mut self.clients {
            // A frame has its limit; a message that is longer than that helps nobody.
            client.tell(Kind::Failed, &document[..document.len().min(LONGEST)]);
        }
        self.say_goodbye()
    }

    /// Tells clients how the process ended: those who attached or wait for just that, and, if it was `for_good`, those who
    /// wait for that.
    pub(super) fn tell_exited(&mut self, exit: &ExitRecord, for_good: bool) -> io::Result<()> {
        let document = serde_json::to_vec(exit)?;
        for client in &mut self.clients {
            if for_good || matches!(client.mode, Some(Mode::Attach | Mode::NextExit)) {
                client.tell(Kind::Exited, &document);
                client.closing = true;
            }
        }
        self.flush_clients();
        Ok(())
    }

    /// Tells a client that what it asked for is done, or why it is not.
    pub(super) fn tell_done(&mut self, number: u32, done: &Result<(), StartError>) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            match done {
                Ok(()) => client.tell(Kind::Noted, &[]),
                Err(error) => {
                    // A message that cannot be written is told as none.
                    let document = serde_json::to_vec(error).unwrap_or_default();
                    client.tell(Kind::Failed, &document[..document.len().min(LONGEST)]);
                }
            }
        }
        self.flush_clients();
    }

    /// Says whether the client that came with the start has gone.
    pub(super) fn is_deserted(&self) -> bool {
        self.clients.is_empty()
    }

    /// Waits until something happens, at most for `timeout`, and deals with it, but for what is up with `others`.
    pub(super) fn round(
        &mut self,
        process: Option<BorrowedFd<'_>>,
        others: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<Duration>,
    ) -> io::Result<Round> {
        let patience = if self.is_warm() {
            Some(timeout.map_or(QUIET, |timeout| timeout.min(QUIET)))
        } else {
            timeout
        };
        let ready = self.wait(process, others, patience)?;
        if ready.is_empty() && patience == Some(QUIET) {
            self.cool();
        }
        let mut round = Round::default();
        for (who, flags) in ready {
            match who {
                Who::Process => round.ended = true,
                Who::Other(index) => round.ready |= 1 << index,
                Who::Listener => self.accept(),
                Who::Output(source) => {
                    self.read_output(source)?;
                }
                Who::Input => self.write_input(),
                // It is flushed below.
                Who::Log => {}
                Who::Client(index) => {
                    if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                        self.hear(index);
                    }
                }
            }
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.flush_clients();
        Ok(round)
    }

    /// Takes what the process, which has ended, left in its pipes or its terminal, and finishes the log.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        // In turns, so that neither stream's last words come before all of the other's.
        let mut more = [true; 2];
        for _ in 0..MOST_LEFT {
            if more == [false; 2] {
                break;
            }
            for source in [Source::Stdout, Source::Stderr] {
                more[source as usize] = more[source as usize] && self.read_output(source)?;
            }
        }
        if let Some(log) = &mut self.log {
            log.finish(now());
        }
        self.ends = Ends::default();
        self.input.clear();
        self.input_ends = false;
        self.flush_clients();
        Ok(())
    }

    /// Sends clients what is still theirs. One that is in the foreground may take its time, as with a pipe.
    pub(super) fn say_goodbye(&mut self) -> io::Result<()> {
        self.listener = None;
        let deadline = Instant::now() + FAREWELL;
        for client in &mut self.clients {
            client.closing = true;
        }
        self.flush_clients();
        while !self.clients.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.clients.retain(|client| client.foreground);
            }
            self.round(None, &[], (!left.is_zero()).then_some(left))?;
        }
        Ok(())
    }

    /// Says whether there is memory that is needed only while much happens.
    fn is_warm(&self) -> bool {
        self.buffer.len() > LITTLE || self.log.as_ref().is_some_and(Log::is_warm)
    }

    /// Gives that memory back.
    fn cool(&mut self) {
        self.buffer = Vec::new();
        if let Some(log) = &mut self.log {
            log.cool();
        }
        sys::memory::release();
    }

    fn wait(
        &self,
        process: Option<BorrowedFd<'_>>,
        others: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<Duration>,
    ) -> io::Result<Vec<(Who, PollFlags)>> {
        let most = 5 + others.len() + self.clients.len();
        let mut set = Vec::with_capacity(most);
        let mut whose = Vec::with_capacity(most);
        if let Some(process) = process {
            whose.push(Who::Process);
            set.push(PollFd::from_borrowed_fd(process, PollFlags::IN));
        }
        for (index, (descriptor, flags)) in others.iter().enumerate() {
            whose.push(Who::Other(index));
            set.push(PollFd::from_borrowed_fd(*descriptor, *flags));
        }
        if let Some(listener) = &self.listener {
            whose.push(Who::Listener);
            set.push(PollFd::new(listener, PollFlags::IN));
        }
        // A client in the foreground that does not read holds the process up, as a pipe would.
        let held_up = self
            .clients
            .iter()
            .any(|client| client.foreground && !client.gone && client.backlog() > BACKLOG);
        // So does a log that does not take more.
        let slow_log = self.log.as_ref().and_then(Log::waits_for);
        if let Some(descriptor) = slow_log {
            whose.push(Who::Log);
            set.push(PollFd::from_borrowed_fd(descriptor, PollFlags::OUT));
        }
        if !held_up && slow_log.is_none() {
            for source in [Source::Stdout, Source::Stderr] {
                if let Some(output) = &self.ends.outputs[source as usize] {
                    whose.push(Who::Output(source));
                    set.push(PollFd::new(output, PollFlags::IN));
                }
            }
        }
        if let Some(stdin) = &self.ends.stdin
            && !self.input.is_empty()
        {
            whose.push(Who::Input);
            set.push(PollFd::new(stdin, PollFlags::OUT));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::IN;
            if client.backlog() > 0 {
                flags |= PollFlags::OUT;
            }
            whose.push(Who::Client(index));
            set.push(PollFd::new(&client.stream, flags));
        }
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut set, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(Vec::new()),
            result => result?,
        };
        Ok(whose
            .into_iter()
            .zip(set.iter().map(PollFd::revents))
            .filter(|(_, flags)| !flags.is_empty())
            .collect())
    }

    /// Lets a client in if it is the same user's.
    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        // A client that is gone before we look, or a lack of descriptors, is the client's loss.
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let ours = rustix::process::geteuid();
        let allowed = rustix::net::sockopt::socket_peercred(&stream)
            .is_ok_and(|credentials| credentials.uid == ours || credentials.uid.is_root());
        if allowed && stream.set_nonblocking(true).is_ok() {
            self.numbered += 1;
            self.clients.push(Client::new(stream, self.numbered, None, false));
        }
    }

    /// Reads once from one of the process's streams; says whether there may be more.
    fn read_output(&mut self, source: Source) -> io::Result<bool> {
        let Some(output) = &self.ends.outputs[source as usize] else {
            return Ok(false);
        };
        if self.buffer.is_empty() {
            self.buffer.resize(LITTLE, 0);
        }
        match rustix::io::read(output, &mut self.buffer[..]) {
            Ok(count) if count > 0 => {
                let bytes = &self.buffer[..count];
                if let Some(log) = &mut self.log {
                    log.add(source, bytes, now());
                }
                let kind = match source {
                    Source::Stdout => Kind::Stdout,
                    Source::Stderr => Kind::Stderr,
                };
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.mode == Some(Mode::Attach))
                {
                    for frame in bytes.chunks(LONGEST) {
                        client.tell(kind, frame);
                    }
                    if !client.foreground && client.backlog() > BACKLOG {
                        client.gone = true;
                    }
                }
                let most = self.log.as_ref().map_or(MUCH, |log| log.portion().min(MUCH));
                if count == self.buffer.len() && count < most {
                    if count >= LONGEST {
                        // What may not be larger stays as it is; a terminal has no such size.
                        rustix::pipe::fcntl_setpipe_size(output, PIPE).unwrap_or_default();
                    }
                    self.buffer.resize(count * 4, 0);
                }
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            // A terminal that nobody has open any more says EIO; while the process lives it may be opened again.
            Err(Errno::IO) if self.ends.terminal.is_some() => {
                self.ends.outputs[source as usize] = None;
                Ok(false)
            }
            Ok(_) => {
                self.ends.outputs[source as usize] = None;
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn hear(&mut self, index: usize) {
        if self.buffer.len() < LONGEST {
            self.buffer.resize(LONGEST, 0);
        }
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let number = client.number;
        for message in client.receive(&mut self.buffer) {
            match message {
                Message::Hello(mode) => {
                    client.mode = Some(mode);
                    if mode != Mode::Wait {
                        client.welcome(&now().to_le_bytes());
                    }
                }
                Message::Input(bytes) if self.ends.stdin.is_some() && !self.input_ends => {
                    self.input.push_back(Input {
                        client: number,
                        bytes,
                        done: 0,
                    });
                }
                // There is nobody to read it.
                Message::Input(bytes) => client.allow(u32::try_from(bytes.len()).unwrap_or_default()),
                Message::InputEnd => self.input_ends |= self.stdin_once,
                Message::Resize(rows, columns) => set_size(self.ends.terminal.as_ref(), rows, columns),
                Message::Signal(signal) => self.requests.push(Request::Signal(signal)),
                Message::Stop(signal) => self.requests.push(Request::Stop(signal)),
                Message::Leave => self.requests.push(Request::Leave),
                Message::Networks => self.requests.push(Request::Networks(number)),
                Message::Policy(policy) => {
                    self.requests.push(Request::Policy(policy));
                    client.tell(Kind::Noted, &[]);
                }
            }
        }
        self.write_input();
    }

    /// Writes waiting input as far as the process takes it, gives leave for as much again, and closes the process's
    /// standard input if that was the last of it.
    fn write_input(&mut self) {
        while let Some(stdin) = &self.ends.stdin
            && let Some(input) = self.input.front_mut()
        {
            match rustix::io::write(stdin, &input.bytes[input.done..]) {
                Ok(count) => {
                    input.done += count;
                    let (number, finished) = (input.client, input.done == input.bytes.len());
                    if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                        client.allow(u32::try_from(count).unwrap_or_default());
                    }
                    if finished {
                        self.input.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The process has closed its end: what comes is thrown away.
                Err(_) => {
                    self.ends.stdin = None;
                    for input in std::mem::take(&mut self.input) {
                        let left = input.bytes.len() - input.done;
                        if let Some(client) = self
                            .clients
                            .iter_mut()
                            .find(|client| client.number == input.client)
                        {
                            client.allow(u32::try_from(left).unwrap_or_default());
                        }
                    }
                }
            }
        }
        // A terminal has no end of input but the one that is typed.
        if self.input_ends && self.input.is_empty() && self.ends.terminal.is_none() {
            self.ends.stdin = None;
        }
    }

    /// Sends what sockets take, and forgets clients that are done or gone.
    fn flush_clients(&mut self) {
        for client in &mut self.clients {
            client.flush();
        }
        let left = |client: &Client| client.gone || (client.closing && client.backlog() == 0);
        let input_left = self
            .clients
            .iter()
            .any(|client| client.gone && client.mode == Some(Mode::Attach));
        self.clients.retain(|client| !left(client));
        // Who detaches from a terminal comes back to it, so its input stays open.
        if input_left && self.stdin_once && self.ends.terminal.is_none() {
            self.input_ends = true;
            self.write_input();
        }
    }
}

fn set_size(terminal: Option<&OwnedFd>, rows: u16, columns: u16) {
    let Some(terminal) = terminal else { return };
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // A terminal that is just going away needs no size.
    tcsetwinsize(terminal, size).unwrap_or_default();
}
