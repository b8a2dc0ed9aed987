//! The flags that limit what a container takes of the host's memory, processors and disks.

use super::{Invalid, integer, invalid, mount, rates, size, ulimit};
use clap::Args;
use engine::containers::request::{Limits, Ulimit};
use std::path::PathBuf;

/// Limits.
#[derive(Debug, Args)]
pub(crate) struct LimitFlags {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_parser = integer::uint16, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Block IO weight (relative device weight)
    #[arg(long, value_parser = rates::weight, value_name = "list")]
    blkio_weight_device: Vec<(PathBuf, u16)>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_rt_period: Option<i64>,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_parser = integer::nano_cpus, value_name = "decimal", allow_negative_numbers = true)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_parser = rates::bytes, value_name = "list")]
    device_read_bps: Vec<(PathBuf, u64)>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_parser = rates::operations, value_name = "list")]
    device_read_iops: Vec<(PathBuf, u64)>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_parser = rates::bytes, value_name = "list")]
    device_write_bps: Vec<(PathBuf, u64)>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_parser = rates::operations, value_name = "list")]
    device_write_iops: Vec<(PathBuf, u64)>,
    /// Memory limit
    #[arg(short, long, value_parser = size::bytes, value_name = "bytes", allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_parser = size::bytes, value_name = "bytes", allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_parser = size::bytes_or_unlimited, value_name = "bytes", allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Tune container memory swappiness (0 to 100) (default -1)
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    memory_swappiness: Option<i64>,
    /// Disable OOM Killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_parser = integer::int32, value_name = "int", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_parser = mount::unsigned_bytes, value_name = "bytes")]
    pub(crate) shm_size: Option<u64>,
    /// Ulimit options
    #[arg(long, value_parser = ulimit::parse, value_name = "ulimit")]
    pub(crate) ulimit: Vec<Ulimit>,
}

impl LimitFlags {
    /// Checks what the flags say of themselves; the engine checks it against the host.
    pub(crate) fn limits(&self) -> Result<Limits, Invalid> {
        let swappiness = self.memory_swappiness.filter(|&value| value != -1);
        if let Some(value) = swappiness
            && !(0..=100).contains(&value)
        {
            return invalid(format!(
                "invalid value: {value}. Valid memory swappiness range is 0-100"
            ));
        }
        Ok(Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            nano_cpus: self.cpus,
            cpu_shares: not_negative(self.cpu_shares, "--cpu-shares")?,
            cpu_period: not_negative(self.cpu_period, "--cpu-period")?,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit,
            blkio_weight: self.blkio_weight,
            blkio_weight_devices: self.blkio_weight_device.clone(),
            device_read_bps: self.device_read_bps.clone(),
            device_write_bps: self.device_write_bps.clone(),
            device_read_iops: self.device_read_iops.clone(),
            device_write_iops: self.device_write_iops.clone(),
            cpu_realtime_period: not_negative(self.cpu_rt_period, "--cpu-rt-period")?,
            cpu_realtime_runtime: self.cpu_rt_runtime,
            memory_swappiness: swappiness,
            oom_kill_disable: self.oom_kill_disable,
        })
    }
}

fn not_negative(value: Option<i64>, flag: &str) -> Result<Option<u64>, Invalid> {
    match value.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => invalid(format!("{flag} cannot be negative")),
    }
}
