//! What can be asked about containers: the command line's flags and the API's bodies both become these.

use network::Protocol;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// A container to be made. `Default` is what `docker create IMAGE` means.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct CreateContainer {
    /// Name; one is made up if there is none.
    pub name: Option<String>,
    /// Reference, id or id prefix, as the user wrote it.
    pub image: String,
    /// `--platform`.
    pub platform: Option<oci::Platform>,
    /// Whether a missing image is fetched.
    pub pull: PullPolicy,
    /// Arguments after the image; empty takes the image's.
    pub command: Vec<String>,
    /// `--entrypoint`; one empty word (`--entrypoint ""`) clears the image's and its arguments, no word at all only the
    /// entry point.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`; the client has filled names without a value from its own environment. A bare `NAME` here removes
    /// the image's variable, as Docker does.
    pub environment: Vec<String>,
    /// `-w`.
    pub working_directory: Option<String>,
    /// `-u user[:group]`.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `-h`.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domain_name: Option<String>,
    /// `-l`.
    pub labels: BTreeMap<String, String>,
    /// `-t`.
    pub terminal: bool,
    /// `-i`: keep standard input open.
    pub open_stdin: bool,
    /// Standard input ends when the first client that is attached to it leaves (Docker's `StdinOnce`).
    pub stdin_once: bool,
    /// Which streams the creating client attaches: recorded for `inspect` only.
    pub attach: Attach,
    /// `--rm`.
    pub remove_when_done: bool,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--stop-signal`, a name or number.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`.
    pub stop_timeout: Option<Duration>,
    /// `--init`.
    pub init: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`.
    pub capabilities_add: Vec<String>,
    /// `--cap-drop`.
    pub capabilities_drop: Vec<String>,
    /// `--security-opt`.
    pub security: SecurityOptions,
    /// `-v`, `--mount`, `--tmpfs`, in the order in which they were written.
    pub mounts: Vec<MountRequest>,
    /// `--volumes-from`: `container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// `--network`.
    pub network: NetworkMode,
    /// What was said of each network that it is to be on, the first for `network`: empty is the network alone.
    pub attachments: Vec<NetworkAttachment>,
    /// `--link`: `container` or `container:alias`.
    pub links: Vec<String>,
    /// `-p`.
    pub publish: Vec<PublishRequest>,
    /// `-P`.
    pub publish_all: bool,
    /// `--expose`, `port/protocol`.
    pub expose: Vec<String>,
    /// `--add-host` (name, address; the address may be `host-gateway`).
    pub extra_hosts: Vec<(String, String)>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// Memory, processor and process limits.
    pub limits: Limits,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--device /dev/…`.
    pub devices: Vec<DeviceRequest>,
    /// `--device vendor/class=name`: names in the Container Device Interface.
    pub cdi_devices: Vec<String>,
    /// `--gpus`.
    pub gpus: Vec<GpuRequest>,
    /// `--device-cgroup-rule`, as written: `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--oom-score-adj`.
    pub oom_score_adj: i32,
    /// `--log-driver`: `json-file`, `local`, `journald` or `none`; `None` is the configured default.
    pub log_driver: Option<String>,
    /// `--log-opt`.
    pub log_options: BTreeMap<String, String>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `--cgroupns`; `None` is private.
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// `--pid`.
    pub pid: NamespaceMode,
    /// `--ipc`.
    pub ipc: IpcMode,
    /// `--uts`.
    pub uts: UtsMode,
    /// `--userns`.
    pub user_namespace: UserNamespaceMode,
    /// `--annotation`.
    pub annotations: BTreeMap<String, String>,
    /// `--storage-opt`.
    pub storage_options: BTreeMap<String, String>,
    /// `--runtime`, recorded; there is one runtime.
    pub runtime: Option<String>,
    /// `--isolation`, which has one value here.
    pub isolation: Option<String>,
    /// `--mac-address`.
    pub mac_address: Option<[u8; 6]>,
    /// `--volume-driver`, for volumes that name none.
    pub volume_driver: Option<String>,
    /// `--cidfile`: recorded for `inspect` only; the client writes it.
    pub id_file: Option<PathBuf>,
    /// `--health-*` and `--no-healthcheck`, over what the image says.
    pub health: HealthRequest,
    /// `--timeout`: a run that lasts longer is stopped as `stop` does it. No flag of Docker's.
    pub timeout: Option<Duration>,
    /// Whether the host's own extra CA certificates are trusted inside; `None` is the configured default.
    pub host_ca: Option<bool>,
}

/// `--health-*`: what of the image's health check is overridden.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct HealthRequest {
    /// `--no-healthcheck`.
    pub none: bool,
    /// The check in the image format's form: `["CMD-SHELL", "…"]` or `["CMD", "…", …]`. `--health-cmd` gives the first.
    pub test: Option<Vec<String>>,
    /// Between two checks.
    pub interval: Option<Duration>,
    /// The longest that one may last.
    pub timeout: Option<Duration>,
    /// Failures in a row that make the container unhealthy.
    pub retries: Option<u32>,
    /// Failures this soon after the start do not count.
    pub start_period: Option<Duration>,
    /// Between two checks during the start period.
    pub start_interval: Option<Duration>,
    /// `--health-on-failure`: what is done with a container that has become unhealthy. No flag of Docker's.
    pub on_failure: OnUnhealthy,
}

/// What is done with a container that has become unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OnUnhealthy {
    /// Nothing, as Docker has it.
    #[default]
    Nothing,
    /// It is killed; its restart policy then decides.
    Kill,
    /// It is stopped with its own signal and patience and begun again, whatever its restart policy says.
    Restart,
    /// It is stopped for good.
    Stop,
}

/// `--gpus`, answered by the Container Device Interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GpuRequest {
    /// `driver=`.
    pub driver: Option<String>,
    /// `count=`; -1 is all.
    pub count: Option<i64>,
    /// `device=`.
    pub devices: Vec<String>,
    /// `capabilities=`.
    pub capabilities: Vec<String>,
    /// `options=`.
    pub options: BTreeMap<String, String>,
}

/// `--pid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// `--ipc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum IpcMode {
    /// Its own; nobody joins it.
    #[default]
    Private,
    /// Its own, without `/dev/shm`.
    None,
    /// Its own; other containers may join it.
    Shareable,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// `--uts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum UtsMode {
    /// Its own.
    #[default]
    Own,
    /// The host's.
    Host,
}

/// `--userns`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum UserNamespaceMode {
    /// As the engine is configured.
    #[default]
    Configured,
    /// The host's.
    Host,
}

/// `--cgroupns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CgroupNamespace {
    /// The host's.
    Host,
    /// Its own.
    Private,
}

/// Streams that a client attaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// If it is not here.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// What happens when a container's process ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RestartPolicy {
    /// It is started again, also after a reboot, unless it was stopped by hand just before.
    Always,
    /// Nothing.
    #[default]
    No,
    /// It is started again if it failed, at most so many times (0: no limit).
    OnFailure(u32),
    /// As `Always`, but not after a reboot if it had been stopped by hand.
    UnlessStopped,
}

/// `--security-opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SecurityOptions {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=…`.
    pub seccomp: Seccomp,
    /// `systempaths=unconfined`: neither masked nor read-only paths.
    pub system_paths_unconfined: bool,
    /// Paths that are hidden, in place of the usual ones.
    #[serde(default)]
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only, in place of the usual ones.
    #[serde(default)]
    pub read_only_paths: Option<Vec<String>>,
    /// `apparmor=…`.
    pub apparmor: Option<String>,
    /// `label=…`.
    pub labels: Vec<String>,
    /// `writable-cgroups`: the container may make cgroups below its own.
    #[serde(default)]
    pub writable_cgroups: bool,
}

/// Which system calls are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// A profile's JSON, which the client has read.
    Profile(String),
    /// All.
    Unconfined,
}

/// Something to be mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MountRequest {
    /// Where, absolute, inside.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// What.
    pub source: MountSource,
    /// Whether it was written as `--mount`: `inspect` shows it elsewhere then.
    #[serde(default)]
    pub long: bool,
    /// The options of a `-v` as they were written: `ro,z`.
    #[serde(default)]
    pub mode: String,
}

impl MountRequest {
    /// Says whether what is mounted gets a label that this container (`Z`), or every container (`z`), may use.
    pub fn relabel(&self) -> Option<Relabel> {
        self.mode.split(',').find_map(|option| match option {
            "Z" => Some(Relabel::Private),
            "z" => Some(Relabel::Shared),
            _ => None,
        })
    }
}

/// For whom SELinux lets what is mounted be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relabel {
    /// This container alone.
    Private,
    /// All containers.
    Shared,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// Made as a directory if it is not there (`-v` does that, `--mount` does not).
        create: bool,
        /// `rprivate`, `rslave`, `rshared`, `private`, `slave`, `shared`.
        propagation: Option<String>,
        /// `bind-recursive=disabled` is `false`.
        recursive: bool,
        /// What read-only means for mounts below it.
        #[serde(default)]
        below: Below,
    },
    /// An image's files.
    Image {
        /// Reference, id or id prefix.
        reference: String,
        /// A directory or file in it.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits.
        mode: Option<u32>,
        /// Further options as `--tmpfs` takes them (`exec`, `uid=…`).
        options: Vec<String>,
    },
    /// A volume; without a name, one for this container alone.
    Volume {
        /// Its name.
        name: Option<String>,
        /// The image's content is not copied into it.
        no_copy: bool,
        /// A directory in it.
        subpath: Option<String>,
        /// Labels, should it be made.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// `volume-driver`; there is `local` alone.
        #[serde(default)]
        driver: Option<String>,
        /// Options of the driver, should it be made.
        #[serde(default)]
        options: BTreeMap<String, String>,
    },
}

impl Default for MountSource {
    fn default() -> Self {
        Self::Volume {
            name: None,
            no_copy: false,
            subpath: None,
            labels: BTreeMap::new(),
            driver: None,
            options: BTreeMap::new(),
        }
    }
}

/// What a read-only bind means for what is mounted below its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Below {
    /// It is read-only too.
    #[default]
    ReadOnly,
    /// Likewise, and was asked for by name (`bind-recursive=readonly`).
    ReadOnlyByName,
    /// It stays as it is (`bind-recursive=writable`).
    AsItIs,
}

/// `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// Another container's.
    Container(String),
    /// The host's.
    Host,
    /// A network by name.
    Named(String),
    /// Nothing but `lo`.
    None,
}

/// How a container is on a network: `--network name=…`, `network connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// The network, by name, id or id prefix; in a record its name.
    pub network: String,
    /// `alias=`, `--network-alias`: other names of the container on this network.
    pub aliases: Vec<String>,
    /// `ip=`, `--ip`.
    pub address: Option<Ipv4Addr>,
    /// `ip6=`, `--ip6`.
    pub address6: Option<Ipv6Addr>,
    /// `link-local-ip=`, `--link-local-ip`.
    pub link_local: Vec<IpAddr>,
    /// `mac-address=`, `--mac-address`.
    pub mac: Option<[u8; 6]>,
    /// `driver-opt=`.
    pub driver_options: BTreeMap<String, String>,
    /// `gw-priority=`: the highest has the default route.
    pub gateway_priority: i64,
    /// `network connect --link`: `container` or `container:alias`.
    pub links: Vec<String>,
}

/// `-p`: ranges are already taken apart, one request a port.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublishRequest {
    /// Which of the host's addresses; `None` means all.
    pub host: Option<IpAddr>,
    /// The host's port; 0 picks a free one. A range with one container port tries them in turn.
    pub host_ports: std::ops::RangeInclusive<u16>,
    /// The container's port.
    pub port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// `--ulimit`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    /// -1 is unlimited.
    pub hard: i64,
}

/// Limits. `None` (and 0, as Docker has it) sets none.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `-m`, bytes.
    pub memory: Option<i64>,
    /// `--memory-swap`: memory and swap together, bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: Option<i64>,
    /// `--cpus`, billionths.
    pub nano_cpus: Option<i64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-quota`, microseconds.
    pub cpu_quota: Option<i64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`; -1 is unlimited, `None` the configured default.
    pub pids: Option<i64>,
    /// `--blkio-weight`.
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device`: device and weight.
    pub blkio_weight_devices: Vec<(PathBuf, u16)>,
    /// `--device-read-bps`: device and bytes a second.
    pub device_read_bps: Vec<(PathBuf, u64)>,
    /// `--device-write-bps`: device and bytes a second.
    pub device_write_bps: Vec<(PathBuf, u64)>,
    /// `--device-read-iops`: device and operations a second.
    pub device_read_iops: Vec<(PathBuf, u64)>,
    /// `--device-write-iops`: device and operations a second.
    pub device_write_iops: Vec<(PathBuf, u64)>,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_realtime_period: Option<u64>,
    /// `--cpu-rt-runtime`, microseconds.
    pub cpu_realtime_runtime: Option<i64>,
    /// `--memory-swappiness`, 0 to 100; cgroup v1 alone has it.
    pub memory_swappiness: Option<i64>,
    /// `--oom-kill-disable`; cgroup v1 alone has it.
    pub oom_kill_disable: bool,
}

/// `--device`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRequest {
    /// On the host.
    pub source: PathBuf,
    /// Inside.
    pub target: PathBuf,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

/// A further process for a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=value`, on top of the container's.
    pub environment: Vec<String>,
    /// `-w`; `None` is the container's.
    pub working_directory: Option<String>,
    /// `-u`; `None` is the container's.
    pub user: Option<String>,
    /// `-t`.
    pub terminal: bool,
    /// `-i`.
    pub open_stdin: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// Rows and columns of the terminal at the start.
    pub size: Option<(u16, u16)>,
    /// Do not wait; the process goes on without a client.
    pub detach: bool,
}

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Go on as lines come.
    pub follow: bool,
    /// Only the last so many.
    pub tail: Option<u64>,
    /// Not before: nanoseconds since 1970.
    pub since: Option<i64>,
    /// Not after: nanoseconds since 1970.
    pub until: Option<i64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What stands beside each line, too.
    pub details: bool,
}

/// A filter of `ps`, as parsed: key and value (`status=running`, `label=a=b`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListContainers {
    /// Also those that do not run.
    pub all: bool,
    /// Only the last so many made, running or not.
    pub last: Option<usize>,
    /// All must hold; several of one key: one of them must.
    pub filters: Vec<(String, String)>,
    /// Measure the writable layers.
    pub size: bool,
}
