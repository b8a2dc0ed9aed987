//! Whether the kernel has killed a process of a container for lack of memory, and what it was.

use super::kernel_log::{self, Victim};
use runtime::OomWatch;
use rustix::event::PollFlags;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// On cgroup version 1 the news comes before the kill is counted: so often it is looked again, and so long apart.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of one run.
#[derive(Debug, Default)]
pub(super) struct OutOfMemory {
    watch: Option<OomWatch>,
    kills: u64,
    looks: u32,
    look_at: Option<Instant>,
    /// When it was last seen that there are more.
    pub(super) last: Option<Instant>,
    /// The last that the kernel's log told of.
    pub(super) victim: Option<Victim>,
}

impl OutOfMemory {
    /// Begins to watch; what has happened before counts as news. Without a watch it is still seen at the end.
    pub(super) fn watch(&mut self, cgroup: &Path) {
        self.watch = OomWatch::begin(cgroup).unwrap_or_default();
        self.look_at = self.watch.as_ref().map(|_| Instant::now());
    }

    /// What to poll for.
    pub(super) fn news(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.watch.as_ref().map(OomWatch::news)
    }

    /// When to look again without news.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Looks, if there is reason to; says whether there have been more kills.
    pub(super) fn look(&mut self, news: bool, now: Instant) -> bool {
        if news {
            self.looks = LOOKS;
        } else if self.look_at.is_none_or(|at| now < at) {
            return false;
        }
        self.look_at = None;
        let Some(watch) = &self.watch else { return false };
        let Some(kills) = watch.kills() else {
            // Whoever took the cgroup away under us would have us look for ever.
            self.watch = None;
            return false;
        };
        let more = kills > self.kills;
        if more {
            self.looks = 0;
        } else if let Some(left) = self.looks.checked_sub(1) {
            self.looks = left;
            self.look_at = Some(now + PAUSE);
        }
        self.count(kills, now)
    }

    /// Takes the number of kills as it was at the end; says whether there were more than had been seen.
    pub(super) fn count(&mut self, kills: u64, now: Instant) -> bool {
        let more = kills > self.kills;
        if more {
            self.kills = kills;
            self.last = Some(now);
        }
        more
    }

    /// Whether there was any.
    pub(super) fn happened(&self) -> bool {
        self.kills > 0
    }

    /// Asks the kernel's log who it was.
    pub(super) fn ask(&mut self, container: &str, first: i32) {
        let known = self.victim.as_ref().map_or(0, |victim| victim.record);
        if let Some(victim) = kernel_log::last_victim(container, first, known) {
            self.victim = Some(victim);
        }
    }
}
