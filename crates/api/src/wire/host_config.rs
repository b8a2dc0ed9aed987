//! What was asked of the host for a container.

use super::container::{HostPort, protocol};
use super::none_if_empty;
use engine::containers::record::Settings;
use engine::containers::request::{
    DeviceRequest, MountRequest, MountSource, NetworkMode, RestartPolicy, Seccomp, SecurityOptions, Ulimit,
};
use serde::Serialize;
use std::collections::BTreeMap;

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
    ipc_mode: &'static str,
    cgroup: &'static str,
    links: Option<Vec<String>>,
    oom_score_adj: i32,
    pid_mode: &'static str,
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
    runtime: &'static str,
    isolation: &'static str,
    cpu_shares: u64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: String,
    blkio_weight: u16,
    cpu_period: u64,
    cpu_quota: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<Device>,
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
            container_id_file: String::new(),
            log_config: LogConfig {
                kind: settings.log_driver.clone(),
                config: settings.log_options.clone(),
            },
            network_mode: network_mode(&request.network),
            port_bindings: port_bindings(settings),
            restart_policy: policy(request.restart),
            auto_remove: request.remove_when_done,
            volume_driver: String::new(),
            volumes_from: None,
            console_size: [0, 0],
            cap_add: none_if_empty(request.capabilities_add.clone()),
            cap_drop: none_if_empty(request.capabilities_drop.clone()),
            cgroupns_mode: "private",
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
            ipc_mode: "private",
            cgroup: "",
            links: None,
            oom_score_adj: request.oom_score_adj,
            pid_mode: "",
            privileged: request.privileged,
            publish_all_ports: request.publish_all,
            readonly_rootfs: request.read_only,
            security_opt: none_if_empty(security(&request.security)),
            tmpfs: request.mounts.iter().filter_map(tmpfs).collect(),
            uts_mode: "",
            userns_mode: "",
            shm_size: request.shm_size.unwrap_or(SHM_SIZE),
            sysctls: request.sysctls.clone(),
            runtime: "coracle",
            isolation: "",
            cpu_shares: limits.cpu_shares.unwrap_or(0),
            memory: limits.memory.unwrap_or(0),
            nano_cpus: limits.nano_cpus.unwrap_or(0),
            cgroup_parent: request.cgroup_parent.clone().unwrap_or_default(),
            blkio_weight: limits.blkio_weight.unwrap_or(0),
            cpu_period: limits.cpu_period.unwrap_or(0),
            cpu_quota: limits.cpu_quota.unwrap_or(0),
            cpuset_cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
            devices: request.devices.iter().map(device).collect(),
            memory_reservation: limits.memory_reservation.unwrap_or(0),
            memory_swap: limits
                .memory_swap
                .unwrap_or_else(|| limits.memory.unwrap_or(0).saturating_mul(2)),
            memory_swappiness: None,
            oom_kill_disable: None,
            pids_limit: limits.pids,
            ulimits: none_if_empty(request.ulimits.iter().map(ulimit).collect()),
            mounts: request.mounts.iter().filter_map(mount).collect(),
            masked_paths: paths(MASKED),
            readonly_paths: paths(READ_ONLY),
            init: request.init.then_some(true),
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
    all
}

/// The mounts that `-v` makes with a source; Docker shows those as binds, whatever they are.
fn bind(mount: &MountRequest) -> Option<String> {
    let (source, option) = match &mount.source {
        MountSource::Bind {
            path,
            create: true,
            propagation,
            ..
        } => (path.display().to_string(), propagation.clone()),
        MountSource::Volume {
            name: Some(name),
            no_copy,
            subpath: None,
        } => (name.clone(), no_copy.then(|| "nocopy".to_owned())),
        _ => return None,
    };
    let options: Vec<String> = mount
        .read_only
        .then(|| "ro".to_owned())
        .into_iter()
        .chain(option)
        .collect();
    Some(if options.is_empty() {
        format!("{source}:{}", mount.target)
    } else {
        format!("{source}:{}:{}", mount.target, options.join(","))
    })
}

fn tmpfs(mount: &MountRequest) -> Option<(String, String)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else {
        return None;
    };
    let mut all = options.clone();
    all.extend(size.map(|size| format!("size={size}")));
    all.extend(mode.map(|mode| format!("mode={mode:o}")));
    if mount.read_only {
        all.push("ro".into());
    }
    Some((mount.target.clone(), all.join(",")))
}

fn mount(mount: &MountRequest) -> Option<Mount> {
    let (kind, source) = match &mount.source {
        MountSource::Bind {
            path, create: false, ..
        } => ("bind", path.display().to_string()),
        MountSource::Volume {
            name: Some(name),
            subpath: Some(_),
            ..
        } => ("volume", name.clone()),
        _ => return None,
    };
    Some(Mount {
        kind,
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
    })
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
