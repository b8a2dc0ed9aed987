//! `HostConfig`, but for mounts, ports and networks.

use super::refused;
use crate::operations::object::Object;
use crate::server::{ApiVersion, Failure};
use engine::containers::notation::{device, extra_host, modes, restart, security, ulimit};
use engine::containers::request::{
    CreateContainer, DeviceRequest, GpuRequest, IpcMode, Limits, RestartPolicy, Ulimit,
};
use std::path::PathBuf;

pub(super) fn read(
    host: &mut Object,
    version: ApiVersion,
    request: &mut CreateContainer,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    rights(host, request)?;
    names(host, request)?;
    namespaces(host, version, request)?;
    request.limits = limits(host)?;
    request.ulimits = ulimits(host)?;
    devices(host, request)?;
    request.shm_size = host.count("ShmSize")?;
    request.sysctls = host.take("Sysctls")?;
    request.oom_score_adj = host.take("OomScoreAdj")?;
    request.remove_when_done = host.take("AutoRemove")?;
    request.restart = restart_policy(host)?.unwrap_or_default();
    request.init = host.take("Init")?;
    request.read_only = host.take("ReadonlyRootfs")?;
    request.cgroup_parent = host.text("CgroupParent")?;
    request.annotations = host.take("Annotations")?;
    request.storage_options = host.take("StorageOpt")?;
    request.runtime = host.text("Runtime")?;
    request.isolation = host.text("Isolation")?;
    request.volume_driver = host.text("VolumeDriver")?;
    request.id_file = host.text("ContainerIDFile")?.map(PathBuf::from);
    let mut log = host.object("LogConfig")?;
    request.log_driver = log.text("Type")?;
    request.log_options = log.take("Config")?;
    // What is not of this system, or of no kernel any more.
    for (name, why) in [
        ("KernelMemory", "the kernel has no such limit any more"),
        ("KernelMemoryTCP", "the kernel has no such limit any more"),
        ("CpuCount", "it is for Windows containers"),
        ("CpuPercent", "it is for Windows containers"),
        ("IOMaximumIOps", "it is for Windows containers"),
        ("IOMaximumBandwidth", "it is for Windows containers"),
    ] {
        if host.number(name)?.is_some() {
            warnings.push(format!("{name} was ignored: {why}"));
        }
    }
    Ok(())
}

/// What the process may do.
fn rights(host: &mut Object, request: &mut CreateContainer) -> Result<(), Failure> {
    request.privileged = host.take("Privileged")?;
    request.capabilities_add = host.take("CapAdd")?;
    request.capabilities_drop = host.take("CapDrop")?;
    request.groups = host.take("GroupAdd")?;
    // A client has read the profile's file, and sends its text.
    let profile = |text: &str| {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
        parsed.map(|profile| profile.to_string()).map_err(|error| {
            engine::containers::notation::Invalid(format!("Decoding seccomp profile failed: {error}"))
        })
    };
    let options: Vec<String> = host.take("SecurityOpt")?;
    request.security = security::parse(&options, &profile).map_err(refused)?;
    let masked: Option<Vec<String>> = host.take("MaskedPaths")?;
    let read_only: Option<Vec<String>> = host.take("ReadonlyPaths")?;
    match (masked, read_only) {
        // What the command line makes of `systempaths=unconfined`.
        (Some(masked), Some(read_only)) if masked.is_empty() && read_only.is_empty() => {
            request.security.system_paths_unconfined = true;
        }
        (masked, read_only) => {
            request.security.masked_paths = masked;
            request.security.read_only_paths = read_only;
        }
    }
    Ok(())
}

/// Names and name servers.
fn names(host: &mut Object, request: &mut CreateContainer) -> Result<(), Failure> {
    for text in host.take::<Vec<String>>("ExtraHosts")? {
        request
            .extra_hosts
            .push(extra_host::parse(&text).map_err(refused)?);
    }
    for text in host.take::<Vec<String>>("Dns")? {
        request.dns.push(extra_host::dns_server(&text).map_err(refused)?);
    }
    for text in host.take::<Vec<String>>("DnsSearch")? {
        request
            .dns_search
            .push(extra_host::dns_search(&text).map_err(refused)?);
    }
    request.dns_options = host.take("DnsOptions")?;
    Ok(())
}

fn namespaces(host: &mut Object, version: ApiVersion, request: &mut CreateContainer) -> Result<(), Failure> {
    let mut mode = |name: &str| host.take::<String>(name);
    request.pid = modes::pid(&mode("PidMode")?).map_err(refused)?;
    request.uts = modes::uts(&mode("UTSMode")?).map_err(refused)?;
    request.user_namespace = modes::user(&mode("UsernsMode")?).map_err(refused)?;
    request.cgroup_namespace = modes::cgroup(&mode("CgroupnsMode")?).map_err(refused)?;
    let ipc = mode("IpcMode")?;
    request.ipc = if ipc.is_empty() && version < ApiVersion::new(40) {
        // Clients of then know no other.
        IpcMode::Shareable
    } else {
        modes::ipc(&ipc).map_err(refused)?
    };
    Ok(())
}

/// Reads `RestartPolicy`; `None` if there is none.
pub(in crate::operations::containers) fn restart_policy(
    host: &mut Object,
) -> Result<Option<RestartPolicy>, Failure> {
    if !host.has("RestartPolicy") {
        return Ok(None);
    }
    let mut policy = host.object("RestartPolicy")?;
    let name: String = policy.take("Name")?;
    let count: i64 = policy.take("MaximumRetryCount")?;
    restart::policy(&name, count).map(Some).map_err(refused)
}

/// Reads the limits that `create` and `update` share.
pub(in crate::operations::containers) fn limits(host: &mut Object) -> Result<Limits, Failure> {
    Ok(Limits {
        memory: host.number("Memory")?,
        memory_swap: host.number("MemorySwap")?,
        memory_reservation: host.number("MemoryReservation")?,
        nano_cpus: host.number("NanoCpus")?,
        cpu_shares: host.count("CpuShares")?,
        cpu_period: host.count("CpuPeriod")?,
        cpu_quota: host.number("CpuQuota")?,
        cpuset_cpus: host.text("CpusetCpus")?,
        cpuset_mems: host.text("CpusetMems")?,
        // All that is negative means "no limit".
        pids: host.number("PidsLimit")?.map(|pids| pids.max(-1)),
        blkio_weight: match host.count("BlkioWeight")? {
            None => None,
            Some(weight) => Some(
                u16::try_from(weight)
                    .map_err(|_too_big| Failure::bad_request("Range of blkio weight is from 10 to 1000"))?,
            ),
        },
        blkio_weight_devices: weights(host)?,
        device_read_bps: rates(host, "BlkioDeviceReadBps")?,
        device_write_bps: rates(host, "BlkioDeviceWriteBps")?,
        device_read_iops: rates(host, "BlkioDeviceReadIOps")?,
        device_write_iops: rates(host, "BlkioDeviceWriteIOps")?,
        cpu_realtime_period: host.count("CpuRealtimePeriod")?,
        cpu_realtime_runtime: host.number("CpuRealtimeRuntime")?,
        // 0 is a value here.
        memory_swappiness: host
            .take::<Option<i64>>("MemorySwappiness")?
            .filter(|value| *value != -1),
        oom_kill_disable: host.take("OomKillDisable")?,
    })
}

fn rates(host: &mut Object, name: &str) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut rates = Vec::new();
    for mut rate in host.objects(name)? {
        rates.push((PathBuf::from(rate.take::<String>("Path")?), rate.take("Rate")?));
    }
    Ok(rates)
}

fn weights(host: &mut Object) -> Result<Vec<(PathBuf, u16)>, Failure> {
    let mut weights = Vec::new();
    for mut weight in host.objects("BlkioWeightDevice")? {
        weights.push((
            PathBuf::from(weight.take::<String>("Path")?),
            weight.take("Weight")?,
        ));
    }
    Ok(weights)
}

fn ulimits(host: &mut Object) -> Result<Vec<Ulimit>, Failure> {
    let mut limits = Vec::new();
    for mut limit in host.objects("Ulimits")? {
        let name: String = limit.take("Name")?;
        limits.push(ulimit::checked(&name, limit.take("Soft")?, limit.take("Hard")?).map_err(refused)?);
    }
    Ok(limits)
}

fn devices(host: &mut Object, request: &mut CreateContainer) -> Result<(), Failure> {
    for mut one in host.objects("Devices")? {
        let source: String = one.take("PathOnHost")?;
        let target = one.text("PathInContainer")?;
        let permissions = one.text("CgroupPermissions")?;
        let text = match permissions {
            _ if source.contains(':') => source,
            None => format!("{source}:{}", target.as_ref().unwrap_or(&source)),
            Some(permissions) => format!("{source}:{}:{permissions}", target.as_ref().unwrap_or(&source)),
        };
        let DeviceRequest {
            source,
            target,
            permissions,
        } = device::parse(&text).map_err(refused)?;
        request.devices.push(DeviceRequest {
            source,
            target,
            permissions,
        });
    }
    for rule in host.take::<Vec<String>>("DeviceCgroupRules")? {
        request.device_rules.push(device::rule(&rule).map_err(refused)?);
    }
    for mut one in host.objects("DeviceRequests")? {
        let driver = one.text("Driver")?;
        let devices: Vec<String> = one.take("DeviceIDs")?;
        let count = one.number("Count")?;
        let capabilities: Vec<Vec<String>> = one.take("Capabilities")?;
        if driver.as_deref() == Some("cdi") {
            if let Some(wrong) = devices.iter().find(|name| !device::is_cdi(name)) {
                return Err(Failure::bad_request(format!(
                    "invalid DeviceRequest: '{wrong}' is no name of the Container Device Interface"
                )));
            }
            request.cdi_devices.extend(devices);
            continue;
        }
        if count.is_some() && !devices.is_empty() {
            return Err(Failure::bad_request(
                "invalid DeviceRequest: cannot set both Count and DeviceIDs",
            ));
        }
        // One set of capabilities of several will do; there is never more than one.
        let capabilities = capabilities.into_iter().next().unwrap_or_default();
        request.gpus.push(GpuRequest {
            driver,
            count,
            devices,
            capabilities,
            options: one.take("Options")?,
        });
    }
    Ok(())
}
