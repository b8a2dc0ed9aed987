//! What was asked of the host for a container.

use super::container::{HostPort, protocol};
use super::none_if_empty;
use engine::containers::record::Settings;
use engine::containers::request::{
    Below, CgroupNamespace, CreateContainer, DeviceRequest, IpcMode, MountRequest, MountSource,
    NamespaceMode, NetworkMode, RestartPolicy, Seccomp, SecurityOptions, Ulimit, UserNamespaceMode, UtsMode,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `HostConfig` of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: String,
    log_config: LogConfig,
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<HostPort>>,
    restart_policy: Policy,
    auto_remove: bool,
    volume_driver: String,
    volumes_from: Option<Vec<String>>,
    console_size: [u16; 2],
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    cgroupns_mode: &'static str,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    ipc_mode: String,
    cgroup: &'static str,
    links: Option<Vec<String>>,
    oom_score_adj: i32,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: &'static str,
    userns_mode: &'static str,
    shm_size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage_opt: BTreeMap<String, String>,
    runtime: String,
    isolation: String,
    cpu_shares: u64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: String,
    blkio_weight: u16,
    blkio_weight_device: Vec<Weight>,
    blkio_device_read_bps: Vec<Rate>,
    blkio_device_write_bps: Vec<Rate>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_operations: Vec<Rate>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_operations: Vec<Rate>,
    cpu_period: u64,
    cpu_quota: i64,
    cpu_realtime_period: u64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<Device>,
    device_cgroup_rules: Option<Vec<String>>,
    device_requests: Option<Vec<DeviceRequests>>,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: Option<bool>,
    pids_limit: Option<i64>,
    ulimits: Option<Vec<Limit>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
    masked_paths: Option<Vec<&'static str>>,
    readonly_paths: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weight {
    path: String,
    weight: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rate {
    path: String,
    rate: u64,
}

/// Devices that are asked for by what they can, or by their names in the Container Device Interface.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceRequests {
    driver: String,
    count: i64,
    #[serde(rename = "DeviceIDs")]
    device_ids: Option<Vec<String>>,
    capabilities: Option<Vec<Vec<String>>>,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: String,
    config: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    name: &'static str,
    maximum_retry_count: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Device {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    name: String,
    hard: i64,
    soft: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmpfs_options: Option<TmpfsOptions>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    propagation: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    non_recursive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    create_mountpoint: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_force_recursive: bool,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_copy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_config: Option<DriverConfig>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DriverConfig {
    name: String,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageOptions {
    subpath: String,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TmpfsOptions {
    size_bytes: u64,
    mode: u32,
}

/// What Docker gives `/dev/shm` where nothing is asked for.
const SHM_SIZE: u64 = 64 << 20;

/// Docker's masked and read-only paths, for `inspect`; the runtime's own list is what is in force.
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl HostConfig {
    pub(super) fn new(settings: &Settings) -> Self {
        let request = &settings.request;
        let limits = &request.limits;
        let open_paths = request.privileged || request.security.system_paths_unconfined;
        let paths = |paths: &[&'static str]| if open_paths { None } else { Some(paths.to_vec()) };
        Self {
            binds: none_if_empty(request.mounts.iter().filter_map(bind).collect()),
            container_id_file: request
                .id_file
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            log_config: LogConfig {
                kind: settings.log_driver.clone(),
                config: settings.log_options.clone(),
            },
            network_mode: network_mode(&request.network),
            port_bindings: port_bindings(settings),
            restart_policy: policy(request.restart),
            auto_remove: request.remove_when_done,
            volume_driver: request.volume_driver.clone().unwrap_or_default(),
            volumes_from: none_if_empty(request.volumes_from.clone()),
            console_size: [0, 0],
            cap_add: none_if_empty(request.capabilities_add.clone()),
            cap_drop: none_if_empty(request.capabilities_drop.clone()),
            cgroupns_mode: match request.cgroup_namespace {
                Some(CgroupNamespace::Private) => "private",
                None if engine::containers::has_version_2_alone() => "private",
                Some(CgroupNamespace::Host) | None => "host",
            },
            dns: request.dns.iter().map(ToString::to_string).collect(),
            dns_options: request.dns_options.clone(),
            dns_search: request.dns_search.clone(),
            extra_hosts: none_if_empty(
                request
                    .extra_hosts
                    .iter()
                    .map(|(name, address)| format!("{name}:{address}"))
                    .collect(),
            ),
            group_add: none_if_empty(request.groups.clone()),
            ipc_mode: match &request.ipc {
                IpcMode::Private => "private".into(),
                IpcMode::None => "none".into(),
                IpcMode::Shareable => "shareable".into(),
                IpcMode::Host => "host".into(),
                IpcMode::Container(container) => format!("container:{container}"),
            },
            cgroup: "",
            links: None,
            oom_score_adj: request.oom_score_adj,
            pid_mode: match &request.pid {
                NamespaceMode::Own => String::new(),
                NamespaceMode::Host => "host".into(),
                NamespaceMode::Container(container) => format!("container:{container}"),
            },
            privileged: request.privileged,
            publish_all_ports: request.publish_all,
            readonly_rootfs: request.read_only,
            security_opt: none_if_empty(security(&request.security)),
            tmpfs: request.mounts.iter().filter_map(tmpfs).collect(),
            uts_mode: match request.uts {
                UtsMode::Own => "",
                UtsMode::Host => "host",
            },
            userns_mode: match request.user_namespace {
                UserNamespaceMode::Configured => "",
                UserNamespaceMode::Host => "host",
            },
            shm_size: request.shm_size.unwrap_or(SHM_SIZE),
            sysctls: request.sysctls.clone(),
            storage_opt: request.storage_options.clone(),
            runtime: request.runtime.clone().unwrap_or_else(|| "coracle".into()),
            isolation: request.isolation.clone().unwrap_or_default(),
            cpu_shares: limits.cpu_shares.unwrap_or(0),
            memory: limits.memory.unwrap_or(0),
            nano_cpus: limits.nano_cpus.unwrap_or(0),
            cgroup_parent: request.cgroup_parent.clone().unwrap_or_default(),
            blkio_weight: limits.blkio_weight.unwrap_or(0),
            blkio_weight_device: limits
                .blkio_weight_devices
                .iter()
                .map(|(path, weight)| Weight {
                    path: path.display().to_string(),
                    weight: *weight,
                })
                .collect(),
            blkio_device_read_bps: rates(&limits.device_read_bps),
            blkio_device_write_bps: rates(&limits.device_write_bps),
            blkio_device_read_operations: rates(&limits.device_read_iops),
            blkio_device_write_operations: rates(&limits.device_write_iops),
            cpu_period: limits.cpu_period.unwrap_or(0),
            cpu_quota: limits.cpu_quota.unwrap_or(0),
            cpu_realtime_period: limits.cpu_realtime_period.unwrap_or(0),
            cpu_realtime_runtime: limits.cpu_realtime_runtime.unwrap_or(0),
            cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
            devices: request.devices.iter().map(device).collect(),
            device_cgroup_rules: none_if_empty(request.device_rules.clone()),
            device_requests: none_if_empty(device_requests(request)),
            memory_reservation: limits.memory_reservation.unwrap_or(0),
            memory_swap: limits
                .memory_swap
                .unwrap_or_else(|| limits.memory.unwrap_or(0).saturating_mul(2)),
            memory_swappiness: limits.memory_swappiness,
            oom_kill_disable: Some(limits.oom_kill_disable),
            pids_limit: limits.pids,
            ulimits: none_if_empty(request.ulimits.iter().map(ulimit).collect()),
            mounts: request.mounts.iter().filter_map(mount).collect(),
            masked_paths: paths(MASKED),
            readonly_paths: paths(READ_ONLY),
            init: request.init.then_some(true),
            annotations: request.annotations.clone(),
        }
    }
}

fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".into(),
        NetworkMode::Container(container) => format!("container:{container}"),
        NetworkMode::Host => "host".into(),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::None => "none".into(),
    }
}

fn port_bindings(settings: &Settings) -> BTreeMap<String, Vec<HostPort>> {
    let mut bindings: BTreeMap<String, Vec<HostPort>> = BTreeMap::new();
    for publish in &settings.request.publish {
        let (first, last) = (publish.host_ports.start(), publish.host_ports.end());
        let host_port = match (first, last) {
            (0, 0) => String::new(),
            _ if first == last => first.to_string(),
            _ => format!("{first}-{last}"),
        };
        let key = format!("{}/{}", publish.port, protocol(publish.protocol));
        bindings.entry(key).or_default().push(HostPort {
            host_ip: publish.host.map(|host| host.to_string()).unwrap_or_default(),
            host_port,
        });
    }
    bindings
}

fn policy(policy: RestartPolicy) -> Policy {
    let (name, maximum_retry_count) = match policy {
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure(count) => ("on-failure", count),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    };
    Policy {
        name,
        maximum_retry_count,
    }
}

fn security(options: &SecurityOptions) -> Vec<String> {
    let mut all = Vec::new();
    if options.no_new_privileges {
        all.push("no-new-privileges".to_owned());
    }
    match &options.seccomp {
        Seccomp::Default => {}
        Seccomp::Profile(profile) => all.push(format!("seccomp={profile}")),
        Seccomp::Unconfined => all.push("seccomp=unconfined".to_owned()),
    }
    all.extend(
        options
            .apparmor
            .iter()
            .map(|profile| format!("apparmor={profile}")),
    );
    all.extend(options.labels.iter().map(|label| format!("label={label}")));
    if options.writable_cgroups {
        all.push("writable-cgroups=true".to_owned());
    }
    if options.system_paths_unconfined {
        all.push("systempaths=unconfined".to_owned());
    }
    all
}

/// The mounts that `-v` makes with a source; Docker shows those as binds, whatever they are.
fn bind(mount: &MountRequest) -> Option<String> {
    if mount.long {
        return None;
    }
    let source = match &mount.source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Volume { name: Some(name), .. } => name.clone(),
        _ => return None,
    };
    let mut text = format!("{source}:{}", mount.target);
    // A container made by an earlier version has its options in fields alone.
    let mode = if mount.mode.is_empty() && mount.read_only {
        "ro"
    } else {
        &mount.mode
    };
    if !mode.is_empty() {
        text.push(':');
        text.push_str(mode);
    }
    Some(text)
}

fn tmpfs(mount: &MountRequest) -> Option<(String, String)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else {
        return None;
    };
    if mount.long {
        return None;
    }
    let mut all = options.clone();
    all.extend(size.map(|size| format!("size={size}")));
    all.extend(mode.map(|mode| format!("mode={mode:o}")));
    if mount.read_only {
        all.push("ro".into());
    }
    Some((mount.target.clone(), all.join(",")))
}

/// What came by `--mount`.
fn mount(mount: &MountRequest) -> Option<Mount> {
    if !mount.long {
        return None;
    }
    let mut shown = Mount {
        kind: "volume",
        source: String::new(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        bind_options: None,
        volume_options: None,
        image_options: None,
        tmpfs_options: None,
    };
    match &mount.source {
        MountSource::Bind {
            path,
            create,
            propagation,
            recursive,
            below,
        } => {
            shown.kind = "bind";
            shown.source = path.display().to_string();
            let options = BindOptions {
                propagation: propagation.clone().unwrap_or_default(),
                non_recursive: !recursive,
                create_mountpoint: *create,
                read_only_non_recursive: *below == Below::AsItIs,
                read_only_force_recursive: *below == Below::ReadOnlyByName,
            };
            shown.bind_options = (options != BindOptions::default()).then_some(options);
        }
        MountSource::Image { reference, subpath } => {
            shown.kind = "image";
            shown.source.clone_from(reference);
            shown.image_options = subpath.clone().map(|subpath| ImageOptions { subpath });
        }
        MountSource::Tmpfs { size, mode, .. } => {
            shown.kind = "tmpfs";
            let options = TmpfsOptions {
                size_bytes: size.unwrap_or(0),
                mode: mode.unwrap_or(0),
            };
            shown.tmpfs_options = (options != TmpfsOptions::default()).then_some(options);
        }
        MountSource::Volume {
            name,
            no_copy,
            subpath,
            labels,
            driver,
        } => {
            shown.source = name.clone().unwrap_or_default();
            let options = VolumeOptions {
                no_copy: *no_copy,
                labels: labels.clone(),
                subpath: subpath.clone().unwrap_or_default(),
                driver_config: driver.clone().map(|name| DriverConfig { name }),
            };
            shown.volume_options = (options != VolumeOptions::default()).then_some(options);
        }
    }
    Some(shown)
}

fn rates(rates: &[(PathBuf, u64)]) -> Vec<Rate> {
    rates
        .iter()
        .map(|(path, rate)| Rate {
            path: path.display().to_string(),
            rate: *rate,
        })
        .collect()
}

fn device_requests(request: &CreateContainer) -> Vec<DeviceRequests> {
    let gpus = request.gpus.iter().map(|gpus| DeviceRequests {
        driver: gpus.driver.clone().unwrap_or_default(),
        count: gpus.count.unwrap_or(0),
        device_ids: none_if_empty(gpus.devices.clone()),
        capabilities: Some(vec![gpus.capabilities.clone()]),
        options: gpus.options.clone(),
    });
    let named = (!request.cdi_devices.is_empty()).then(|| DeviceRequests {
        driver: "cdi".into(),
        count: 0,
        device_ids: Some(request.cdi_devices.clone()),
        capabilities: None,
        options: BTreeMap::new(),
    });
    gpus.chain(named).collect()
}

fn device(device: &DeviceRequest) -> Device {
    Device {
        path_on_host: device.source.display().to_string(),
        path_in_container: device.target.display().to_string(),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn ulimit(limit: &Ulimit) -> Limit {
    Limit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    }
}
