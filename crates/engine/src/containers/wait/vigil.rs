//! Waiting that can be given up, for a server: nothing is held while nothing happens but the sockets that tell of it.

use super::super::early::Early;
use super::super::monitor;
use super::super::record::{ContainerId, ExitRecord};
use super::super::running;
use super::super::session::{Mode, Session, SessionEvent, is_gone};
use super::super::{Containers, rows};
use super::{connect, session_error};
use crate::EngineError;
use crate::events::follow::{self, LATE, SOON};
use rusqlite::OptionalExtension;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use state::StateError;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use sys::SysError;

/// How soon it is looked again at what nobody tells of: who holds the container is about to start or to end it.
const GLANCE: Duration = Duration::from_millis(5);
/// The same where the kernel has no more watches to give.
const UNWATCHED: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// It does not run (at once if it does not). One that its restart policy will start again does not run, either.
    #[default]
    NotRunning,
    /// It ends the next time, also if it does not run now.
    NextExit,
    /// It has been removed.
    Removed,
}

/// Waiting for a container. [`Vigil::look`] and [`Vigil::sleep`] take turns; only a look needs the engine.
#[derive(Debug)]
pub struct Vigil {
    id: ContainerId,
    until: Until,
    /// When it had ended last before.
    before: Option<i64>,
    /// For a start to come.
    early: Option<Early>,
    /// With its monitors.
    sessions: Vec<Session>,
    /// Tells that somebody has written to the database.
    changes: Option<OwnedFd>,
    pause: Option<Duration>,
    /// What was told.
    exit: Option<ExitRecord>,
}

impl Containers<'_> {
    /// Begins to wait. From when this returns, nothing escapes it.
    pub fn begin_waiting(&self, id: &ContainerId, until: Until) -> Result<Vigil, EngineError> {
        let locations = self.engine.locations();
        let mut vigil = Vigil {
            id: id.clone(),
            until,
            before: None,
            early: None,
            sessions: Vec::new(),
            changes: None,
            pause: None,
            exit: None,
        };
        match until {
            Until::NotRunning => {}
            Until::NextExit => {
                vigil.before = self.last_end(id)?.map(|exit| exit.finished);
                vigil.early = Some(Early::listen(locations, id, Mode::NextExit)?);
                // One that runs already does not come to us.
                vigil.sessions.extend(connect(locations, id, Mode::NextExit)?);
            }
            Until::Removed => {
                // A user may have so many of these and no more. Then it is looked from time to time.
                vigil.changes = follow::watch(&locations.root).ok();
            }
        }
        // That there is such a container is said before anything is sent.
        self.record(id)?;
        Ok(vigil)
    }

    /// Returns how a container has ended last, whether or not it has been removed or started since.
    fn last_end(self, id: &ContainerId) -> Result<Option<ExitRecord>, EngineError> {
        let (run, recorded) = self.engine.database.read(|connection| {
            let run: Option<String> = connection
                .prepare_cached(
                    "SELECT exit FROM runs WHERE container = ?1 AND exit IS NOT NULL ORDER BY number DESC LIMIT 1",
                )
                .and_then(|mut query| query.query_row([id.as_str()], |row| row.get(0)).optional())
                .map_err(StateError::from)?;
            Ok::<_, EngineError>((run, rows::by_id(connection, id)?))
        })?;
        // A document that cannot be read tells nothing.
        let run: Option<ExitRecord> = run.and_then(|text| serde_json::from_str(&text).ok());
        let recorded = recorded.and_then(|record| record.status.exit);
        Ok(run.into_iter().chain(recorded).max_by_key(|exit| exit.finished))
    }
}

impl Vigil {
    /// Says how the container ended, if what is waited for has come about.
    pub fn look(&mut self, containers: Containers<'_>) -> Result<Option<ExitRecord>, EngineError> {
        let locations = containers.engine.locations();
        let gone = match containers.record(&self.id) {
            Ok(_) => false,
            Err(EngineError::NotFound { .. }) => true,
            Err(error) => return Err(error),
        };
        if gone {
            let last = containers.last_end(&self.id)?;
            return Ok(Some(self.exit.take().or(last).unwrap_or_default()));
        }
        match self.until {
            Until::NotRunning | Until::NextExit if self.exit.is_some() => return Ok(self.exit.take()),
            Until::NotRunning => {
                if !locations.is_claimed(&self.id)? {
                    // Who dies without a word leaves it to others to record that.
                    containers.recover()?;
                    return Ok(Some(containers.last_end(&self.id)?.unwrap_or_default()));
                }
                // Between two runs it does not run: how the last one ended is known.
                if let Some(between) = running::read(locations, &self.id).filter(|running| running.pid == 0)
                    && let Some(exit) = between.last_exit
                {
                    return Ok(Some(exit));
                }
            }
            Until::NextExit => {
                let last = containers.last_end(&self.id)?;
                if let Some(exit) = last.filter(|exit| Some(exit.finished) != self.before) {
                    return Ok(Some(exit));
                }
            }
            Until::Removed => {}
        }
        self.listen_on(containers)?;
        Ok(None)
    }

    /// Sees to it that there is something to sleep on.
    fn listen_on(&mut self, containers: Containers<'_>) -> Result<(), EngineError> {
        let locations = containers.engine.locations();
        if !self.sessions.is_empty() {
            return Ok(());
        }
        let mode = if self.until == Until::Removed {
            Mode::Wait
        } else {
            Mode::NextExit
        };
        if self.until == Until::NextExit && self.early.is_none() {
            // A monitor had come and gone without a word.
            self.early = Some(Early::listen(locations, &self.id, mode)?);
            self.pause = Some(SOON);
        }
        if locations.is_claimed(&self.id)? {
            self.sessions.extend(connect(locations, &self.id, mode)?);
        }
        Ok(())
    }

    /// Sleeps until it is worth a look; `false` if nobody reads from `outlet` any more.
    pub fn sleep(&mut self, outlet: Option<BorrowedFd<'_>>) -> Result<bool, EngineError> {
        let mut set: Vec<PollFd<'_>> = Vec::with_capacity(self.sessions.len() + 3);
        let input = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        set.extend(self.sessions.iter().map(|session| input(session.as_fd())));
        set.extend(self.early.iter().map(|early| input(early.as_fd())));
        set.extend(self.changes.iter().map(|changes| input(changes.as_fd())));
        // A pipe without a reader reports an error, which nobody needs to ask for.
        set.extend(outlet.map(|outlet| PollFd::from_borrowed_fd(outlet, PollFlags::empty())));
        let patience = self.patience();
        let timeout = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        });
        match poll(&mut set, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(true),
            Ok(0) => {
                self.pause = self.pause.map(|pause| pause * 2).filter(|pause| *pause <= LATE);
                return Ok(true);
            }
            result => result.map_err(SysError::of("wait for the container"))?,
        };
        let mut ready: Vec<bool> = set.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(set);
        if outlet.is_some() && ready.pop() == Some(true) {
            return Ok(false);
        }
        if let Some(changes) = &self.changes
            && ready.pop() == Some(true)
        {
            follow::drain(changes)?;
            self.pause = Some(SOON);
        }
        if let Some(early) = &self.early
            && ready.pop() == Some(true)
            && let Some(session) = early.take().map_err(session_error(&self.id))?
        {
            self.early = None;
            self.sessions.push(session);
            ready.push(false);
        }
        self.hear(&ready)?;
        Ok(true)
    }

    fn patience(&self) -> Option<Duration> {
        match self.until {
            // Somebody holds it who cannot be spoken to.
            Until::NotRunning if self.sessions.is_empty() => Some(GLANCE),
            Until::Removed if self.changes.is_none() => Some(UNWATCHED),
            _ => self.pause,
        }
    }

    /// Hears what the monitors say that are ready to be heard.
    fn hear(&mut self, ready: &[bool]) -> Result<(), EngineError> {
        for (index, session) in std::mem::take(&mut self.sessions).into_iter().enumerate() {
            let mut session = session;
            if !ready.get(index).is_some_and(|ready| *ready) {
                self.sessions.push(session);
                continue;
            }
            match session.next() {
                Ok(Some(SessionEvent::Exited(exit))) => self.exit = Some(exit),
                Ok(Some(SessionEvent::Failed(error))) => {
                    self.exit = Some(ExitRecord {
                        code: monitor::code_of(error.failure),
                        error: Some(error.message),
                        finished: crate::events::now(),
                        ..ExitRecord::default()
                    });
                }
                Ok(Some(_)) => self.sessions.push(session),
                // It has gone without a word. A killed process's sockets may close before its lock is free, and only then
                // can anybody record the end: it is looked for a while.
                Ok(None) => self.pause = Some(SOON),
                Err(error) if is_gone(&error) => self.pause = Some(SOON),
                Err(error) => return Err(session_error(&self.id)(error)),
            }
        }
        Ok(())
    }
}
