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
    }
    match version {
        Version::One => {
            if let Some(memory) = number("memory.usage_in_bytes")? {
                usage.memory = memory;
                usage.memory_peak = number("memory.max_usage_in_bytes")?;
                usage.oom_kills = keyed("memory.oom_control", "oom_kill")?.unwrap_or(0);
            }
            if let Some(cpu) = number("cpuacct.usage")? {
                usage.cpu = cpu;
            }
        }
        Version::Two => {
            if let Some(memory) = number("memory.current")? {
                usage.memory = memory;
                // Since Linux 5.19.
                usage.memory_peak = number("memory.peak")?;
                usage.oom_kills = keyed("memory.events", "oom_kill")?.unwrap_or(0);
            }
            // In a mixture the tree of version 2 has a cpu.stat too, which counts only processes that are in it.
            if let Some(microseconds) = keyed("cpu.stat", "usage_usec")? {
                usage.cpu = usage.cpu.max(microseconds.saturating_mul(1000));
            }
        }
    }
    Ok(())
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
        ];
        let expected = Usage {
            memory: 4096,
            memory_peak: Some(8192),
            cpu: 123_456_789,
            pids: 5,
            oom_kills: 3,
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
        ];
        let mut expected = Usage {
            memory: 4096,
            memory_peak: Some(8192),
            cpu: 250_000,
            pids: 5,
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
