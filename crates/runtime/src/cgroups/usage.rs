//! What a cgroup's processes have used, from either version's files.

use super::Usage;
use super::directory::Directory;
use super::hierarchy::Version;
use sys::SysError;

/// Adds to `usage` what the files of one hierarchy tell; files that are not there tell nothing.
pub(super) fn add(usage: &mut Usage, version: Version, directory: &Directory) -> Result<(), SysError> {
    let number = |name| -> Result<Option<u64>, SysError> {
        Ok(directory
            .read_existing(name)?
            .and_then(|text| text.trim().parse().ok()))
    };
    let keyed = |name, key| -> Result<Option<u64>, SysError> {
        Ok(directory
            .read_existing(name)?
            .and_then(|text| value_of(&text, key)))
    };
    if let Some(pids) = number("pids.current")? {
        usage.pids = pids;
        usage.pids_peak = number("pids.peak")?;
        // "max" is no number, and no limit.
        usage.pids_limit = number("pids.max")?;
    }
    match version {
        Version::One => {
            if let Some(memory) = number("memory.usage_in_bytes")? {
                usage.memory = memory;
                usage.memory_peak = number("memory.max_usage_in_bytes")?;
                usage.oom_kills = keyed("memory.oom_control", "oom_kill")?.unwrap_or(0);
                usage.memory_inactive_file = keyed("memory.stat", "total_inactive_file")?.unwrap_or(0);
                usage.memory_limit = number("memory.limit_in_bytes")?.filter(|&limit| limit < UNLIMITED);
            }
            if let Some(cpu) = number("cpuacct.usage")? {
                usage.cpu = cpu;
                usage.cpu_system = number("cpuacct.usage_sys")?;
            }
            // With a policy of weights the second pair of files counts, without one only the first does.
            for name in [
                "blkio.throttle.io_service_bytes_recursive",
                "blkio.throttle.io_service_bytes",
            ] {
                if let Some(text) = directory.read_existing(name)? {
                    (usage.read, usage.written) =
                        (Some(operations(&text, "Read")), Some(operations(&text, "Write")));
                    break;
                }
            }
        }
        Version::Two => {
            if let Some(memory) = number("memory.current")? {
                usage.memory = memory;
                // Since Linux 5.19.
                usage.memory_peak = number("memory.peak")?;
                usage.oom_kills = keyed("memory.events", "oom_kill")?.unwrap_or(0);
                usage.memory_inactive_file = keyed("memory.stat", "inactive_file")?.unwrap_or(0);
                usage.memory_limit = number("memory.max")?;
            }
            // In a mixture the tree of version 2 has a cpu.stat too, which counts only processes that are in it.
            if let Some(microseconds) = keyed("cpu.stat", "usage_usec")? {
                let cpu = microseconds.saturating_mul(1000);
                if cpu > usage.cpu {
                    usage.cpu = cpu;
                    let system = keyed("cpu.stat", "system_usec")?;
                    usage.cpu_system = system.map(|microseconds| microseconds.saturating_mul(1000));
                }
            }
            if let Some(text) = directory.read_existing("io.stat")? {
                (usage.read, usage.written) = (
                    Some(assignments(&text, "rbytes=")),
                    Some(assignments(&text, "wbytes=")),
                );
            }
        }
    }
    Ok(())
}

/// What version 1 shows for "no limit": the largest number of whole pages, which depends on the size of a page.
const UNLIMITED: u64 = 1 << 62;

/// Adds up lines of `device operation number`.
fn operations(text: &str, operation: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == operation).then(|| words.next()?.trim().parse::<u64>().ok())?
    });
    numbers.fold(0, u64::saturating_add)
}

/// Adds up what follows `key` in lines of `device key=number …`.
fn assignments(text: &str, key: &str) -> u64 {
    let numbers = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    numbers.fold(0, u64::saturating_add)
}

/// Finds `key` in lines of `key value`.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_of(version: Version, files: &[(&str, &str)]) -> Usage {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut usage = Usage::default();
        add(
            &mut usage,
            version,
            &Directory::open(directory.path().to_owned()).unwrap(),
        )
        .unwrap();
        usage
    }

    #[test]
    fn version_1_is_read() {
        let files = [
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.max_usage_in_bytes", "8192\n"),
            (
                "memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
            ),
            ("cpuacct.usage", "123456789\n"),
            ("pids.current", "5\n"),
            ("pids.max", "max\n"),
            ("cpuacct.usage_sys", "23456789\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 512\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "254:0 Read 4096\n254:0 Write 100\n254:16 Read 4\nTotal 4200\n",
            ),
        ];
        let expected = Usage {
            memory: 4096,
            memory_peak: Some(8192),
            memory_inactive_file: 512,
            cpu: 123_456_789,
            cpu_system: Some(23_456_789),
            read: Some(4100),
            written: Some(100),
            pids: 5,
            oom_kills: 3,
            ..Usage::default()
        };
        assert_eq!(usage_of(Version::One, &files), expected);
    }

    #[test]
    fn version_2_is_read() {
        let mut files = vec![
            ("memory.current", "4096\n"),
            ("memory.peak", "8192\n"),
            (
                "memory.events",
                "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 1\n",
            ),
            ("cpu.stat", "usage_usec 250\nuser_usec 200\nsystem_usec 50\n"),
            ("pids.current", "5\n"),
            ("pids.peak", "7\n"),
            ("pids.max", "100\n"),
            ("memory.max", "1048576\n"),
            ("memory.stat", "anon 4\ninactive_file 512\n"),
            (
                "io.stat",
                "254:0 rbytes=4096 wbytes=100 rios=1 wios=2 dbytes=0 dios=0\n254:16 rbytes=4 wbytes=0\n",
            ),
        ];
        let mut expected = Usage {
            memory: 4096,
            memory_peak: Some(8192),
            memory_inactive_file: 512,
            memory_limit: Some(1 << 20),
            cpu: 250_000,
            cpu_system: Some(50_000),
            read: Some(4100),
            written: Some(100),
            pids: 5,
            pids_peak: Some(7),
            pids_limit: Some(100),
            oom_kills: 3,
        };
        assert_eq!(usage_of(Version::Two, &files), expected);
        files.remove(1);
        expected.memory_peak = None;
        assert_eq!(usage_of(Version::Two, &files), expected);
    }

    #[test]
    fn controllers_that_are_not_there_tell_nothing() {
        assert_eq!(usage_of(Version::One, &[]), Usage::default());
        assert_eq!(usage_of(Version::Two, &[]), Usage::default());
    }
}
