//! One process, as `/proc/PID` tells of it (proc_pid_stat(5), proc_pid_status(5)).

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use sys::SysError;

/// More of a command line is not shown; the kernel would give as much as the process likes.
const LONGEST: usize = 64 << 10;

/// A process of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// Device number of the controlling terminal; 0 is none.
    pub(super) terminal: u32,
    pub(super) foreground_group: i32,
    pub(super) flags: u64,
    pub(super) state: char,
    /// Program's name, at most 15 bytes.
    pub(super) name: String,
    /// Program and arguments; empty for a process that has none any more.
    pub(super) arguments: String,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Clock ticks of processor time.
    pub(super) ticks: u64,
    /// Clock ticks between the boot and its start.
    pub(super) started: u64,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Bytes of address space.
    pub(super) virtual_size: u64,
    /// Pages of memory in use.
    pub(super) resident: u64,
    /// Pages locked in memory, in kilobytes.
    pub(super) locked: u64,
    pub(super) processor: u64,
    pub(super) policy: u64,
    pub(super) real_user: u32,
    pub(super) effective_user: u32,
    pub(super) real_group: u32,
    pub(super) effective_group: u32,
    /// Its number in the innermost pid namespace.
    pub(super) inner_pid: i32,
    /// What it waits for in the kernel.
    pub(super) waits_for: String,
    pub(super) cgroup: String,
}

/// Reads a process; `None` if it is gone.
pub(super) fn read(pid: i32) -> Result<Option<Process>, SysError> {
    match read_all(pid) {
        Ok(process) => Ok(Some(process)),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(errno) => Err(SysError::on("read the process", format!("/proc/{pid}"))(errno)),
    }
}

fn read_all(pid: i32) -> Result<Process, Errno> {
    // All files are those of one process, whoever gets its number afterwards.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
    let mut process = Process {
        pid,
        ..Process::default()
    };
    parse_stat(&text(&directory, "stat")?, &mut process).ok_or(Errno::INVAL)?;
    parse_status(&text(&directory, "status")?, &mut process);
    process.arguments = arguments(&file(&directory, "cmdline")?);
    // Both are for the sake of completeness: a kernel may be built without them.
    process.waits_for = match text(&directory, "wchan") {
        Ok(name) if name != "0" && !name.is_empty() => name,
        _ => "-".to_owned(),
    };
    process.cgroup = text(&directory, "cgroup").map_or_else(
        |_| "-".to_owned(),
        |text| printable(&text.lines().collect::<Vec<_>>().join(",")),
    );
    Ok(process)
}

fn file(directory: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    let opened = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < LONGEST {
        match rustix::io::read(&opened, &mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(bytes)
}

fn text(directory: &OwnedFd, name: &str) -> Result<String, Errno> {
    Ok(String::from_utf8_lossy(&file(directory, name)?).into_owned())
}

/// The second field is the program's name in parentheses and may hold anything, parentheses and blanks too.
fn parse_stat(text: &str, process: &mut Process) -> Option<()> {
    let (before, after) = text.rsplit_once(')')?;
    process.name = printable(before.split_once('(')?.1);
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // The numbers are the manual's; the third field is the first of these.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let count = |number: usize| field(number).parse::<u64>().unwrap_or(0);
    let signed = |number: usize| field(number).parse::<i64>().unwrap_or(0);
    let pid = |number: usize| field(number).parse::<i32>().unwrap_or(0);
    process.state = field(3).chars().next()?;
    process.parent = pid(4);
    process.group = pid(5);
    process.session = pid(6);
    process.terminal = u32::try_from(signed(7)).unwrap_or(0);
    process.foreground_group = pid(8);
    process.flags = count(9);
    process.minor_faults = count(10);
    process.major_faults = count(12);
    process.ticks = count(14).saturating_add(count(15));
    process.priority = signed(18);
    process.nice = signed(19);
    process.threads = count(20);
    process.started = count(22);
    process.virtual_size = count(23);
    process.resident = count(24);
    process.processor = count(39);
    process.policy = count(41);
    Some(())
}

fn parse_status(text: &str, process: &mut Process) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let number = |index: usize| {
            let word = value.split_ascii_whitespace().nth(index);
            word.and_then(|word| word.parse::<u32>().ok()).unwrap_or(0)
        };
        match key {
            "Uid" => (process.real_user, process.effective_user) = (number(0), number(1)),
            "Gid" => (process.real_group, process.effective_group) = (number(0), number(1)),
            "VmLck" => process.locked = u64::from(number(0)),
            "NSpid" => {
                let last = value.split_ascii_whitespace().next_back();
                process.inner_pid = last.and_then(|last| last.parse().ok()).unwrap_or(process.pid);
            }
            _ => {}
        }
    }
}

/// Arguments are separated by zeros.
fn arguments(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let words: Vec<String> = bytes[..end]
        .split(|&byte| byte == 0)
        .map(|word| printable(&String::from_utf8_lossy(word)))
        .collect();
    if end == 0 { String::new() } else { words.join(" ") }
}

/// A process chooses its name and its arguments, and they go to somebody's terminal: nothing in them may act on it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "42 (a) b(\x1b[1m) S 1 42 7 34816 42 4194560 5 0 6 0 10 20 0 0 20 -5 3 0 1000 4096000 100 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0";
        let mut process = Process::default();
        parse_stat(line, &mut process).unwrap();
        assert_eq!(process.name, "a) b(?[1m");
        assert_eq!((process.state, process.parent, process.session), ('S', 1, 7));
        assert_eq!((process.ticks, process.started, process.nice), (30, 1000, -5));
        assert_eq!((process.virtual_size, process.resident), (4_096_000, 100));
        assert_eq!((process.processor, process.threads), (1, 3));
    }

    #[test]
    fn the_effective_user_and_the_inner_pid_are_found() {
        let mut process = Process::default();
        let text = "Name:\tsh\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t99\t7\nVmLck:\t    12 kB\n";
        parse_status(text, &mut process);
        assert_eq!((process.real_user, process.effective_user), (1, 2));
        assert_eq!((process.real_group, process.effective_group), (5, 6));
        assert_eq!((process.inner_pid, process.locked), (7, 12));
    }

    #[test]
    fn arguments_are_joined_and_cannot_act_on_a_terminal() {
        assert_eq!(arguments(b"sh\0-c\0a b\0\0"), "sh -c a b");
        assert_eq!(arguments(b""), "");
        assert_eq!(arguments(b"x\x1b[2J\ny\0"), "x?[2J?y");
    }

    #[test]
    fn this_process_can_be_read() {
        let us = i32::try_from(std::process::id()).unwrap();
        let read = read(us).unwrap().unwrap();
        assert_eq!(
            read.parent,
            i32::try_from(std::os::unix::process::parent_id()).unwrap()
        );
        assert_eq!(super::read(i32::MAX).unwrap(), None);
    }
}
