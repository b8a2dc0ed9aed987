//! What came of a process: its session, its children, and theirs.

use crate::cgroups::Cgroup;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use sys::SysError;

/// How often the list of a family that keeps growing is made again before it is killed as it is.
const ROUNDS: usize = 100;

/// Stops, then kills, the family of the process `first` as far as it is in `cgroup`.
pub(crate) fn kill(first: i32, pidfd: BorrowedFd<'_>, cgroup: &Path) -> Result<(), SysError> {
    let gone = |result: Result<(), SysError>| match result {
        Err(error) if error.errno == Errno::SRCH => Ok(()),
        result => result,
    };
    let members = match Cgroup::open(cgroup).and_then(|cgroup| stop(first, pidfd, &cgroup)) {
        // Without a cgroup there is nobody else, and nobody but the process itself is certain.
        Err(error) if error.errno != Errno::NOENT => {
            gone(sys::process::send_signal(pidfd, Signal::KILL.as_raw()))?;
            return Err(error);
        }
        Err(_) => Vec::new(),
        Ok(members) => members,
    };
    for member in members {
        match pidfd_send_signal(&member, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(SysError::of("kill a process")(errno)),
        }
    }
    gone(sys::process::send_signal(pidfd, Signal::KILL.as_raw()))
}

/// Stops the whole family, so that nobody in it can fork; returns all but the first.
fn stop(first: i32, pidfd: BorrowedFd<'_>, cgroup: &Cgroup) -> Result<Vec<OwnedFd>, SysError> {
    match sys::process::send_signal(pidfd, Signal::STOP.as_raw()) {
        Err(error) if error.errno != Errno::SRCH => return Err(error),
        _ => {}
    }
    let mut stopped: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    for _round in 0..ROUNDS {
        let everybody = look(&cgroup.processes()?);
        let fresh: Vec<i32> = family(first, &everybody)
            .into_iter()
            .filter(|pid| !stopped.contains_key(pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            let Some(opened) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            else {
                continue;
            };
            // A number that has passed on to a stranger between the look and the opening is not this relative's.
            let still = look(&BTreeSet::from([pid]));
            if still.get(&pid) == everybody.get(&pid) && pidfd_send_signal(&opened, Signal::STOP).is_ok() {
                stopped.insert(pid, opened);
            }
        }
    }
    Ok(stopped.into_values().collect())
}

/// What `/proc/PID/stat` says of a process's relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relations {
    parent: i32,
    session: i32,
    started: u64,
}

/// Reads the relations of those processes that are there.
fn look(pids: &BTreeSet<i32>) -> BTreeMap<i32, Relations> {
    pids.iter()
        .filter_map(|&pid| {
            let bytes = sys::fs::read(Path::new(&format!("/proc/{pid}/stat")), 4096).ok()?;
            Some((pid, relations(&String::from_utf8_lossy(&bytes))?))
        })
        .collect()
}

/// Reads fields 4, 6 and 22 (proc_pid_stat(5)); the name before them may hold anything. A process that has ended and
/// only waits to be reaped is not there any more.
fn relations(stat: &str) -> Option<Relations> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Relations {
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Returns everybody in the session of `first` or descended from one who is, but not `first` itself.
fn family(first: i32, everybody: &BTreeMap<i32, Relations>) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([first]);
    loop {
        let before = family.len();
        for (&pid, relations) in everybody {
            if relations.session == first || family.contains(&relations.parent) {
                family.insert(pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    family.remove(&first);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_whatever_the_name() {
        let stat = "42 (a) b) S 7 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987 1 2";
        assert_eq!(
            relations(stat),
            Some(Relations {
                parent: 7,
                session: 40,
                started: 987
            })
        );
        assert_eq!(relations(&stat.replace(") S", ") Z")), None);
        assert_eq!(relations("42 (a"), None);
    }

    #[test]
    fn a_family_is_a_session_and_its_descendants() {
        let person = |parent, session| Relations {
            parent,
            session,
            started: 0,
        };
        let everybody = BTreeMap::from([
            (1, person(0, 1)),
            (10, person(0, 10)),
            (11, person(10, 10)),
            (12, person(11, 12)),
            (13, person(1, 10)),
            (14, person(13, 14)),
            (20, person(1, 1)),
        ]);
        assert_eq!(family(10, &everybody), BTreeSet::from([11, 12, 13, 14]));
        assert_eq!(family(99, &everybody), BTreeSet::new());
    }
}
