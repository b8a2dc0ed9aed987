//! `events`: what happens, as it happens, without a daemon to tell of it.
//!
//! Every event is a row, and every commit of every process goes through one file, the database's log. So a follower
//! asks inotify(7) for changes in the root directory, and the kernel wakes it when anybody commits. Those who commit do
//! nothing for it, and need not know of it: with no follower an event costs its row, with one the same. Between commits
//! a follower sleeps.
//!
//! The log is written a moment before its content counts as committed (SQLite then changes an index in shared memory,
//! which inotify does not see; with a sync in between, that moment is as long as the disk makes it). A follower that is
//! woken therefore looks at once, and again after one, two, four … milliseconds, until it has seen nothing new for a
//! while.

use super::{Event, Filter};
use crate::{Engine, EngineError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::SysError;

/// The first look after a wake, and the last: a disk may take seconds to sync.
pub(crate) const SOON: Duration = Duration::from_millis(1);
pub(crate) const LATE: Duration = Duration::from_secs(4);

/// Which events, and until when.
#[derive(Debug, Clone, Default)]
pub struct EventsRequest {
    /// Nanoseconds since 1970: tell what was recorded from then on, too.
    pub since: Option<i64>,
    /// Nanoseconds since 1970: end then. Without it there is no end.
    pub until: Option<i64>,
    /// Which are wanted.
    pub filter: Filter,
}

impl Engine {
    /// Tells `sink` of what happened and happens, in order, until the time is up, `sink` has enough, or nobody reads
    /// from `outlet` any more.
    pub fn follow_events(
        &self,
        request: &EventsRequest,
        outlet: Option<BorrowedFd<'_>>,
        sink: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        if let (Some(since), Some(until)) = (request.since, request.until)
            && since > until
        {
            return Err(EngineError::Invalid {
                message: "`since` time cannot be after `until` time".into(),
                hint: None,
            });
        }
        // From here on nothing escapes us: what is committed before the first look is seen by it.
        let watch = watch(&self.locations.root)?;
        let replays = request.since.is_some() || request.until.is_some();
        let mut number = if replays { 0 } else { self.last_event()? };
        let (from, to) = (
            request.since.unwrap_or(i64::MIN),
            request.until.unwrap_or(i64::MAX),
        );
        let mut pause = None;
        loop {
            let is_over = request.until.is_some_and(|until| super::now() >= until);
            let mut is_quiet = true;
            for (at, event) in self.events_after(number)? {
                number = at;
                is_quiet = false;
                let is_wanted = (from..=to).contains(&event.time) && request.filter.accepts(&event);
                if is_wanted && sink(&event).is_break() {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
            if !is_quiet {
                pause = Some(SOON);
            }
            let left = request.until.map(|until| {
                Duration::from_nanos(u64::try_from(until.saturating_sub(super::now())).unwrap_or(0))
            });
            pause = match wait(&watch, outlet, pause, left)? {
                Woken::Gone => return Ok(()),
                Woken::Changed => Some(SOON),
                Woken::TimeIsUp => pause.map(|pause| pause * 2).filter(|pause| *pause <= LATE),
            };
        }
    }
}

/// Makes a descriptor that can be read when somebody has written to the database.
pub(crate) fn watch(root: &Path) -> Result<OwnedFd, SysError> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(SysError::of("make an inotify descriptor"))?;
    inotify::add_watch(&watch, root, WatchFlags::MODIFY | WatchFlags::CREATE)
        .map_err(SysError::on("watch", root))?;
    Ok(watch)
}

enum Woken {
    /// Nobody reads any more.
    Gone,
    /// Somebody wrote.
    Changed,
    /// Nothing came in time.
    TimeIsUp,
}

/// Sleeps until somebody writes, at most for the shorter of the two times.
fn wait(
    watch: &OwnedFd,
    outlet: Option<BorrowedFd<'_>>,
    pause: Option<Duration>,
    left: Option<Duration>,
) -> Result<Woken, EngineError> {
    let longest = match (pause, left) {
        (Some(pause), Some(left)) => Some(pause.min(left)),
        (pause, left) => pause.or(left),
    };
    let deadline = longest.map(|longest| Instant::now() + longest);
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
        // A pipe without a reader reports an error, which nobody needs to ask for.
        fds.extend(outlet.map(|outlet| PollFd::from_borrowed_fd(outlet, PollFlags::empty())));
        let timeout = deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            .map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(Woken::TimeIsUp),
            Err(Errno::INTR) => continue,
            result => result.map_err(SysError::of("wait for events"))?,
        };
        if fds
            .get(1)
            .is_some_and(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
        {
            return Ok(Woken::Gone);
        }
        drain(watch)?;
        return Ok(Woken::Changed);
    }
}

/// Reads away what inotify has to say; that it says something is all we want to know.
pub(crate) fn drain(watch: &OwnedFd) -> Result<(), EngineError> {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(watch, &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::of("read from inotify")(errno).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Locations;

    fn engine(root: &Path) -> Engine {
        Engine::open(Locations {
            root: root.join("root"),
            run_root: root.join("run"),
            config: None,
        })
        .unwrap()
    }

    fn note(engine: &Engine, action: &str) {
        engine
            .database
            .write(|transaction| super::super::record(transaction, "container", action, "x", &[]))
            .unwrap();
    }

    #[test]
    fn another_process_s_commits_are_seen_in_order_and_the_past_only_on_demand() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (engine(directory.path()), engine(directory.path()));
        note(&theirs, "past");
        let began = super::super::now();
        let writer = std::thread::spawn(move || {
            // The follower may or may not have begun; either way it must see all three.
            for action in ["one", "two", "three"] {
                note(&theirs, action);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut seen = Vec::new();
        let request = EventsRequest {
            since: Some(began),
            ..EventsRequest::default()
        };
        ours.follow_events(&request, None, &mut |event| {
            seen.push(event.action.clone());
            if event.action == "three" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
        writer.join().unwrap();
        assert_eq!(seen, ["one", "two", "three"]);
        // A time that is over ends the stream without waiting.
        let mut all = Vec::new();
        let request = EventsRequest {
            since: Some(0),
            until: Some(super::super::now()),
            ..EventsRequest::default()
        };
        ours.follow_events(&request, None, &mut |event| {
            all.push(event.action.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(all, ["past", "one", "two", "three"]);
    }

    #[test]
    fn a_follower_whose_reader_left_ends() {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(directory.path());
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        engine
            .follow_events(&EventsRequest::default(), Some(writer.as_fd()), &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
    }
}
