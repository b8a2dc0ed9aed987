//! Being told when the kernel kills a process of a cgroup for lack of memory.
//!
//! Version 2 makes `memory.events` readable with priority when a number in it rises (cgroup-v2.rst); version 1 writes to
//! an eventfd when the cgroup runs out of memory, which is a moment before the kill is counted
//! (cgroup-v1/memory.rst, section 10).

use super::directory::read_again;
use super::hierarchy::Version;
use super::usage::value_of;
use super::{Cgroup, Member};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::SysError;

/// A watch over one cgroup.
#[derive(Debug)]
pub struct OomWatch {
    /// Version 1: what becomes readable.
    event: Option<OwnedFd>,
    /// The file with the number of kills; on version 2 it is polled itself.
    counter: OwnedFd,
}

impl OomWatch {
    /// Watches the cgroup `path`; `None` where nobody counts its memory.
    pub fn begin(path: &Path) -> Result<Option<Self>, SysError> {
        let cgroup = Cgroup::open(path)?;
        let version_1 = cgroup
            .members
            .iter()
            .find(|member| member.hierarchy.version == Version::One && member.hierarchy.has_any(&["memory"]));
        if let Some(member) = version_1 {
            return Self::version_1(member).map(Some);
        }
        for member in cgroup
            .members
            .iter()
            .filter(|member| member.hierarchy.version == Version::Two)
        {
            match member.directory.file("memory.events", OFlags::RDONLY) {
                Err(error) if error.errno == rustix::io::Errno::NOENT => {}
                counter => {
                    let watch = Self {
                        event: None,
                        counter: counter?,
                    };
                    // It is readable with priority until it has been read.
                    watch.kills();
                    return Ok(Some(watch));
                }
            }
        }
        Ok(None)
    }

    fn version_1(member: &Member) -> Result<Self, SysError> {
        let counter = member.directory.file("memory.oom_control", OFlags::RDONLY)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(SysError::of("make an eventfd"))?;
        let words = format!("{} {}", event.as_raw_fd(), counter.as_raw_fd());
        member.directory.write("cgroup.event_control", &words)?;
        Ok(Self {
            event: Some(event),
            counter,
        })
    }

    /// What to poll for before [`OomWatch::kills`] is worth asking.
    pub fn news(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.event {
            Some(event) => (event.as_fd(), PollFlags::IN),
            None => (self.counter.as_fd(), PollFlags::PRI),
        }
    }

    /// Returns how often the kernel has killed a process of the cgroup, and takes note of the news. On version 1 the
    /// news may come a moment before the number. `None` when the cgroup is gone.
    pub fn kills(&self) -> Option<u64> {
        if let Some(event) = &self.event {
            // Nothing to read is no news.
            let mut count = [0; 8];
            rustix::io::read(event, &mut count).unwrap_or_default();
        }
        let text = read_again(&self.counter).ok()?;
        value_of(&text, "oom_kill")
    }
}
