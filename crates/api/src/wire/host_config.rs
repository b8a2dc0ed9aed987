//! What was asked of the host for a container.

mod mounts;
mod resources;

use mounts::Mount;
use resources::Resources;

use super::container::{HostPort, protocol};
use super::none_if_empty;
use engine::containers::record::Settings;
use engine::containers::request::{
    CgroupNamespace, IpcMode, NamespaceMode, NetworkMode, RestartPolicy, Seccomp, SecurityOptions,
    UserNamespaceMode, UtsMode,
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
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
    storage_opt: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: &'static str,
    userns_mode: &'static str,
    shm_size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<String, String>,
    runtime: String,
    isolation: String,
    #[serde(flatten)]
    resources: Resources,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
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
    pub(super) fn new(name: &str, settings: &Settings) -> Self {
        let request = &settings.request;
        let open_paths = request.privileged || request.security.system_paths_unconfined;
        let paths = |usual: &[&str], asked: &Option<Vec<String>>| match asked {
            _ if request.privileged => None,
            _ if open_paths => Some(Vec::new()),
            Some(asked) => Some(asked.clone()),
            None => Some(usual.iter().map(|&path| path.to_owned()).collect()),
        };
        Self {
            binds: none_if_empty(request.mounts.iter().filter_map(mounts::bind).collect()),
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
            annotations: request.annotations.clone(),
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
                IpcMode::Container(container) => format!("container:{container}"),
                IpcMode::Host => "host".into(),
                IpcMode::None => "none".into(),
                IpcMode::Private => "private".into(),
                IpcMode::Shareable => "shareable".into(),
            },
            cgroup: "",
            links: none_if_empty(request.links.iter().map(|text| link(name, text)).collect()),
            oom_score_adj: request.oom_score_adj,
            pid_mode: match &request.pid {
                NamespaceMode::Container(container) => format!("container:{container}"),
                NamespaceMode::Host => "host".into(),
                NamespaceMode::Own => String::new(),
            },
            privileged: request.privileged,
            publish_all_ports: request.publish_all,
            readonly_rootfs: request.read_only,
            security_opt: none_if_empty(security(&request.security)),
            storage_opt: request.storage_options.clone(),
            tmpfs: request.mounts.iter().filter_map(mounts::tmpfs).collect(),
            uts_mode: match request.uts {
                UtsMode::Host => "host",
                UtsMode::Own => "",
            },
            userns_mode: match request.user_namespace {
                UserNamespaceMode::Configured => "",
                UserNamespaceMode::Host => "host",
            },
            shm_size: request.shm_size.unwrap_or(SHM_SIZE),
            sysctls: request.sysctls.clone(),
            runtime: request.runtime.clone().unwrap_or_else(|| "coracle".into()),
            isolation: request.isolation.clone().unwrap_or_default(),
            resources: Resources::new(request),
            mounts: request.mounts.iter().filter_map(mounts::mount).collect(),
            masked_paths: paths(MASKED, &request.security.masked_paths),
            readonly_paths: paths(READ_ONLY, &request.security.read_only_paths),
            init: request.init.then_some(true),
        }
    }
}

pub(super) fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".into(),
        NetworkMode::Container(container) => format!("container:{container}"),
        NetworkMode::Host => "host".into(),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::None => "none".into(),
    }
}

/// Writes a link as Docker keeps it: the other container, then this one with the name that it has in it.
fn link(name: &str, text: &str) -> String {
    let (other, alias) = text.split_once(':').unwrap_or((text, text));
    format!("/{other}:/{name}/{alias}")
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
