//! The conversation with a container: our standard streams on one side, its monitor on the other.

use crate::failure::Failure;
use crate::output;
use crate::signals::{Caught, Signals, terminates};
use crate::terminal::{Raw, size};
use engine::EngineError;
use engine::containers::attach::Happening;
use engine::containers::keys::DetachKeys;
use engine::containers::record::ExitRecord;
use engine::containers::session::{Session, SessionEvent};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// How much is read from standard input at once: it must fit into the socket that poll found room in.
const CHUNK: usize = 16 << 10;
/// So many signals that mean "end" make us leave, whatever the container does with them (Docker's rule).
const PATIENCE: u32 = 3;

/// How to talk.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// Pass standard input on.
    pub stdin: bool,
    /// The container has a terminal: ours goes into raw mode.
    pub terminal: bool,
    /// Show standard output.
    pub stdout: bool,
    /// Show standard error.
    pub stderr: bool,
    /// Pass signals on.
    pub signals: bool,
    /// Keys that detach.
    pub detach_keys: DetachKeys,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The user detached; the container goes on.
    Detached,
    /// The process ended.
    Exited(ExitRecord),
    /// We were told to leave; the container goes on.
    Interrupted(i32),
    /// The monitor closed the session without a word.
    Lost,
}

/// Talks until one side ends it. `tell` records what only the client knows of.
pub(crate) fn talk(
    mut session: Session,
    signals: &mut Signals,
    conversation: &Conversation,
    tell: &dyn Fn(Happening<'_>) -> Result<(), EngineError>,
) -> Result<Ending, Failure> {
    let exec_id = session.exec_id().map(str::to_owned);
    let terminal = conversation.terminal && crate::terminal::stdin_is_terminal();
    let raw = if terminal && conversation.stdin {
        Some(Raw::enter()?)
    } else {
        None
    };
    let ending = Talk {
        session: &mut session,
        signals,
        stdin: conversation.stdin,
        keys: if terminal {
            Some(conversation.detach_keys.clone())
        } else {
            None
        },
        told_to_end: 0,
        conversation,
        tell,
    }
    .run();
    drop(raw);
    if matches!(ending, Ok(Ending::Detached)) {
        output::note("read escape sequence");
        tell(match &exec_id {
            Some(exec_id) => Happening::ExecDetached { exec_id },
            None => Happening::Detached,
        })?;
    }
    ending
}

struct Talk<'a> {
    session: &'a mut Session,
    signals: &'a mut Signals,
    /// Standard input is still open.
    stdin: bool,
    keys: Option<DetachKeys>,
    told_to_end: u32,
    conversation: &'a Conversation,
    tell: &'a dyn Fn(Happening<'_>) -> Result<(), EngineError>,
}

impl Talk<'_> {
    fn run(mut self) -> Result<Ending, Failure> {
        loop {
            let ready = self.wait()?;
            if ready.signals
                && let Some(ending) = self.signals()?
            {
                return Ok(ending);
            }
            if ready.session
                && let Some(ending) = self.event()?
            {
                return Ok(ending);
            }
            if ready.stdin && self.input()? {
                return Ok(Ending::Detached);
            }
        }
    }

    fn wait(&mut self) -> Result<Ready, Failure> {
        let stdin = std::io::stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.session.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        // Without room for it, input stays where it is.
        if self.stdin && self.session.stdin_room() > 0 {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let flags = fds[0].revents();
        Ok(Ready {
            session: flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            signals: !fds[1].revents().is_empty(),
            stdin: fds.get(2).is_some_and(|fd| !fd.revents().is_empty()),
        })
    }

    fn signals(&mut self) -> Result<Option<Ending>, Failure> {
        for caught in self.signals.take() {
            match caught {
                Caught::Resized => {
                    if let (true, Some((rows, columns))) = (self.conversation.terminal, size()) {
                        tolerate(self.session.resize(rows, columns))?;
                        if self.session.exec_id().is_none() {
                            (self.tell)(Happening::Resized { rows, columns })?;
                        }
                    }
                }
                Caught::Signal(number) => {
                    if !self.conversation.signals {
                        if terminates(number) {
                            return Ok(Some(Ending::Interrupted(number)));
                        }
                        continue;
                    }
                    tolerate(self.session.signal(number))?;
                    if terminates(number) {
                        self.told_to_end += 1;
                    }
                    if self.told_to_end >= PATIENCE {
                        output::note("got 3 SIGTERM/SIGINTs, forcefully exiting");
                        return Ok(Some(Ending::Interrupted(number)));
                    }
                }
            }
        }
        Ok(None)
    }

    fn event(&mut self) -> Result<Option<Ending>, Failure> {
        match self.session.next()? {
            None => return Ok(Some(Ending::Lost)),
            Some(SessionEvent::Started | SessionEvent::Room) => {}
            Some(SessionEvent::Failed(error)) => return Err(Failure::start(&error)),
            Some(SessionEvent::Stdout(bytes)) => {
                if self.conversation.stdout {
                    output::bytes(&bytes)?;
                }
            }
            Some(SessionEvent::Stderr(bytes)) => {
                if self.conversation.stderr {
                    output::error_bytes(&bytes)?;
                }
            }
            Some(SessionEvent::Exited(record)) => return Ok(Some(Ending::Exited(record))),
        }
        Ok(None)
    }

    /// Passes input on; says whether the user detached.
    fn input(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; CHUNK];
        let room = self.session.stdin_room().min(CHUNK);
        let read = match rustix::io::read(std::io::stdin(), &mut buffer[..room]) {
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A terminal whose session has gone, or a standard input that was never there, is at its end.
            Err(Errno::IO | Errno::BADF) => 0,
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        if read == 0 {
            self.stdin = false;
            tolerate(self.session.close_stdin())?;
            return Ok(false);
        }
        let Some(keys) = &mut self.keys else {
            tolerate(self.session.send_stdin(&buffer[..read]))?;
            return Ok(false);
        };
        let typed = keys.filter(&buffer[..read]);
        if !typed.bytes.is_empty() {
            tolerate(self.session.send_stdin(&typed.bytes))?;
        }
        Ok(typed.detach)
    }
}

#[derive(Default)]
struct Ready {
    session: bool,
    signals: bool,
    stdin: bool,
}

/// A monitor that has closed its side still has words for us to read: that we cannot write is no failure.
fn tolerate(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
