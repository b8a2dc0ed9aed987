//! What a cgroup's files tell beyond [`Usage`](super::Usage), in the kernel's own words: for those who compute with it.

use super::directory::Directory;
use super::hierarchy::Version;
use std::collections::BTreeMap;
use sys::SysError;

/// All that the kernel counts of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The lines of `memory.stat`.
    pub memory: BTreeMap<String, u64>,
    /// Times that the memory limit was hit (version 1), or that memory was short for good (version 2).
    pub memory_failures: u64,
    /// Nanoseconds in user mode.
    pub cpu_user: u64,
    /// Nanoseconds by processor; version 2 does not tell.
    pub cpu_by_processor: Vec<u64>,
    /// Periods in which the processor time was limited.
    pub periods: u64,
    /// Of those, in how many the limit was reached.
    pub throttled_periods: u64,
    /// Nanoseconds for which processes had to wait.
    pub throttled_time: u64,
    /// Bytes by device and operation.
    pub io_bytes: Vec<DeviceCount>,
    /// Operations by device and kind, where they are told apart (version 1).
    pub io_operations: Vec<DeviceCount>,
}

/// A count of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCount {
    /// The device's number.
    pub major: u64,
    /// The device's number.
    pub minor: u64,
    /// `Read`, `Write`, … on version 1; `read`, `write` on version 2.
    pub operation: String,
    /// How many, or how much.
    pub value: u64,
}

/// Adds to `statistics` what the files of one hierarchy tell.
pub(super) fn add(
    statistics: &mut Statistics,
    version: Version,
    directory: &Directory,
) -> Result<(), SysError> {
    if let Some(text) = directory.read_existing("memory.stat")? {
        statistics.memory = pairs(&text).map(|(key, value)| (key.to_owned(), value)).collect();
    }
    match version {
        Version::One => one(statistics, directory),
        Version::Two => two(statistics, directory),
    }
}

fn one(statistics: &mut Statistics, directory: &Directory) -> Result<(), SysError> {
    let number = |name| -> Result<Option<u64>, SysError> {
        let text = directory.read_existing(name)?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    };
    if let Some(failures) = number("memory.failcnt")? {
        statistics.memory_failures = failures;
    }
    if let Some(user) = number("cpuacct.usage_user")? {
        statistics.cpu_user = user;
    }
    if let Some(text) = directory.read_existing("cpuacct.usage_percpu")? {
        let numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        statistics.cpu_by_processor = numbers.collect();
    }
    if let Some(text) = directory.read_existing("cpu.stat")? {
        throttling(statistics, &text);
    }
    // As with the sums: which of the two counts depends on the policy.
    for (names, into) in [
        (
            [
                "blkio.throttle.io_service_bytes_recursive",
                "blkio.throttle.io_service_bytes",
            ],
            &mut statistics.io_bytes,
        ),
        (
            [
                "blkio.throttle.io_serviced_recursive",
                "blkio.throttle.io_serviced",
            ],
            &mut statistics.io_operations,
        ),
    ] {
        for name in names {
            if let Some(text) = directory.read_existing(name)? {
                *into = text.lines().filter_map(device_line).collect();
                break;
            }
        }
    }
    Ok(())
}

fn two(statistics: &mut Statistics, directory: &Directory) -> Result<(), SysError> {
    if let Some(text) = directory.read_existing("memory.events")? {
        statistics.memory_failures = super::usage::value_of(&text, "oom").unwrap_or(0);
    }
    if let Some(text) = directory.read_existing("cpu.stat")? {
        // Beside version 1 this counts only what is in the tree of version 2.
        let user = super::usage::value_of(&text, "user_usec").unwrap_or(0);
        statistics.cpu_user = statistics.cpu_user.max(user.saturating_mul(1000));
        throttling(statistics, &text);
    }
    if let Some(text) = directory.read_existing("io.stat")? {
        for line in text.lines() {
            let mut words = line.split(' ');
            let Some((major, minor)) = words.next().and_then(device) else {
                continue;
            };
            for word in words {
                let (operation, value) = match word.split_once('=') {
                    Some(("rbytes", value)) => ("read", value),
                    Some(("wbytes", value)) => ("write", value),
                    _ => continue,
                };
                statistics.io_bytes.push(DeviceCount {
                    major,
                    minor,
                    operation: operation.to_owned(),
                    value: value.parse().unwrap_or(0),
                });
            }
        }
    }
    Ok(())
}

/// Reads both versions' `cpu.stat`, whose units differ.
fn throttling(statistics: &mut Statistics, text: &str) {
    for (key, value) in pairs(text) {
        match key {
            "nr_periods" => statistics.periods += value,
            "nr_throttled" => statistics.throttled_periods += value,
            "throttled_time" => statistics.throttled_time += value,
            "throttled_usec" => statistics.throttled_time += value.saturating_mul(1000),
            _ => {}
        }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads `254:0 Read 4096`.
fn device_line(line: &str) -> Option<DeviceCount> {
    let mut words = line.split(' ');
    let (major, minor) = device(words.next()?)?;
    Some(DeviceCount {
        major,
        minor,
        operation: words.next()?.to_owned(),
        value: words.next()?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: Version, files: &[(&str, &str)]) -> Statistics {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut statistics = Statistics::default();
        let directory = Directory::open(directory.path().to_owned()).unwrap();
        add(&mut statistics, version, &directory).unwrap();
        statistics
    }

    fn count(operation: &str, value: u64) -> DeviceCount {
        DeviceCount {
            major: 254,
            minor: 16,
            operation: operation.to_owned(),
            value,
        }
    }

    #[test]
    fn version_1_tells_more() {
        let statistics = read(
            Version::One,
            &[
                ("memory.stat", "cache 7\ntotal_inactive_file 512\n"),
                ("memory.failcnt", "3\n"),
                ("cpuacct.usage_user", "77\n"),
                ("cpuacct.usage_percpu", "11 22 \n"),
                ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 900\n"),
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "254:16 Read 4096\n254:16 Write 1\nTotal 4097\n",
                ),
                ("blkio.throttle.io_serviced", "254:16 Read 2\nTotal 2\n"),
            ],
        );
        assert_eq!(statistics.memory["total_inactive_file"], 512);
        assert_eq!((statistics.memory_failures, statistics.cpu_user), (3, 77));
        assert_eq!(statistics.cpu_by_processor, [11, 22]);
        let throttled = (
            statistics.periods,
            statistics.throttled_periods,
            statistics.throttled_time,
        );
        assert_eq!(throttled, (5, 2, 900));
        assert_eq!(statistics.io_bytes, [count("Read", 4096), count("Write", 1)]);
        assert_eq!(statistics.io_operations, [count("Read", 2)]);
    }

    #[test]
    fn version_2_has_other_units() {
        let statistics = read(
            Version::Two,
            &[
                ("memory.stat", "anon 7\ninactive_file 512\n"),
                ("memory.events", "low 0\noom 4\noom_kill 1\n"),
                (
                    "cpu.stat",
                    "usage_usec 9\nuser_usec 5\nnr_periods 5\nnr_throttled 2\nthrottled_usec 9\n",
                ),
                ("io.stat", "254:16 rbytes=4096 wbytes=1 rios=1 wios=2\n"),
            ],
        );
        assert_eq!(statistics.memory["inactive_file"], 512);
        assert_eq!((statistics.memory_failures, statistics.cpu_user), (4, 5000));
        assert_eq!(statistics.throttled_time, 9000);
        assert_eq!(statistics.io_bytes, [count("read", 4096), count("write", 1)]);
        assert!(statistics.io_operations.is_empty());
    }
}
