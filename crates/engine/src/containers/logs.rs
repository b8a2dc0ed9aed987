//! `logs`: reading what the monitor wrote, and what containers log how.
//!
//! A reader looks at files and never speaks to the writer about them, so the slowest reader delays nobody. One that is so
//! slow that files are rotated away before it comes to them misses those.

mod attributes;
mod files;
pub(crate) mod options;
mod record;
mod stamp;
mod tag;

pub(super) use files::{Identity, compressed, numbered, unfinished};
pub(super) use record::{Encoder, Format, Source};
pub(super) use stamp::Clock;

use super::record::ContainerId;
use super::request::LogRequest;
use super::session::{Mode, Session, SessionEvent, is_gone};
use super::{Containers, wait};
use crate::EngineError;
use crate::events::now;
use files::LogFile;
use record::Record;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::SysError;

/// A piece of a log, one line or part of an overlong one.
#[derive(Debug, PartialEq, Eq)]
pub struct LogEntry<'l> {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Whether it came from standard error.
    pub stderr: bool,
    /// The bytes, newline included where there was one.
    pub bytes: &'l [u8],
    /// What `--log-opt labels=…`, `env=…` and `tag=…` put beside it, if it was asked for.
    pub details: BTreeMap<String, String>,
}

/// How often it is looked for more where the kernel has no more watches to give: nanoseconds.
const UNWATCHED: i64 = 100_000_000;

/// What a reader of a log is told.
#[derive(Debug, PartialEq, Eq)]
pub enum LogEvent<'l> {
    /// There is an entry.
    Entry(LogEntry<'l>),
    /// There is no more for now: what has been kept back should be shown.
    Pause,
}

/// Returns the file that a container with Docker's format logs to; its directory is Docker's too, so programs that look
/// for `containers/*/*-json.log` find it.
pub fn json_file(directory: &Path, id: &ContainerId) -> PathBuf {
    directory.join(format!("{id}-json.log"))
}

/// A container's log, open. It needs the engine no more.
#[derive(Debug)]
pub struct LogStream {
    request: LogRequest,
    path: PathBuf,
    format: Format,
    files: VecDeque<LogFile>,
    watch: Option<Watch>,
}

impl Containers<'_> {
    /// Calls `each` with the entries in order, until it returns `false` or the log ends: with `follow`, when the
    /// container has stopped, or when `until` has passed.
    pub fn logs(
        &self,
        id: &ContainerId,
        request: &LogRequest,
        each: &mut dyn FnMut(LogEvent<'_>) -> bool,
    ) -> Result<(), EngineError> {
        self.open_logs(id, request)?.read(None, each)
    }

    /// Opens a log at its first entry that is wanted.
    pub fn open_logs(&self, id: &ContainerId, request: &LogRequest) -> Result<LogStream, EngineError> {
        let record = self.record(id)?;
        let locations = self.engine.locations();
        let directory = locations.container_directory(id);
        let (path, format) =
            options::readable_file(&record.settings, &directory, id).ok_or(EngineError::LogsUnreadable)?;
        let failed = |error: io::Error| EngineError::from(SysError::io("read the log", &path, &error));
        // Before anything is read: what is written afterwards is then told of.
        let mut watch = None;
        if request.follow
            && let Some(session) = wait::connect(locations, id, Mode::Wait)?
        {
            watch = Some(Watch {
                // A user may have so many of these and no more. Then it is looked from time to time.
                inotify: watch_directory(path.parent().unwrap_or(&directory)).ok(),
                session,
                until: request.until,
            });
        }
        let mut files = files::open_all(&path, format).map_err(failed)?;
        if let Some(tail) = request.tail {
            files::skip_to_tail(&mut files, tail).map_err(failed)?;
        }
        Ok(LogStream {
            request: request.clone(),
            files: files.into(),
            path,
            format,
            watch,
        })
    }
}

impl LogStream {
    /// Ends before a moment, given in nanoseconds since 1970.
    pub fn end_before(&mut self, moment: i64) {
        self.request.until = Some(moment.saturating_sub(1));
    }

    /// Calls `each` as [`Containers::logs`] does, and ends, too, when nobody reads from `outlet` any more.
    pub fn read(
        self,
        outlet: Option<BorrowedFd<'_>>,
        each: &mut dyn FnMut(LogEvent<'_>) -> bool,
    ) -> Result<(), EngineError> {
        let Self {
            request,
            path,
            format,
            mut files,
            mut watch,
        } = self;
        let failed = |error: io::Error| EngineError::from(SysError::io("read the log", &path, &error));
        let mut reader = Reader {
            since: request.since,
            request: &request,
        };
        let Some(mut current) = files.pop_front() else {
            return Ok(());
        };
        loop {
            if !reader.read(&mut current, each).map_err(failed)? {
                return Ok(());
            }
            if let Some(next) = files.pop_front() {
                current = next;
                continue;
            }
            let Some(watching) = &mut watch else {
                return Ok(());
            };
            // Rotated: what came after what we have is in the files after it.
            let newer = files::open_newer(&path, format, &current).map_err(failed)?;
            if !newer.is_empty() {
                // The monitor wrote to it until it moved it.
                if !reader.read(&mut current, each).map_err(failed)? {
                    return Ok(());
                }
                files = newer.into();
                continue;
            }
            if !each(LogEvent::Pause) {
                return Ok(());
            }
            match watching.wait(outlet).map_err(failed)? {
                Woken::More => {}
                Woken::Last => watch = None,
                Woken::Unread => return Ok(()),
            }
        }
    }
}

/// What tells that there is more to read, or that there will be no more.
#[derive(Debug)]
struct Watch {
    inotify: Option<OwnedFd>,
    session: Session,
    until: Option<i64>,
}

enum Woken {
    /// There may be more.
    More,
    /// There will be no more that is wanted than there is now.
    Last,
    /// Nobody reads any more.
    Unread,
}

impl Watch {
    /// Waits for a change.
    fn wait(&mut self, outlet: Option<BorrowedFd<'_>>) -> io::Result<Woken> {
        let mut set = vec![PollFd::from_borrowed_fd(self.session.as_fd(), PollFlags::IN)];
        // A pipe without a reader reports an error, which nobody needs to ask for.
        set.extend(outlet.map(|outlet| PollFd::from_borrowed_fd(outlet, PollFlags::empty())));
        set.extend(
            self.inotify
                .iter()
                .map(|inotify| PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN)),
        );
        let left = self.until.map(|until| until.saturating_sub(now()).max(0));
        let glance = self.inotify.is_none().then_some(UNWATCHED);
        let timeout = left.into_iter().chain(glance).min().map(|left| Timespec {
            tv_sec: left / 1_000_000_000,
            tv_nsec: left % 1_000_000_000,
        });
        match poll(&mut set, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left <= glance.unwrap_or(i64::MAX)) => return Ok(Woken::Last),
            Err(rustix::io::Errno::INTR) | Ok(0) => return Ok(Woken::More),
            result => result?,
        };
        if outlet.is_some() && !set[1].revents().is_empty() {
            return Ok(Woken::Unread);
        }
        let told = !set[0].revents().is_empty();
        if let Some(inotify) = &self.inotify {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(inotify, &mut buffer);
            while events.next().is_ok() {}
        }
        if told {
            return match self.session.next() {
                Ok(Some(SessionEvent::Exited(_)) | None) => Ok(Woken::Last),
                Ok(Some(_)) => Ok(Woken::More),
                Err(error) if is_gone(&error) => Ok(Woken::Last),
                Err(error) => Err(error),
            };
        }
        Ok(Woken::More)
    }
}

fn watch_directory(directory: &Path) -> Result<OwnedFd, EngineError> {
    let failed = |errno| SysError::on("watch", directory)(errno);
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let inotify = inotify::init(flags).map_err(failed)?;
    let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&inotify, directory, wanted).map_err(failed)?;
    Ok(inotify)
}

struct Reader<'r> {
    request: &'r LogRequest,
    /// Until an entry has been found that is not older: the host's clock may have been set back after that.
    since: Option<i64>,
}

impl Reader<'_> {
    /// Reads to the end of the file; `false` if nobody wants more.
    fn read(&mut self, file: &mut LogFile, each: &mut dyn FnMut(LogEvent<'_>) -> bool) -> io::Result<bool> {
        file.read(&mut |record| self.deliver(&record, each))
    }

    fn deliver(&mut self, record: &Record<'_>, each: &mut dyn FnMut(LogEvent<'_>) -> bool) -> bool {
        let request = self.request;
        if self.since.is_some_and(|since| record.time < since) {
            return true;
        }
        self.since = None;
        if request.until.is_some_and(|until| record.time > until) {
            return false;
        }
        let stderr = record.source == Source::Stderr;
        if !(if stderr { request.stderr } else { request.stdout }) {
            return true;
        }
        each(LogEvent::Entry(LogEntry {
            time: record.time,
            stderr,
            bytes: &record.bytes,
            details: if request.details {
                record::read_attributes(&record.attributes)
            } else {
                BTreeMap::new()
            },
        }))
    }
}
