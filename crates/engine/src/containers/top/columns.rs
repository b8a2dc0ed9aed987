//! The columns of ps(1): what they are called, what stands above them, and how their cells are written.

use super::process::Process;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use sys::SysError;

/// A column that was asked for.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) title: String,
    write: Write,
}

/// Writes a cell.
type Write = fn(&Process, &Host) -> String;

impl Column {
    /// Finds a column by one of the names that ps(1) has for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (_, title, write) = COLUMNS.iter().find(|(names, ..)| names.contains(&name))?;
        Some(Self {
            title: (*title).to_owned(),
            write: *write,
        })
    }

    /// Writes the cell of a process.
    pub(super) fn cell(&self, process: &Process, host: &Host) -> String {
        (self.write)(process, host)
    }
}

/// What the cells need to know of the host.
#[derive(Debug)]
pub(super) struct Host {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    /// Seconds since 1970.
    now: i64,
    /// Seconds since 1970.
    booted: i64,
    ticks_per_second: u64,
    page: u64,
    memory: u64,
    zone: TimeZone,
}

impl Host {
    pub(super) fn look() -> Result<Self, SysError> {
        Ok(Self {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
            now: Timestamp::now().as_second(),
            booted: number_in("/proc/stat", "btime ")?,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page: rustix::param::page_size() as u64,
            memory: u64::try_from(number_in("/proc/meminfo", "MemTotal:")?).unwrap_or(0) * 1024,
            zone: TimeZone::system(),
        })
    }

    fn seconds(&self, ticks: u64) -> u64 {
        ticks / self.ticks_per_second
    }

    /// When a process began, seconds since 1970.
    fn start(&self, process: &Process) -> i64 {
        let after = i64::try_from(self.seconds(process.started)).unwrap_or(0);
        self.booted.saturating_add(after)
    }

    /// How many seconds ago a process began.
    fn age(&self, process: &Process) -> u64 {
        u64::try_from(self.now.saturating_sub(self.start(process))).unwrap_or(0)
    }

    /// Processor time by time alive, in thousandths.
    fn share(&self, process: &Process) -> u64 {
        match self.age(process) {
            0 => 0,
            age => process.ticks.saturating_mul(1000) / self.ticks_per_second / age,
        }
    }

    fn format(&self, second: i64, format: &str) -> String {
        Timestamp::from_second(second).map_or_else(
            |_| "?".to_owned(),
            |time| time.to_zoned(self.zone.clone()).strftime(format).to_string(),
        )
    }
}

/// Reads names by numbers from a file of colons; one that is not there names nobody.
fn names(path: &str) -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    parse_names(&text)
}

fn parse_names(text: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
            && let Ok(number) = number.parse()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn number_in(path: &str, key: &str) -> Result<i64, SysError> {
    let text = std::fs::read_to_string(path).map_err(|error| SysError::io("read", path, &error))?;
    let found = text.lines().find_map(|line| line.strip_prefix(key));
    let number = found.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| SysError::on("parse", path)(rustix::io::Errno::INVAL))
}

/// All columns: their names, their title, their cells.
const COLUMNS: &[(&[&str], &str, Write)] = &[
    (&["%cpu", "pcpu"], "%CPU", |p, host| tenths(host.share(p))),
    (&["%mem", "pmem"], "%MEM", |p, host| {
        let used = p.resident.saturating_mul(host.page).saturating_mul(1000);
        tenths(used.checked_div(host.memory).unwrap_or(0))
    }),
    (&["args", "command"], "COMMAND", |p, _| command(p)),
    (&["bsdstart"], "START", |p, host| start_time(p, host)),
    (&["bsdtime"], "TIME", |p, host| {
        let seconds = host.seconds(p.ticks);
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }),
    (&["c"], "C", |p, host| (host.share(p) / 10).min(99).to_string()),
    (&["cgroup"], "CGROUP", |p, _| p.cgroup.clone()),
    (&["cls", "class", "policy"], "CLS", |p, _| {
        class(p.policy).to_owned()
    }),
    (&["cmd"], "CMD", |p, _| command(p)),
    (&["comm", "ucomm"], "COMMAND", |p, _| name(p)),
    (&["cputime", "time"], "TIME", |p, host| {
        clock(host.seconds(p.ticks))
    }),
    (&["cputimes", "times"], "TIME", |p, host| {
        host.seconds(p.ticks).to_string()
    }),
    (&["egid", "gid"], "GID", |p, _| p.effective_group.to_string()),
    (&["egroup", "group"], "GROUP", |p, host| {
        named(&host.groups, p.effective_group)
    }),
    (&["etime"], "ELAPSED", |p, host| elapsed(host.age(p))),
    (&["etimes"], "ELAPSED", |p, host| host.age(p).to_string()),
    (&["euid", "uid"], "UID", |p, _| p.effective_user.to_string()),
    (&["euser", "uname", "user"], "USER", |p, host| {
        named(&host.users, p.effective_user)
    }),
    (&["f", "flag", "flags"], "F", |p, _| {
        format!("{:x}", (p.flags >> 6) & 0x7)
    }),
    (&["lstart"], "STARTED", |p, host| {
        host.format(host.start(p), "%a %b %e %H:%M:%S %Y")
    }),
    (&["maj_flt", "majflt"], "MAJFL", |p, _| p.major_faults.to_string()),
    (&["min_flt", "minflt"], "MINFL", |p, _| p.minor_faults.to_string()),
    (&["ni", "nice"], "NI", |p, _| p.nice.to_string()),
    (&["nlwp", "thcount"], "NLWP", |p, _| p.threads.to_string()),
    (&["nspid"], "NSPID", |p, _| p.inner_pid.to_string()),
    (&["pgid", "pgrp"], "PGID", |p, _| p.group.to_string()),
    (&["pid", "tgid"], "PID", |p, _| p.pid.to_string()),
    (&["ppid"], "PPID", |p, _| p.parent.to_string()),
    (&["pri"], "PRI", |p, _| (39 - p.priority).to_string()),
    (&["opri", "priority"], "PRI", |p, _| (60 + p.priority).to_string()),
    (&["psr"], "PSR", |p, _| p.processor.to_string()),
    (&["rgid"], "RGID", |p, _| p.real_group.to_string()),
    (&["rgroup"], "RGROUP", |p, host| named(&host.groups, p.real_group)),
    (&["rss", "rssize", "rsz"], "RSS", |p, host| {
        kilobytes(p, host).to_string()
    }),
    (&["ruid"], "RUID", |p, _| p.real_user.to_string()),
    (&["ruser"], "RUSER", |p, host| named(&host.users, p.real_user)),
    (&["s", "state"], "S", |p, _| p.state.to_string()),
    (&["sess", "session"], "SESS", |p, _| p.session.to_string()),
    (&["sid"], "SID", |p, _| p.session.to_string()),
    (&["start"], "STARTED", |p, host| started(p, host)),
    (&["start_time"], "START", |p, host| start_time(p, host)),
    (&["stat"], "STAT", |p, _| flags_of_state(p)),
    (&["stime"], "STIME", |p, host| start_time(p, host)),
    (&["sz"], "SZ", |p, host| {
        (p.virtual_size / host.page.max(1)).to_string()
    }),
    (&["tname"], "TTY", |p, _| terminal(p.terminal)),
    (&["tpgid"], "TPGID", |p, _| p.foreground_group.to_string()),
    (&["tt", "tty"], "TT", |p, _| terminal(p.terminal)),
    (&["ucmd"], "CMD", |p, _| name(p)),
    (&["vsize", "vsz"], "VSZ", |p, _| {
        (p.virtual_size / 1024).to_string()
    }),
    (&["wchan"], "WCHAN", |p, _| p.waits_for.clone()),
    // Not names of ps(1), but what stands in two of its own lists.
    (&["ADDR"], "ADDR", |_, _| "-".to_owned()),
    (&["UID"], "UID", |p, host| named(&host.users, p.effective_user)),
];

fn named(names: &BTreeMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or_else(|| number.to_string())
}

fn name(process: &Process) -> String {
    if process.state == 'Z' {
        return format!("{} <defunct>", process.name);
    }
    process.name.clone()
}

fn command(process: &Process) -> String {
    if process.arguments.is_empty() {
        let dead = if process.state == 'Z' { " <defunct>" } else { "" };
        return format!("[{}]{dead}", process.name);
    }
    process.arguments.clone()
}

fn kilobytes(process: &Process, host: &Host) -> u64 {
    process.resident.saturating_mul(host.page) / 1024
}

/// Thousandths as per cent with one digit after the point, as long as there is room for it.
fn tenths(thousandths: u64) -> String {
    if thousandths > 999 {
        return (thousandths / 10).to_string();
    }
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

/// `[days-]hours:minutes:seconds`.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = if days > 0 {
        format!("{days}-")
    } else {
        String::new()
    };
    format!(
        "{days}{:02}:{:02}:{:02}",
        rest / 3600,
        rest % 3600 / 60,
        rest % 60
    )
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: u64) -> String {
    if seconds < 3600 {
        return format!("{:02}:{:02}", seconds / 60, seconds % 60);
    }
    clock(seconds)
}

/// The time of one that began today, the day of one that began this year, or the year.
fn start_time(process: &Process, host: &Host) -> String {
    let start = host.start(process);
    let same = |format| host.format(start, format) == host.format(host.now, format);
    host.format(
        start,
        match () {
            () if same("%Y-%j") => "%H:%M",
            () if same("%Y") => "%b%d",
            () => "%Y",
        },
    )
}

fn started(process: &Process, host: &Host) -> String {
    let format = if host.age(process) < 86_400 {
        "%H:%M:%S"
    } else {
        "%b %d"
    };
    host.format(host.start(process), format)
}

fn flags_of_state(process: &Process) -> String {
    let mut text = String::from(process.state);
    let further = [
        ('<', process.nice < 0),
        ('N', process.nice > 0),
        ('L', process.locked > 0),
        ('s', process.session == process.pid),
        ('l', process.threads > 1),
        ('+', process.foreground_group == process.group),
    ];
    text.extend(
        further
            .iter()
            .filter(|(_, holds)| *holds)
            .map(|(letter, _)| letter),
    );
    text
}

/// A scheduling policy's name (sched(7)).
fn class(policy: u64) -> &'static str {
    match policy {
        0 => "TS",
        1 => "FF",
        2 => "RR",
        3 => "B",
        5 => "IDL",
        6 => "DLN",
        _ => "?",
    }
}

/// A terminal's name by its device number as `/proc/PID/stat` has it (Documentation/admin-guide/devices.txt).
fn terminal(device: u32) -> String {
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xfff00);
    match (major, minor) {
        (0, _) => "?".to_owned(),
        (4, 0..64) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (136..144, _) => format!("pts/{}", (major - 136) * 256 + minor),
        _ => format!("{major},{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            users: parse_names("root:x:0:0::/:/bin/sh\n# comment\nwww:x:33:33::/:\n"),
            now: 1_700_000_000,
            booted: 1_699_990_000,
            ticks_per_second: 100,
            page: 4096,
            memory: 4096 * 1000,
            zone: TimeZone::UTC,
            groups: BTreeMap::new(),
        }
    }

    #[test]
    fn cells_are_written_as_ps_writes_them() {
        let process = Process {
            pid: 12,
            session: 12,
            group: 12,
            foreground_group: -1,
            terminal: (136 << 8) | 3,
            state: 'S',
            name: "sleep".into(),
            arguments: "sleep 100".into(),
            ticks: 9000 * 60,
            started: 100_000,
            threads: 2,
            nice: -1,
            priority: 19,
            virtual_size: 8 << 20,
            resident: 25,
            effective_user: 33,
            ..Process::default()
        };
        for (name, title, cell) in [
            ("pid", "PID", "12"),
            ("user", "USER", "www"),
            ("UID", "UID", "www"),
            ("uid", "UID", "33"),
            ("tname", "TTY", "pts/3"),
            ("stat", "STAT", "S<sl"),
            ("time", "TIME", "01:30:00"),
            ("bsdtime", "TIME", "90:00"),
            ("%cpu", "%CPU", "60.0"),
            ("c", "C", "60"),
            ("pmem", "%MEM", "2.5"),
            ("vsz", "VSZ", "8192"),
            ("rss", "RSS", "100"),
            ("sz", "SZ", "2048"),
            ("etime", "ELAPSED", "02:30:00"),
            ("stime", "STIME", "19:43"),
            ("comm", "COMMAND", "sleep"),
            ("args", "COMMAND", "sleep 100"),
            ("cmd", "CMD", "sleep 100"),
            ("pri", "PRI", "20"),
        ] {
            let column = Column::named(name).unwrap();
            assert_eq!(
                (column.title.as_str(), column.cell(&process, &host())),
                (title, cell.to_owned()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_dead_process_has_a_name_only() {
        let process = Process {
            state: 'Z',
            name: "sh".into(),
            ..Process::default()
        };
        assert_eq!(command(&process), "[sh] <defunct>");
    }

    #[test]
    fn times_grow() {
        assert_eq!(clock(100_000), "1-03:46:40");
        assert_eq!(elapsed(61), "01:01");
        assert_eq!(tenths(1234), "123");
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal((4 << 8) | 0x41), "ttyS1");
        let long_ago = Process {
            started: 0,
            ..Process::default()
        };
        let mut host = host();
        host.booted -= 86_400 * 3;
        assert_eq!(start_time(&long_ago, &host), "Nov11");
        host.booted -= 86_400 * 365;
        assert_eq!(start_time(&long_ago, &host), "2022");
    }

    #[test]
    fn names_are_found_once() {
        for (index, (names, ..)) in COLUMNS.iter().enumerate() {
            for name in *names {
                let first = COLUMNS.iter().position(|(names, ..)| names.contains(name));
                assert_eq!(first, Some(index), "{name}");
            }
        }
    }
}
