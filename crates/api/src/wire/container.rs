//! A container, as `docker inspect` shows it.
#![expect(
    clippy::zero_sized_map_values,
    reason = "Docker's shape: sets are maps to empty objects"
)]

use super::fate::{EndCause, HealthState, RunUsage};
use super::network_settings::NetworkSettings;
use super::{HostConfig, mac, none_if_empty, time};
use crate::server::ApiVersion;
use engine::containers::record::{Activity, Container};
use engine::containers::request::OnUnhealthy;
use engine::network::Protocol;
use oci::{Empty, Healthcheck};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `GET /containers/{id}/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    id: String,
    created: String,
    path: String,
    args: Vec<String>,
    state: State,
    image: String,
    resolv_conf_path: String,
    hostname_path: String,
    hosts_path: String,
    log_path: String,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: String,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<String>>,
    host_config: HostConfig,
    graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    mounts: Vec<Mount>,
    config: Config,
    network_settings: NetworkSettings,
    /// What `--mac-address` said, which stands elsewhere in early versions.
    #[serde(skip)]
    mac_address: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: i32,
    error: String,
    started_at: String,
    finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<EndCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<RunUsage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: BTreeMap<&'static str, String>,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'static str>,
    mode: String,
    #[serde(rename = "RW")]
    writable: bool,
    propagation: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    hostname: String,
    domainname: String,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
    image: String,
    volumes: Option<BTreeMap<String, Empty>>,
    working_dir: String,
    entrypoint: Option<Vec<String>>,
    /// Up to version 1.43.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<String>,
    on_build: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<u64>,
    /// `--timeout`, in nanoseconds as a health check's; like the next no field of Docker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_on_failure: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostPort {
    pub(super) host_ip: String,
    pub(super) host_port: String,
}

/// Returns Docker's word for what a container does.
pub fn status_text(activity: Activity) -> &'static str {
    match activity {
        Activity::Created => "created",
        Activity::Exited => "exited",
        Activity::Paused => "paused",
        Activity::Removing => "removing",
        Activity::Restarting => "restarting",
        Activity::Running => "running",
    }
}

impl ContainerInspect {
    /// Makes it of a container; `root` is where the engine keeps its things, `lower` the directories of its image's
    /// layers, the topmost first.
    pub fn new(container: &Container, root: &Path, lower: &[PathBuf]) -> Self {
        let directory = root.join("containers").join(container.id.as_str());
        let file = |name: &str| directory.join(name).display().to_string();
        let settings = &container.settings;
        let mut command = settings.entrypoint.iter().chain(&settings.command).cloned();
        let log_path = if settings.log_driver == "json-file" {
            engine::containers::logs::json_file(&directory, &container.id)
                .display()
                .to_string()
        } else {
            String::new()
        };
        Self {
            id: container.id.to_string(),
            created: time(Some(container.created)),
            path: command.next().unwrap_or_default(),
            args: command.collect(),
            state: State::new(container),
            image: container.image.to_string(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path,
            name: format!("/{}", container.name),
            restart_count: container.status.restarts,
            driver: "overlay2",
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: engine::containers::apparmor::shown(&settings.request),
            exec_ids: none_if_empty(container.execs.clone()),
            host_config: HostConfig::new(&container.name, settings),
            graph_driver: GraphDriver {
                data: [
                    ("ID", container.id.to_string()),
                    ("LowerDir", directories(lower)),
                    // Nothing is mounted on the host: what the container sees is found through its process.
                    (
                        "MergedDir",
                        container
                            .pid
                            .map(|pid| format!("/proc/{pid}/root"))
                            .unwrap_or_default(),
                    ),
                    ("UpperDir", file("upper")),
                    ("WorkDir", file("work")),
                ]
                .into(),
                name: "overlay2",
            },
            size_rw: container.size_rw,
            size_root_fs: container.size_root,
            mounts: container.settings.mounts.iter().map(Mount::new).collect(),
            config: Config::new(container),
            network_settings: NetworkSettings::new(container),
            mac_address: settings.request.mac_address.map(mac),
        }
    }
}

impl ContainerInspect {
    /// Makes it what clients of a version of the API know.
    #[must_use]
    pub fn of_version(mut self, version: ApiVersion) -> Self {
        if version < ApiVersion::new(44) {
            self.config.mac_address = self.mac_address.take();
        }
        self.network_settings.of_version(version, &self.id);
        self
    }
}

/// Directories as overlayfs takes them.
pub(super) fn directories(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(":")
}

impl State {
    fn new(container: &Container) -> Self {
        let status = &container.status;
        let exit = status.exit.as_ref();
        let activity = container.activity;
        let is_running = matches!(
            activity,
            Activity::Running | Activity::Paused | Activity::Restarting
        );
        Self {
            status: status_text(activity),
            running: is_running,
            paused: activity == Activity::Paused,
            restarting: activity == Activity::Restarting,
            oom_killed: container.oom_killed,
            dead: false,
            pid: container.pid.unwrap_or(0),
            exit_code: exit.filter(|_| !is_running).map_or(0, |exit| exit.code),
            error: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
            started_at: time(status.started),
            finished_at: time(exit.map(|exit| exit.finished)),
            health: container.health.as_ref().map(HealthState::new),
            cause: exit.and_then(EndCause::new),
            usage: exit.and_then(|exit| RunUsage::new(&exit.usage)),
        }
    }
}

impl Mount {
    pub(super) fn new(mount: &engine::containers::record::ContainerMount) -> Self {
        Self {
            kind: mount.kind.clone(),
            // Of an image it is what is mounted.
            name: mount.name.clone().filter(|_| mount.kind == "volume"),
            source: match &mount.name {
                Some(image) if mount.kind == "image" => image.clone(),
                _ => mount.source.display().to_string(),
            },
            destination: mount.target.clone(),
            driver: (mount.kind == "volume").then_some("local"),
            mode: mount.mode.clone(),
            writable: mount.writable,
            propagation: mount.propagation.clone(),
        }
    }
}

impl Config {
    fn new(container: &Container) -> Self {
        let settings = &container.settings;
        let request = &settings.request;
        let exposed = settings.exposed.iter().map(|port| (port.clone(), Empty {}));
        // Docker has volumes with names among the binds, and those of `--mount` by themselves.
        let stands_elsewhere = |target: &str| {
            let mut mounts = request.mounts.iter().filter(|mount| mount.target == target);
            mounts.any(|mount| mount.long || mount.source.is_named_volume())
        };
        let volumes: BTreeMap<String, Empty> = settings
            .mounts
            .iter()
            .filter(|mount| mount.kind == "volume" && !stands_elsewhere(&mount.target))
            .map(|mount| (mount.target.clone(), Empty {}))
            .collect();
        Self {
            hostname: settings.hostname.clone(),
            domainname: request.domain_name.clone().unwrap_or_default(),
            user: settings.user.clone(),
            attach_stdin: request.attach.stdin,
            attach_stdout: request.attach.stdout,
            attach_stderr: request.attach.stderr,
            exposed_ports: exposed.collect(),
            tty: request.terminal,
            open_stdin: request.open_stdin,
            stdin_once: request.stdin_once,
            env: none_if_empty(settings.environment.clone()),
            cmd: none_if_empty(settings.command.clone()),
            healthcheck: settings.healthcheck.clone(),
            image: settings.image_name.clone(),
            volumes: if volumes.is_empty() { None } else { Some(volumes) },
            working_dir: settings.working_directory.clone(),
            entrypoint: none_if_empty(settings.entrypoint.clone()),
            mac_address: None,
            on_build: None,
            labels: settings.labels.clone(),
            stop_signal: request.stop_signal.clone().unwrap_or_default(),
            stop_timeout: request.stop_timeout.map(|timeout| timeout.as_secs()),
            timeout: request.timeout.map(|timeout| timeout.as_nanos()),
            health_on_failure: match request.health.on_failure {
                OnUnhealthy::Nothing => None,
                OnUnhealthy::Kill => Some("kill"),
                OnUnhealthy::Restart => Some("restart"),
                OnUnhealthy::Stop => Some("stop"),
            },
        }
    }
}

pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sctp => "sctp",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}
