//! What a container uses, field for field as clients compute with it.

use super::time;
use engine::containers::record::ContainerId;
use engine::containers::stats::{DeviceCount, Sample, Statistics};
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /containers/{id}/stats`.
#[derive(Debug, Serialize)]
pub(crate) struct ContainerStats {
    id: String,
    name: String,
    os_type: &'static str,
    read: String,
    preread: String,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    blkio_stats: Io,
    pids_stats: Pids,
    /// These two are of another system.
    num_procs: u32,
    storage_stats: Storage,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, Network>,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    #[serde(rename = "cpu_usage")]
    usage: CpuUsage,
    #[serde(skip_serializing_if = "is_zero")]
    system_cpu_usage: u64,
    #[serde(skip_serializing_if = "is_zero_32")]
    online_cpus: u32,
    throttling_data: Throttling,
}

#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    total_usage: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_usage: Vec<u64>,
    usage_in_kernelmode: u64,
    usage_in_usermode: u64,
}

#[derive(Debug, Default, Serialize)]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Debug, Default, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_usage: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stats: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    failcnt: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

/// Version 2 has no more than the first; what is not there is `null`.
#[derive(Debug, Default, Serialize)]
struct Io {
    #[serde(rename = "io_service_bytes_recursive")]
    bytes: Option<Vec<Count>>,
    #[serde(rename = "io_serviced_recursive")]
    operations: Option<Vec<Count>>,
    #[serde(rename = "io_queue_recursive")]
    queued: Option<Vec<Count>>,
    #[serde(rename = "io_service_time_recursive")]
    service_time: Option<Vec<Count>>,
    #[serde(rename = "io_wait_time_recursive")]
    wait_time: Option<Vec<Count>>,
    #[serde(rename = "io_merged_recursive")]
    merged: Option<Vec<Count>>,
    #[serde(rename = "io_time_recursive")]
    time: Option<Vec<Count>>,
    #[serde(rename = "sectors_recursive")]
    sectors: Option<Vec<Count>>,
}

#[derive(Debug, Serialize)]
struct Count {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Default, Serialize)]
struct Storage {}

#[derive(Debug, Serialize)]
struct Network {
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero_32(number: &u32) -> bool {
    *number == 0
}

/// What a container uses, and all that the kernel counts besides.
type Taken = (Sample, Statistics);

impl ContainerStats {
    /// Makes it of what was taken now, and the time before. Of a container that does not run there is but its name.
    pub(crate) fn new(id: &ContainerId, now: &Taken, before: Option<&Taken>) -> Self {
        let (sample, statistics) = now;
        let runs = sample.started != 0;
        let taken = |taken: &Sample| time(Some(taken.taken).filter(|_| runs));
        Self {
            id: id.to_string(),
            name: format!("/{}", sample.name),
            os_type: "linux",
            read: taken(sample),
            preread: before.map_or_else(|| time(None), |(before, _)| taken(before)),
            cpu_stats: if runs { Cpu::new(now) } else { Cpu::default() },
            precpu_stats: before.map(Cpu::new).unwrap_or_default(),
            memory_stats: if runs { Memory::new(now) } else { Memory::default() },
            blkio_stats: if runs { Io::new(statistics) } else { Io::default() },
            pids_stats: Pids {
                current: sample.usage.pids,
                // As Docker has it, no limit is the largest of all numbers.
                limit: if runs {
                    sample.usage.pids_limit.unwrap_or(u64::MAX)
                } else {
                    0
                },
            },
            num_procs: 0,
            storage_stats: Storage {},
            networks: networks(sample),
        }
    }
}

impl Cpu {
    fn new((sample, statistics): &Taken) -> Self {
        Self {
            usage: CpuUsage {
                total_usage: sample.usage.cpu,
                percpu_usage: statistics.cpu_by_processor.clone(),
                usage_in_kernelmode: sample.usage.cpu_system.unwrap_or(0),
                usage_in_usermode: statistics.cpu_user,
            },
            system_cpu_usage: sample.system_cpu,
            online_cpus: sample.processors,
            throttling_data: Throttling {
                periods: statistics.periods,
                throttled_periods: statistics.throttled_periods,
                throttled_time: statistics.throttled_time,
            },
        }
    }
}

impl Memory {
    fn new((sample, statistics): &Taken) -> Self {
        Self {
            usage: sample.usage.memory,
            // Docker has it of version 1 alone.
            max_usage: if engine::containers::has_version_2_alone() {
                0
            } else {
                sample.usage.memory_peak.unwrap_or(0)
            },
            stats: statistics.memory.clone(),
            failcnt: statistics.memory_failures,
            limit: sample.memory_limit,
        }
    }
}

impl Io {
    fn new(statistics: &Statistics) -> Self {
        let counts = |counts: &[DeviceCount]| {
            let count = |count: &DeviceCount| Count {
                major: count.major,
                minor: count.minor,
                op: count.operation.clone(),
                value: count.value,
            };
            counts.iter().map(count).collect::<Vec<_>>()
        };
        let bytes = Some(counts(&statistics.io_bytes));
        if engine::containers::has_version_2_alone() {
            return Self {
                bytes,
                ..Self::default()
            };
        }
        Self {
            bytes,
            operations: Some(counts(&statistics.io_operations)),
            queued: Some(Vec::new()),
            service_time: Some(Vec::new()),
            wait_time: Some(Vec::new()),
            merged: Some(Vec::new()),
            time: Some(Vec::new()),
            sectors: Some(Vec::new()),
        }
    }
}

fn networks(sample: &Sample) -> BTreeMap<String, Network> {
    let interfaces = sample.networks.iter().map(|(name, traffic)| {
        let network = Network {
            rx_bytes: traffic.received,
            rx_packets: traffic.received_packets,
            rx_errors: traffic.received_errors,
            rx_dropped: traffic.received_dropped,
            tx_bytes: traffic.sent,
            tx_packets: traffic.sent_packets,
            tx_errors: traffic.sent_errors,
            tx_dropped: traffic.sent_dropped,
        };
        (name.clone(), network)
    });
    interfaces.collect()
}
