//! Whom the kernel killed for lack of memory: it says so in its log, and nowhere else.
//!
//! Reading `/dev/kmsg` gives one record a call (Documentation/ABI/testing/dev-kmsg). Where it cannot be read, or what
//! it said is gone, nothing is known.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// The longest record that the kernel gives.
const LONGEST: usize = 8192;

/// A process that was killed for lack of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its name, of at most 15 bytes.
    pub(super) process: String,
    /// Whether the host was short, not a cgroup at its limit.
    pub(super) by_host: bool,
    /// Which record told; they rise.
    pub(super) record: u64,
}

/// Finds the last process killed in the cgroup that has `container` in its path, or the process `first`, told of
/// after the record `after`.
pub(super) fn last_victim(container: &str, first: i32, after: u64) -> Option<Victim> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = openat(CWD, "/dev/kmsg", flags, Mode::empty()).ok()?;
    let mut last = None;
    let mut buffer = [0; LONGEST];
    loop {
        match rustix::io::read(&log, &mut buffer) {
            // It was overwritten while we read; the next one is there.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(_) | Ok(0) => return last,
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                last = victim(&text, container, first)
                    .filter(|victim| victim.record > after)
                    .or(last);
            }
        }
    }
}

/// Reads a record: `priority,number,time,flags;text`.
fn victim(text: &str, container: &str, first: i32) -> Option<Victim> {
    let (head, text) = text.split_once(';')?;
    let text = text.lines().next()?;
    let record = head.split(',').nth(1)?.parse().ok()?;
    if let Some(rest) = text.strip_prefix("oom-kill:") {
        // A process may have given itself any name, so it is what lies between the first and the last of its marks.
        let (before, rest) = rest.split_once(",task=")?;
        let (process, _) = rest.rsplit_once(",pid=")?;
        let (_, cgroup) = before.split_once("task_memcg=")?;
        return cgroup.contains(container).then(|| Victim {
            process: process.to_owned(),
            by_host: before.split(',').any(|word| word == "global_oom"),
            record,
        });
    }
    // When there is much of it, this is all that the kernel says.
    let (kind, rest) = text.split_once(": Killed process ")?;
    let (pid, rest) = rest.split_once(" (")?;
    let (process, _) = rest.rsplit_once(')')?;
    (kind.to_ascii_lowercase().ends_with("out of memory") && pid.parse() == Ok(first)).then(|| Victim {
        process: process.to_owned(),
        by_host: kind == "Out of memory",
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_records_are_read() {
        let summary = "6,100,5000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
            oom_memcg=/coracle-1/abc,task_memcg=/coracle-1/abc,task=a,pid=b (c,pid=77,uid=0\n SUBSYSTEM=mm\n";
        let found = |text: &str| {
            victim(text, "abc", 42).map(|victim| (victim.process, victim.by_host, victim.record))
        };
        assert_eq!(found(summary), Some(("a,pid=b (c".to_owned(), false, 100)));
        assert_eq!(
            found(&summary.replace("task_memcg=/coracle-1/abc", "task_memcg=/other")),
            None
        );
        let host = summary.replace("oom_memcg=/coracle-1/abc", "global_oom");
        assert_eq!(found(&host), Some(("a,pid=b (c".to_owned(), true, 100)));
        let killed =
            "3,101,5001,-;Memory cgroup out of memory: Killed process 42 (tail) total-vm:10kB, UID:0\n";
        assert_eq!(found(killed), Some(("tail".to_owned(), false, 101)));
        assert_eq!(found(&killed.replace(" 42 ", " 43 ")), None);
        assert_eq!(found("6,102,5002,-;eth0: link up\n"), None);
        assert_eq!(found("nonsense"), None);
    }
}
