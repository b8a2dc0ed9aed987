//! Limits, from Docker's units to the kernel's.

use crate::EngineError;
use crate::containers::invalid;
use crate::containers::request::{Limits, Ulimit};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType,
};

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
    if let Some(weight) = limits.blkio_weight.filter(|&weight| weight != 0) {
        let mut block = LinuxBlockIo::default();
        block.set_weight(Some(weight));
        resources.set_block_io(Some(block));
    }
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
    if limit.is_none() && reservation.is_none() && swap.is_none() {
        return None;
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limit)
        .set_reservation(reservation)
        .set_swap(swap);
    Some(memory)
}

fn cpu(limits: &Limits) -> Result<Option<LinuxCpu>, EngineError> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(limits.cpu_shares.filter(|&shares| shares != 0))
        .set_period(limits.cpu_period.filter(|&period| period != 0))
        .set_quota(limits.cpu_quota.filter(|&quota| quota != 0))
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
