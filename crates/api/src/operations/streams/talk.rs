//! A conversation between a client that has taken over its connection and a process: one poll(2), and nothing is kept but
//! what one read has brought. A client that does not read has the monitor wait, or be dropped by it; nobody else notices.

use super::client::{Client, Received};
use engine::containers::keys::DetachKeys;
use engine::containers::session::{Session, SessionEvent};
use engine::runtime::StartError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

/// How much input is taken at once.
const CHUNK: usize = 16 << 10;

/// What a client sees of a process, and says to it.
#[derive(Debug)]
pub(in crate::operations) struct Terms {
    /// Its input goes to the process.
    pub stdin: bool,
    /// It sees standard output.
    pub stdout: bool,
    /// It sees standard error.
    pub stderr: bool,
    /// The end of its input is the end of the process's. Otherwise it is the end of the conversation, as with Docker.
    pub ends_stdin: bool,
    /// Keys that end the conversation.
    pub keys: Option<DetachKeys>,
}

/// How a conversation ended.
#[derive(Debug, Clone)]
pub(in crate::operations) enum Ending {
    /// The client is gone, or wants no more.
    Left,
    /// The client has typed the keys.
    Detached,
    /// The process has ended, and all that it wrote has been sent.
    Over,
    /// There has been no process.
    Failed(StartError),
}

struct Talk<'a> {
    session: &'a mut Session,
    client: &'a mut dyn Client,
    terms: Terms,
    /// More may come from the client.
    hears: bool,
    /// Nobody reads what is sent to the client.
    gone: bool,
}

/// Talks until one side ends it.
pub(in crate::operations) fn talk(
    session: &mut Session,
    client: &mut dyn Client,
    terms: Terms,
) -> io::Result<Ending> {
    let mut talk = Talk {
        session,
        client,
        terms,
        hears: true,
        gone: false,
    };
    loop {
        if let Some(ending) = talk.round()? {
            return Ok(ending);
        }
    }
}

impl Talk<'_> {
    fn round(&mut self) -> io::Result<Option<Ending>> {
        if self.gone && (!self.terms.stdin || !self.hears) {
            return Ok(Some(Ending::Left));
        }
        let (said, client) = self.wait()?;
        if client.intersects(PollFlags::HUP | PollFlags::ERR) {
            // What it sent before it went is still for the process.
            self.gone = true;
        }
        if client.contains(PollFlags::OUT) {
            self.flush();
        }
        if self.wants_input()
            && (self.gone || self.client.has_input() || client.contains(PollFlags::IN))
            && let Some(ending) = self.input()?
        {
            return Ok(Some(ending));
        }
        if said {
            return self.event();
        }
        Ok(None)
    }

    /// Input is left where it is while the process has no room for it. What is not for the process is thrown away.
    fn wants_input(&self) -> bool {
        self.hears && (!self.terms.stdin || self.session.stdin_room() > 0)
    }

    /// Waits until the session has something to say, or the client has or takes something.
    fn wait(&mut self) -> io::Result<(bool, PollFlags)> {
        let at_once = rustix::event::Timespec::default();
        let behind = self.client.is_behind() && !self.gone;
        let kept = self.session.has_events() && !behind;
        let waits = kept || self.wants_input() && (self.gone || self.client.has_input());
        let mut flags = PollFlags::empty();
        if self.wants_input() {
            flags |= PollFlags::IN;
        }
        if behind {
            flags |= PollFlags::OUT;
        }
        let heard = if behind { PollFlags::empty() } else { PollFlags::IN };
        let mut set = vec![PollFd::from_borrowed_fd(self.session.as_fd(), heard)];
        if !self.gone {
            set.push(PollFd::from_borrowed_fd(self.client.descriptor(), flags));
        }
        match poll(&mut set, waits.then_some(&at_once)) {
            Err(Errno::INTR) => return Ok((false, PollFlags::empty())),
            result => result?,
        };
        let said = kept || !behind && !set[0].revents().is_empty();
        Ok((said, set.get(1).map_or(PollFlags::empty(), PollFd::revents)))
    }

    /// Passes input on.
    fn input(&mut self) -> io::Result<Option<Ending>> {
        let room = if self.terms.stdin {
            self.session.stdin_room().min(CHUNK)
        } else {
            CHUNK
        };
        let bytes = match self.client.receive(room) {
            Ok(Received::Nothing) => return Ok(None),
            Ok(Received::Bytes(bytes)) => bytes,
            Ok(Received::End) => return self.end_of_input(),
            Err(_) => {
                self.gone = true;
                return self.end_of_input();
            }
        };
        if !self.terms.stdin {
            return Ok(None);
        }
        let Some(keys) = &mut self.terms.keys else {
            self.session.send_stdin(&bytes)?;
            return Ok(None);
        };
        let typed = keys.filter(&bytes);
        if !typed.bytes.is_empty() {
            self.session.send_stdin(&typed.bytes)?;
        }
        Ok(typed.detach.then_some(Ending::Detached))
    }

    fn end_of_input(&mut self) -> io::Result<Option<Ending>> {
        self.hears = false;
        if !self.terms.stdin {
            return Ok(None);
        }
        if !self.terms.ends_stdin {
            return Ok(Some(Ending::Left));
        }
        self.session.close_stdin()?;
        Ok(None)
    }

    /// Passes on what the monitor says.
    fn event(&mut self) -> io::Result<Option<Ending>> {
        match self.session.next()? {
            None | Some(SessionEvent::Exited(_)) => {
                self.finish()?;
                Ok(Some(Ending::Over))
            }
            Some(SessionEvent::Failed(error)) => Ok(Some(Ending::Failed(error))),
            Some(SessionEvent::Started | SessionEvent::Room) => Ok(None),
            Some(SessionEvent::Stdout(bytes)) => {
                if self.terms.stdout {
                    self.send(false, &bytes);
                }
                Ok(None)
            }
            Some(SessionEvent::Stderr(bytes)) => {
                if self.terms.stderr {
                    self.send(true, &bytes);
                }
                Ok(None)
            }
        }
    }

    fn send(&mut self, stderr: bool, bytes: &[u8]) {
        if !self.gone && self.client.send(stderr, bytes).is_err() {
            self.gone = true;
        }
    }

    fn flush(&mut self) {
        if !self.gone && self.client.flush().is_err() {
            self.gone = true;
        }
    }

    /// Sends the last bytes, however long the client takes for them.
    fn finish(&mut self) -> io::Result<()> {
        flush(self.client)
    }
}

/// Sends all that has not been sent yet; a client that is gone needs none of it.
pub(in crate::operations) fn flush(client: &mut dyn Client) -> io::Result<()> {
    while client.is_behind() {
        let mut set = [PollFd::from_borrowed_fd(client.descriptor(), PollFlags::OUT)];
        match poll(&mut set, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        if set[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) || client.flush().is_err() {
            return Ok(());
        }
    }
    Ok(())
}
