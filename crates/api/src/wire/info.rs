//! The engine and its host, as `docker info` shows them.

use engine::{Engine, Info};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `GET /info`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SystemInfo {
    #[serde(rename = "ID")]
    id: String,
    containers: u64,
    containers_running: u64,
    containers_paused: u64,
    containers_stopped: u64,
    images: u64,
    driver: &'static str,
    driver_status: Vec<[String; 2]>,
    plugins: Value,
    memory_limit: bool,
    swap_limit: bool,
    cpu_cfs_period: bool,
    cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    cpu_set: bool,
    pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    ipv4_forwarding: bool,
    oom_kill_disable: bool,
    debug: bool,
    #[serde(rename = "NFd")]
    open_files: u64,
    #[serde(rename = "NGoroutines")]
    goroutines: u64,
    #[serde(rename = "NEventsListener")]
    event_listeners: u64,
    system_time: String,
    logging_driver: String,
    cgroup_driver: String,
    cgroup_version: &'static str,
    kernel_version: String,
    operating_system: String,
    #[serde(rename = "OSVersion")]
    os_version: String,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: String,
    #[serde(rename = "NCPU")]
    processors: u64,
    mem_total: u64,
    index_server_address: &'static str,
    registry_config: Value,
    generic_resources: Option<Vec<Value>>,
    docker_root_dir: String,
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    name: String,
    labels: Vec<String>,
    experimental_build: bool,
    server_version: &'static str,
    runtimes: BTreeMap<&'static str, Value>,
    default_runtime: &'static str,
    swarm: Value,
    live_restore_enabled: bool,
    isolation: &'static str,
    init_binary: &'static str,
    containerd_commit: Value,
    runc_commit: Value,
    init_commit: Value,
    security_options: Vec<String>,
    #[serde(rename = "CDISpecDirs")]
    cdi_spec_dirs: [&'static str; 2],
    firewall_backend: Value,
    warnings: Vec<String>,
    /// What Docker does not have: the configuration in force.
    settings: Map<String, Value>,
}

impl SystemInfo {
    /// Makes it; `version` is ours.
    pub fn new(info: &Info, engine: &Engine, version: &'static str) -> Self {
        let config = engine.config();
        let variable = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| std::env::var(name).ok());
            found.unwrap_or_default()
        };
        let settings = info.settings.iter();
        let insecure: Map<String, Value> = config
            .insecure_registries
            .iter()
            .map(|name| {
                let entry = json!({"Name": name, "Mirrors": [], "Secure": false, "Official": false});
                (name.clone(), entry)
            })
            .collect();
        let commit = || json!({"ID": ""});
        Self {
            id: info.id.clone(),
            containers: info.running + info.paused + info.stopped,
            containers_running: info.running,
            containers_paused: info.paused,
            containers_stopped: info.stopped,
            images: info.images,
            driver: "overlay2",
            driver_status: info
                .storage
                .iter()
                .map(|(key, value)| [key.clone(), value.clone()])
                .collect(),
            plugins: json!({
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": null,
                "Log": info.log_drivers,
            }),
            memory_limit: info.has("memory"),
            swap_limit: info.swap_limit,
            cpu_cfs_period: info.has("cpu"),
            cpu_cfs_quota: info.has("cpu"),
            cpu_shares: info.has("cpu"),
            cpu_set: info.has("cpuset"),
            pids_limit: info.has("pids"),
            ipv4_forwarding: info.forwards,
            oom_kill_disable: info.has("memory") && cgroup_version(info) == "1",
            debug: false,
            open_files: 0,
            goroutines: 0,
            event_listeners: 0,
            system_time: jiff::Timestamp::now().to_string(),
            logging_driver: config.log_driver.clone(),
            cgroup_driver: info.cgroup_driver.clone(),
            cgroup_version: cgroup_version(info),
            kernel_version: info.kernel.clone(),
            operating_system: info.operating_system.clone(),
            os_version: info.operating_system_version.clone(),
            os_type: "linux",
            architecture: info.machine.clone(),
            processors: info.processors,
            mem_total: info.memory,
            index_server_address: "https://index.docker.io/v1/",
            registry_config: json!({
                "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
                "IndexConfigs": insecure,
                "Mirrors": config.mirrors.iter().map(|mirror| &mirror.endpoint).collect::<Vec<_>>(),
            }),
            generic_resources: None,
            docker_root_dir: engine.locations().root.display().to_string(),
            http_proxy: masked(&variable(["HTTP_PROXY", "http_proxy"])),
            https_proxy: masked(&variable(["HTTPS_PROXY", "https_proxy"])),
            no_proxy: variable(["NO_PROXY", "no_proxy"]),
            name: info.name.clone(),
            labels: Vec::new(),
            experimental_build: false,
            server_version: version,
            runtimes: [("coracle", json!({"path": "coracle"}))].into(),
            default_runtime: "coracle",
            swarm: json!({
                "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
                "RemoteManagers": null,
            }),
            live_restore_enabled: true,
            isolation: "",
            init_binary: "coracle",
            containerd_commit: commit(),
            runc_commit: commit(),
            init_commit: commit(),
            security_options: info.security.iter().map(|name| security_option(name)).collect(),
            cdi_spec_dirs: ["/etc/cdi", "/var/run/cdi"],
            firewall_backend: json!({"Driver": "nftables"}),
            warnings: info.warnings.clone(),
            settings: settings
                .map(|(key, value)| (key.clone(), value.as_str().into()))
                .collect(),
        }
    }
}

/// Hides user and password of a proxy, as Docker does.
fn masked(address: &str) -> String {
    let Ok(mut url) = url::Url::parse(address) else {
        return address.to_owned();
    };
    if url.username().is_empty() && url.password().is_none() {
        return address.to_owned();
    }
    // Both fail only for addresses without a host, which have no user either.
    url.set_username("xxxxx").unwrap_or_default();
    url.set_password(Some("xxxxx")).unwrap_or_default();
    url.to_string()
}

/// Docker calls a mixture of both version 1, whose controllers are the ones that count.
fn cgroup_version(info: &Info) -> &'static str {
    match info.cgroup_version.as_str() {
        "2" => "2",
        "1" | "hybrid" => "1",
        _ => "",
    }
}

fn security_option(name: &str) -> String {
    match name {
        "seccomp" => "name=seccomp,profile=builtin".into(),
        name => format!("name={name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_a_proxys_password() {
        for (address, expected) in [
            (
                "http://anna:secret@proxy.example:3128",
                "http://xxxxx:xxxxx@proxy.example:3128/",
            ),
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("", ""),
        ] {
            assert_eq!(masked(address), expected);
        }
    }
}
