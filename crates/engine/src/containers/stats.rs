//! `stats`: what containers use now, from their cgroups and network namespaces.
//!
//! Nothing counts in the background: whoever wants to know takes a sample, and another one later.

use super::record::{Activity, ContainerId};
use super::request::NetworkMode;
use super::rows::Record;
use super::running::Running;
use super::{Containers, running};
use crate::EngineError;
use runtime::cgroups::{Cgroup, Usage};
pub use runtime::cgroups::{DeviceCount, Statistics};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use sys::SysError;

/// What a container and its host have used up to one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// The container's name.
    pub name: String,
    /// When it was taken, nanoseconds since 1970.
    pub taken: i64,
    /// When the container was started, nanoseconds since 1970: a sample of another run cannot be compared.
    pub started: i64,
    /// What the container has used; all zeros for one that does not run.
    pub usage: Usage,
    /// The most memory that it can have: its limit or the host's memory; 0 for one that does not run.
    pub memory_limit: u64,
    /// Bytes by network interface: received, sent.
    pub networks: BTreeMap<String, Traffic>,
    /// Nanoseconds that all processors of the host have spent, idle or not.
    pub system_cpu: u64,
    /// Processors of the host.
    pub processors: u32,
}

/// What went through a network interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that came in.
    pub received: u64,
    /// Packets that came in.
    pub received_packets: u64,
    /// Packets that came in damaged.
    pub received_errors: u64,
    /// Packets that came in and were dropped.
    pub received_dropped: u64,
    /// Bytes that went out.
    pub sent: u64,
    /// Packets that went out.
    pub sent_packets: u64,
    /// Packets that could not be sent.
    pub sent_errors: u64,
    /// Packets that were dropped on their way out.
    pub sent_dropped: u64,
}

impl Sample {
    /// Memory in use without what the kernel would give back at once, as Docker counts it.
    pub fn memory(&self) -> u64 {
        self.usage.memory.saturating_sub(self.usage.memory_inactive_file)
    }

    /// Memory in use by its limit, in per cent.
    pub fn memory_share(&self) -> f64 {
        percent(self.memory(), self.memory_limit)
    }

    /// Processor time since an earlier sample by the time that the host had, in per cent of one processor.
    pub fn cpu_share(&self, before: &Self) -> f64 {
        if before.started != self.started || self.usage.cpu < before.usage.cpu {
            return 0.0;
        }
        let system = self.system_cpu.saturating_sub(before.system_cpu);
        percent(self.usage.cpu - before.usage.cpu, system) * f64::from(self.processors)
    }

    /// Bytes received and sent over all interfaces.
    pub fn traffic(&self) -> (u64, u64) {
        self.networks.values().fold((0, 0), |(received, sent), traffic| {
            (received + traffic.received, sent + traffic.sent)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits after the point are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * 100.0
}

impl Containers<'_> {
    /// Takes a sample of a container; one that does not run uses nothing.
    pub fn sample(&self, id: &ContainerId) -> Result<Sample, EngineError> {
        let record = self.record(id)?;
        let host = Host::look()?;
        self.sample_of(&record, &host)
    }

    /// Takes a sample of a container with all that the kernel counts besides.
    pub fn statistics(&self, id: &ContainerId) -> Result<(Sample, Statistics), EngineError> {
        let record = self.record(id)?;
        let sample = self.sample_of(&record, &Host::look()?)?;
        if sample.started == 0 {
            return Ok((sample, Statistics::default()));
        }
        let parent = record.settings.request.cgroup_parent.as_deref();
        let path = self.engine.locations().cgroup(&record.id, parent);
        match Cgroup::open(&path).and_then(|cgroup| cgroup.statistics()) {
            // It has ended since.
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => {
                Ok((sample, Statistics::default()))
            }
            statistics => Ok((sample, statistics?)),
        }
    }

    /// Takes samples of several containers, in their order; one that is gone is left out.
    pub fn samples(&self, ids: &[ContainerId]) -> Result<Vec<(ContainerId, Sample)>, EngineError> {
        let host = Host::look()?;
        let mut samples = Vec::with_capacity(ids.len());
        for id in ids {
            match self.record(id) {
                Ok(record) => samples.push((id.clone(), self.sample_of(&record, &host)?)),
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(samples)
    }

    fn sample_of(self, record: &Record, host: &Host) -> Result<Sample, EngineError> {
        let mut sample = Sample {
            name: record.name.clone(),
            taken: crate::events::now(),
            system_cpu: host.cpu,
            processors: host.processors,
            ..Sample::default()
        };
        let (activity, running) = self.activity(record)?;
        let Some(running) = running.filter(|_| matches!(activity, Activity::Running | Activity::Paused))
        else {
            return Ok(sample);
        };
        let locations = self.engine.locations();
        let path = locations.cgroup(&record.id, record.settings.request.cgroup_parent.as_deref());
        // It may end between any two looks.
        let gone = |error: &SysError| matches!(error.errno, Errno::NOENT | Errno::NODEV);
        sample.usage = match Cgroup::open(&path).and_then(|cgroup| cgroup.usage()) {
            Err(error) if gone(&error) => return Ok(sample),
            usage => usage?,
        };
        sample.started = running.started;
        sample.memory_limit = sample
            .usage
            .memory_limit
            .map_or(host.memory, |limit| limit.min(host.memory));
        // What the host's own interfaces carry is not the container's.
        if !matches!(record.settings.request.network, NetworkMode::Host) {
            sample.networks = traffic(&running)?;
        }
        Ok(sample)
    }
}

/// What samples need to know of the host.
struct Host {
    cpu: u64,
    processors: u32,
    memory: u64,
}

impl Host {
    fn look() -> Result<Self, SysError> {
        let read = |path| std::fs::read_to_string(path).map_err(|error| SysError::io("read", path, &error));
        let (cpu, processors) = processor_time(&read("/proc/stat")?);
        let meminfo = read("/proc/meminfo")?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
        Ok(Self {
            cpu: cpu.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)),
            processors,
            memory: total.unwrap_or(0).saturating_mul(1024),
        })
    }
}

/// Reads the clock ticks of all processors together, and their number, from `/proc/stat`. As Docker does, it adds up
/// what is before the time that a hypervisor stole.
fn processor_time(text: &str) -> (u64, u32) {
    let mut ticks = 0;
    let mut processors = 0;
    for line in text.lines() {
        if let Some(all) = line.strip_prefix("cpu ") {
            let numbers = all.split_ascii_whitespace().take(7);
            ticks = numbers
                .filter_map(|number| number.parse::<u64>().ok())
                .fold(0, u64::saturating_add);
        } else if line.starts_with("cpu") {
            processors += 1;
        } else {
            break;
        }
    }
    (ticks, processors)
}

/// Reads what went through the interfaces of a running container's network namespace, but for `lo`.
fn traffic(running: &Running) -> Result<BTreeMap<String, Traffic>, EngineError> {
    let Some(process) = running::open_process(running)? else {
        return Ok(BTreeMap::new());
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut text = String::new();
    let read = openat(&process, "net/dev", flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| File::from(file).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(parse_traffic(&text)),
        // The process ended meanwhile. A dead one that nobody has waited for is in no namespace (EINVAL).
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOENT | Errno::SRCH | Errno::INVAL)
            ) =>
        {
            Ok(BTreeMap::new())
        }
        Err(error) => Err(SysError::io("read", format!("/proc/{}/net/dev", running.pid), &error).into()),
    }
}

fn parse_traffic(text: &str) -> BTreeMap<String, Traffic> {
    let mut networks = BTreeMap::new();
    for line in text.lines() {
        // An interface's name may have a colon in it; the numbers have none.
        let Some((name, numbers)) = line.rsplit_once(':') else {
            continue;
        };
        let name = name.trim();
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map(|number| number.parse().unwrap_or(0))
            .collect();
        if name == "lo" || numbers.len() < 12 {
            continue;
        }
        networks.insert(
            name.to_owned(),
            Traffic {
                received: numbers[0],
                received_packets: numbers[1],
                received_errors: numbers[2],
                received_dropped: numbers[3],
                sent: numbers[8],
                sent_packets: numbers[9],
                sent_errors: numbers[10],
                sent_dropped: numbers[11],
            },
        );
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_computed_as_docker_computes_them() {
        let before = Sample {
            started: 7,
            usage: Usage {
                cpu: 1_000_000_000,
                ..Usage::default()
            },
            system_cpu: 100_000_000_000,
            processors: 4,
            ..Sample::default()
        };
        let mut after = before.clone();
        after.usage.cpu += 500_000_000;
        after.system_cpu += 4_000_000_000;
        assert!((after.cpu_share(&before) - 50.0).abs() < 1e-9);
        // The first sample of all, and one of another run, cannot be compared.
        assert!(after.cpu_share(&after).abs() < 1e-9);
        after.started = 8;
        assert!(after.cpu_share(&before).abs() < 1e-9);
        after.usage.memory = 300;
        after.usage.memory_inactive_file = 100;
        after.memory_limit = 800;
        assert_eq!(after.memory(), 200);
        assert!((after.memory_share() - 25.0).abs() < 1e-9);
        assert!(before.memory_share().abs() < 1e-9);
    }

    #[test]
    fn the_host_is_read() {
        let text =
            "cpu  10 1 5 100 2 0 1 50 3 0\ncpu0 5 0 2 50 1 0 0 0 0 0\ncpu1 5 1 3 50 1 0 1 0 0 0\nintr 5\n";
        assert_eq!(processor_time(text), (119, 2));
        let host = Host::look().unwrap();
        assert!(host.cpu > 0 && host.processors > 0 && host.memory > 0);
    }

    #[test]
    fn interfaces_are_added_up() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0      500       5    3    4    0     0       0          0
eth1:1 7 0 0 0 0 0 0 2 8 0 0 0 0 0 0
";
        let networks = parse_traffic(text);
        assert_eq!(networks.keys().collect::<Vec<_>>(), ["eth0", "eth1"]);
        assert_eq!(networks["eth0"].sent_dropped, 4);
        let sample = Sample {
            networks,
            ..Sample::default()
        };
        assert_eq!(sample.traffic(), (1001, 502));
    }
}
