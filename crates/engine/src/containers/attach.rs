//! `attach`: a session with a container that runs, or that is about to.
use super::early::Early;
use super::session::{Mode, Session, SessionEvent, is_gone};
use super::{Containers, conflict, record::Activity, record::ContainerId, wait};
use crate::{EngineError, Locations};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use sys::{SysError, failpoint};

impl Containers<'_> {
    /// Connects to a running container's monitor; what it wrote before is in its log.
    pub fn attach(&self, id: &ContainerId) -> Result<Session, EngineError> {
        let record = self.record(id)?;
        match self.activity(&record)?.0 {
            Activity::Paused => Err(conflict(
                "You cannot attach to a paused container, unpause it first",
            )),
            Activity::Restarting => Err(conflict(
                "You cannot attach to a restarting container, wait until it is running",
            )),
            Activity::Running => {
                let session =
                    wait::connect(self.engine.locations(), id, Mode::Attach)?.ok_or_else(stopped)?;
                self.note(&record, "attach", &[])?;
                Ok(session)
            }
            _ => Err(stopped()),
        }
    }
}

/// What a client does that nobody but itself can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// It left a container's session, which goes on.
    Detached,
    /// It left an exec'd process's session.
    ExecDetached {
        /// [`Session::exec_id`].
        exec_id: &'a str,
    },
    /// Its terminal has a new size.
    Resized {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

impl Containers<'_> {
    /// Records what a client did. A container that is gone meanwhile has no more to be told of.
    pub fn tell(&self, id: &ContainerId, happening: Happening<'_>) -> Result<(), EngineError> {
        let record = match self.record(id) {
            Err(EngineError::NotFound { .. }) => return Ok(()),
            record => record?,
        };
        match happening {
            Happening::Detached => self.note(&record, "detach", &[]),
            Happening::ExecDetached { exec_id } => self.note(&record, "exec_detach", &[("execID", exec_id)]),
            Happening::Resized { rows, columns } => {
                let (height, width) = (rows.to_string(), columns.to_string());
                self.note(&record, "resize", &[("height", &height), ("width", &width)])
            }
        }
    }
}

fn stopped() -> EngineError {
    conflict("You cannot attach to a stopped container, start it first")
}

/// A session with a container that runs, or that begins when the container does.
#[derive(Debug)]
pub struct Coming {
    id: ContainerId,
    locations: Locations,
    state: State,
}

#[derive(Debug)]
enum State {
    Here(Session),
    /// `probe` is a connection to a monitor that may have been there before us, and not have seen us.
    Later {
        early: Early,
        probe: Option<Session>,
    },
}

impl Containers<'_> {
    /// Attaches to a container whether or not it runs. From when this returns, everything that it writes is seen.
    pub fn attach_early(&self, id: &ContainerId) -> Result<Coming, EngineError> {
        let record = self.record(id)?;
        let locations = self.engine.locations();
        let coming = |state| Coming {
            id: id.clone(),
            locations: locations.clone(),
            state,
        };
        match self.activity(&record)?.0 {
            Activity::Paused => {
                return Err(conflict(format!(
                    "container {id} is paused, unpause the container before attach"
                )));
            }
            Activity::Restarting => {
                return Err(conflict(format!(
                    "container {id} is restarting, wait until the container is running"
                )));
            }
            Activity::Running => {
                // One that is just ending has nobody to talk to any more.
                if let Some(session) = wait::connect(locations, id, Mode::Attach)? {
                    self.note(&record, "attach", &[])?;
                    return Ok(coming(State::Here(session)));
                }
            }
            _ => {}
        }
        let early = Early::listen(locations, id, Mode::Attach)?;
        failpoint::reach("attach.listening")?;
        // It answers as soon as its monitor has connected to all that waited. Not yet for the streams: who leaves those
        // may take standard input with it.
        let probe = wait::connect(locations, id, Mode::NextExit)?;
        self.note(&record, "attach", &[])?;
        Ok(coming(State::Later { early, probe }))
    }
}

impl Coming {
    /// Whether the container runs already.
    pub fn is_here(&self) -> bool {
        matches!(self.state, State::Here(_))
    }

    /// Waits for the container; `None` if `client` hangs up before it has come.
    pub fn wait(self, client: BorrowedFd<'_>) -> Result<Option<Session>, EngineError> {
        let (early, mut probe) = match self.state {
            State::Here(session) => return Ok(Some(session)),
            State::Later { early, probe } => (early, probe),
        };
        let failed = wait::session_error(&self.id);
        loop {
            let mut set = vec![
                PollFd::from_borrowed_fd(early.as_fd(), PollFlags::IN),
                // Input may wait there already; only its going is of interest.
                PollFd::from_borrowed_fd(client, PollFlags::empty()),
            ];
            set.extend(
                probe
                    .iter()
                    .map(|probe| PollFd::from_borrowed_fd(probe.as_fd(), PollFlags::IN)),
            );
            match poll(&mut set, None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(SysError::of("wait for the container"))?,
            };
            let ready: Vec<PollFlags> = set.iter().map(PollFd::revents).collect();
            if ready[1].intersects(PollFlags::HUP | PollFlags::ERR) {
                return Ok(None);
            }
            if let Some(session) = early.take().map_err(&failed)? {
                return Ok(Some(session));
            }
            let Some(mut asked) = probe.take_if(|_| ready.get(2).is_some_and(|flags| !flags.is_empty()))
            else {
                continue;
            };
            match asked.next() {
                // The look at our own socket must come after this.
                Ok(Some(SessionEvent::Started)) => {
                    let met = early.take().map_err(&failed)?;
                    let session = match met {
                        None => wait::connect(&self.locations, &self.id, Mode::Attach)?,
                        met => met,
                    };
                    if session.is_some() {
                        return Ok(session);
                    }
                }
                Ok(Some(SessionEvent::Exited(_)) | None) => {}
                Ok(Some(_)) => probe = Some(asked),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Containers<'_> {
    /// Tells the terminal of a running container its size.
    pub fn resize(&self, id: &ContainerId, rows: u16, columns: u16) -> Result<(), EngineError> {
        let record = self.record(id)?;
        let runs = matches!(self.activity(&record)?.0, Activity::Running | Activity::Paused);
        let session = if runs {
            wait::connect(self.engine.locations(), id, Mode::Wait)?
        } else {
            None
        };
        let mut session = session.ok_or_else(|| conflict(format!("container {id} is not running")))?;
        session.resize(rows, columns).map_err(wait::session_error(id))?;
        self.tell(id, Happening::Resized { rows, columns })
    }
}
