//! Limits, from Docker's units to the kernel's.

use crate::EngineError;
use crate::containers::invalid;
use crate::containers::request::{Limits, Ulimit};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};
use std::path::{Path, PathBuf};

/// Docker's scheduling period, microseconds.
const PERIOD: u64 = 100_000;
const NANOS_PER_CPU: i64 = 1_000_000_000;

pub(super) fn resources(
    limits: &Limits,
    pids_default: i64,
    devices: Vec<LinuxDeviceCgroup>,
) -> Result<LinuxResources, EngineError> {
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(devices));
    resources.set_memory(memory(limits));
    resources.set_cpu(cpu(limits)?);
    let pids = limits.pids.unwrap_or(pids_default);
    if pids > 0 {
        let mut limit = LinuxPids::default();
        limit.set_limit(pids);
        resources.set_pids(Some(limit));
    }
    resources.set_block_io(block(limits)?);
    Ok(resources)
}

fn memory(limits: &Limits) -> Option<LinuxMemory> {
    let limit = limits.memory.filter(|&bytes| bytes > 0);
    let reservation = limits.memory_reservation.filter(|&bytes| bytes > 0);
    // Docker lets a container swap as much as it may have memory unless it is told otherwise.
    let swap = match limits.memory_swap {
        Some(-1) => Some(-1),
        Some(bytes) if bytes > 0 => Some(bytes),
        _ => limit.map(|bytes| bytes.saturating_mul(2)),
    };
    let swappiness = limits
        .memory_swappiness
        .and_then(|swappiness| u64::try_from(swappiness).ok());
    if limit.is_none()
        && reservation.is_none()
        && swap.is_none()
        && swappiness.is_none()
        && !limits.oom_kill_disable
    {
        return None;
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limit)
        .set_reservation(reservation)
        .set_swap(swap)
        .set_swappiness(swappiness)
        .set_disable_oom_killer(limits.oom_kill_disable.then_some(true));
    Some(memory)
}

fn cpu(limits: &Limits) -> Result<Option<LinuxCpu>, EngineError> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(limits.cpu_shares.filter(|&shares| shares != 0))
        .set_period(limits.cpu_period.filter(|&period| period != 0))
        .set_quota(limits.cpu_quota.filter(|&quota| quota != 0))
        .set_realtime_period(limits.cpu_realtime_period.filter(|&period| period != 0))
        .set_realtime_runtime(limits.cpu_realtime_runtime.filter(|&runtime| runtime != 0))
        .set_cpus(limits.cpuset_cpus.clone().filter(|cpus| !cpus.is_empty()))
        .set_mems(limits.cpuset_mems.clone().filter(|mems| !mems.is_empty()));
    if let Some(nanos) = limits.nano_cpus.filter(|&nanos| nanos != 0) {
        let quota = i128::from(nanos) * i128::from(PERIOD) / i128::from(NANOS_PER_CPU);
        let quota =
            i64::try_from(quota).map_err(|error| invalid(format!("too many CPUs asked for: {error}")))?;
        cpu.set_period(Some(PERIOD)).set_quota(Some(quota));
    }
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

fn block(limits: &Limits) -> Result<Option<LinuxBlockIo>, EngineError> {
    let mut block = LinuxBlockIo::default();
    block.set_weight(limits.blkio_weight.filter(|&weight| weight != 0));
    let mut weights = Vec::with_capacity(limits.blkio_weight_devices.len());
    for (path, weight) in &limits.blkio_weight_devices {
        let (major, minor) = number(path)?;
        let device = LinuxWeightDeviceBuilder::default()
            .major(major)
            .minor(minor)
            .weight(*weight)
            .build();
        weights.push(device.map_err(|error| invalid(format!("{}: {error}", path.display())))?);
    }
    let rates = |rates: &[(PathBuf, u64)]| -> Result<Option<Vec<LinuxThrottleDevice>>, EngineError> {
        let mut devices = Vec::with_capacity(rates.len());
        for (path, rate) in rates {
            let (major, minor) = number(path)?;
            let device = LinuxThrottleDeviceBuilder::default()
                .major(major)
                .minor(minor)
                .rate(*rate)
                .build();
            devices.push(device.map_err(|error| invalid(format!("{}: {error}", path.display())))?);
        }
        Ok((!devices.is_empty()).then_some(devices))
    };
    block
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(rates(&limits.device_read_bps)?)
        .set_throttle_write_bps_device(rates(&limits.device_write_bps)?)
        .set_throttle_read_iops_device(rates(&limits.device_read_iops)?)
        .set_throttle_write_iops_device(rates(&limits.device_write_iops)?);
    Ok((block != LinuxBlockIo::default()).then_some(block))
}

/// Returns a device's number; links are followed, as `/dev/disk/by-id` is full of them.
fn number(path: &Path) -> Result<(i64, i64), EngineError> {
    let stat = rustix::fs::stat(path).map_err(|errno| match errno {
        rustix::io::Errno::NOENT => invalid(format!("stat {}: no such file or directory", path.display())),
        _ => sys::SysError::on("look at the device", path)(errno).into(),
    })?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
        return Err(invalid(format!("'{}' is not a block device", path.display())));
    }
    Ok((
        i64::from(rustix::fs::major(stat.st_rdev)),
        i64::from(rustix::fs::minor(stat.st_rdev)),
    ))
}

pub(super) fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>, EngineError> {
    ulimits
        .iter()
        .map(|ulimit| {
            let kind =
                kind(&ulimit.name).ok_or_else(|| invalid(format!("invalid ulimit type: {}", ulimit.name)))?;
            // -1 is the kernel's RLIM_INFINITY, all bits set.
            let bound = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
            PosixRlimitBuilder::default()
                .typ(kind)
                .soft(bound(ulimit.soft))
                .hard(bound(ulimit.hard))
                .build()
                .map_err(|error| invalid(format!("invalid ulimit {}: {error}", ulimit.name)))
        })
        .collect()
}

/// Returns our own hard limit of a kind that has a name, if it has one.
pub(crate) fn hard_limit(name: &str) -> Option<u64> {
    use rustix::process::Resource;
    let resource = match kind(name)? {
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitStack => Resource::Stack,
    };
    rustix::process::getrlimit(resource).maximum
}

fn kind(name: &str) -> Option<PosixRlimitType> {
    Some(match name {
        "as" => PosixRlimitType::RlimitAs,
        "core" => PosixRlimitType::RlimitCore,
        "cpu" => PosixRlimitType::RlimitCpu,
        "data" => PosixRlimitType::RlimitData,
        "fsize" => PosixRlimitType::RlimitFsize,
        "locks" => PosixRlimitType::RlimitLocks,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "nofile" => PosixRlimitType::RlimitNofile,
        "nproc" => PosixRlimitType::RlimitNproc,
        "rss" => PosixRlimitType::RlimitRss,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        "stack" => PosixRlimitType::RlimitStack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_a_share_of_the_period() {
        for (nanos, quota) in [
            (500_000_000, 50_000),
            (2_000_000_000, 200_000),
            (10_000_000, 1_000),
        ] {
            let limits = Limits {
                nano_cpus: Some(nanos),
                ..Limits::default()
            };
            let cpu = cpu(&limits).unwrap().unwrap();
            assert_eq!((cpu.quota(), cpu.period()), (Some(quota), Some(PERIOD)));
        }
        assert_eq!(cpu(&Limits::default()).unwrap(), None);
    }

    #[test]
    fn swap_is_twice_the_memory_unless_told_otherwise() {
        for (memory_limit, swap_asked, swap) in [
            (Some(100), None, Some(200)),
            (Some(100), Some(0), Some(200)),
            (Some(100), Some(-1), Some(-1)),
            (Some(100), Some(150), Some(150)),
        ] {
            let limits = Limits {
                memory: memory_limit,
                memory_swap: swap_asked,
                ..Limits::default()
            };
            assert_eq!(memory(&limits).unwrap().swap(), swap, "{swap_asked:?}");
        }
        assert_eq!(memory(&Limits::default()), None);
    }

    #[test]
    fn processes_are_limited_by_default_and_may_be_freed() {
        for (asked, expected) in [
            (None, Some(4096)),
            (Some(10), Some(10)),
            (Some(-1), None),
            (Some(0), None),
        ] {
            let limits = Limits {
                pids: asked,
                ..Limits::default()
            };
            let resources = resources(&limits, 4096, Vec::new()).unwrap();
            assert_eq!(resources.pids().as_ref().map(LinuxPids::limit), expected);
        }
    }

    #[test]
    fn every_bit_set_is_no_limit() {
        let limits = rlimits(&[Ulimit {
            name: "nofile".into(),
            soft: 1024,
            hard: -1,
        }])
        .unwrap();
        assert_eq!((limits[0].soft(), limits[0].hard()), (1024, u64::MAX));
        assert!(
            rlimits(&[Ulimit {
                name: "files".into(),
                soft: 1,
                hard: 1
            }])
            .is_err()
        );
    }
}
