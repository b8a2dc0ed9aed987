//! The flags that `run` and `create` share, and how they become a [`CreateContainer`].

use super::health::HealthFlags;
use super::limits::LimitFlags;
use super::namespaces::NamespaceFlags;
use super::others::Others;
use super::placement::NetworkFlags;
use super::{
    Invalid, device, environment, extra_host, gpus, integer, invalid, label, mount, publish, restart,
    security, tmpfs, volume,
};
use clap::{ArgMatches, Args};
use engine::containers::notation::check_targets;
use engine::containers::request::{
    Attach, CreateContainer, GpuRequest, MountRequest, PullPolicy, RestartPolicy,
};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `run` and `create`.
#[derive(Debug, Args)]
pub(crate) struct ContainerFlags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_parser = extra_host::parse, value_name = "list")]
    add_host: Vec<(String, String)>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_parser = label::pair, value_name = "map")]
    annotation: Vec<(String, String)>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_parser = stream, value_name = "list")]
    pub attach: Vec<Stream>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string")]
    cgroup_parent: Option<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string")]
    pub cidfile: Option<PathBuf>,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_parser = device::rule, value_name = "list")]
    device_cgroup_rule: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_parser = extra_host::dns_server, value_name = "list")]
    dns: Vec<IpAddr>,
    /// Set DNS options
    #[arg(long, visible_alias = "dns-opt", value_name = "list")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_parser = extra_host::dns_search, value_name = "list")]
    dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "string")]
    domainname: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_parser = environment::variable, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    expose: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_parser = gpus::parse, value_name = "gpu-request")]
    gpus: Vec<GpuRequest>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string")]
    hostname: Option<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Container isolation technology
    #[arg(long, value_name = "string")]
    isolation: Option<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Set meta data on a container
    #[arg(short, long, value_parser = label::parse, value_name = "list")]
    label: Vec<(String, String)>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    label_file: Vec<PathBuf>,
    /// Logging driver for the container
    #[arg(long, value_name = "string")]
    log_driver: Option<String>,
    /// Log driver options
    #[arg(long, value_parser = label::pair, value_name = "list")]
    log_opt: Vec<(String, String)>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_parser = mount::parse, value_name = "mount")]
    mount: Vec<MountRequest>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Give extended privileges to this container
    #[arg(long)]
    privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Pull image before running ("always", "missing", "never") (default "missing")
    #[arg(long, value_name = "string")]
    pull: Option<String>,
    /// Suppress the pull output
    #[arg(short, long)]
    pub quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Restart policy to apply when a container exits (default "no")
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    pub rm: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string")]
    runtime: Option<String>,
    /// Security Options
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_parser = integer::int64, value_name = "int", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// Storage driver options for the container
    #[arg(long, value_parser = storage_option, value_name = "list")]
    storage_opt: Vec<(String, String)>,
    /// Sysctl options
    #[arg(long, value_parser = label::sysctl, value_name = "map")]
    sysctl: Vec<(String, String)>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string")]
    volume_driver: Option<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    volumes_from: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    #[command(flatten)]
    health: HealthFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    #[command(flatten)]
    networks: NetworkFlags,
    #[command(flatten)]
    others: Others,
}

/// A standard stream to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

fn stream(text: &str) -> Result<Stream, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => invalid("valid streams are STDIN, STDOUT and STDERR"),
    }
}

/// What the flags came to.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The request.
    pub request: CreateContainer,
    /// What was ignored.
    pub warnings: Vec<String>,
}

impl ContainerFlags {
    /// Makes the request for an image and the words after it. `proxy` holds variables for every container, which the
    /// user's own override; `detached` and `order` (of mounts, as `(index, flag)`) come from elsewhere.
    pub(crate) fn prepare(
        self,
        words: Vec<String>,
        proxy: Vec<String>,
        host_ca: Option<bool>,
        detached: bool,
        order: &[MountFlag],
    ) -> Result<Prepared, Invalid> {
        let warnings = self.others.judge()?;
        let mut words = words.into_iter();
        let image = words.next().unwrap_or_default();
        let restart = restart::parse(self.restart.as_deref().unwrap_or_default())?;
        if self.rm && restart != RestartPolicy::No {
            return invalid("conflicting options: cannot specify both --restart and --rm");
        }
        let attach = self.attachment(detached);
        let mounts = mounts(self.volume, self.mount, self.tmpfs, order)?;
        let publish = flatten(&self.publish, publish::parse)?;
        let namespaces = self.namespaces.modes()?;
        let placement = self.networks.placement()?;
        let (cdi_devices, devices) = self
            .device
            .iter()
            .map(String::as_str)
            .partition::<Vec<_>, _>(|device| device::is_cdi(device));
        let cdi_devices = cdi_devices.into_iter().map(str::to_owned).collect();
        let devices = devices.into_iter().map(device::parse).collect::<Result<_, _>>()?;
        let request = CreateContainer {
            name: self.name.filter(|name| !name.is_empty()),
            image,
            platform: platform(self.platform.as_deref())?,
            pull: pull_policy(self.pull.as_deref())?,
            command: words.collect(),
            entrypoint: self.entrypoint.map(|program| vec![program]),
            environment: environment(proxy, &self.env_file, self.env)?,
            working_directory: self.workdir.filter(|path| !path.is_empty()),
            user: self.user.filter(|user| !user.is_empty()),
            groups: self.group_add,
            hostname: self.hostname,
            domain_name: self.domainname,
            labels: label::collect(&self.label_file, self.label)?,
            terminal: self.tty,
            open_stdin: self.interactive,
            stdin_once: self.interactive && attach.stdin,
            attach,
            remove_when_done: self.rm,
            restart,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout.map(timeout),
            init: self.init,
            read_only: self.read_only,
            privileged: self.privileged,
            capabilities_add: self.cap_add,
            capabilities_drop: self.cap_drop,
            security: security::parse(&self.security_opt)?,
            mounts,
            network: placement.mode,
            attachments: placement.attachments,
            links: placement.links,
            publish,
            publish_all: self.publish_all,
            expose: flatten(&self.expose, publish::expose)?,
            extra_hosts: self.add_host,
            dns: self.dns,
            dns_search: self.dns_search,
            dns_options: self.dns_option,
            limits: self.limits.limits()?,
            shm_size: self.limits.shm_size,
            oom_score_adj: self.limits.oom_score_adj.unwrap_or(0),
            ulimits: self.limits.ulimit,
            devices,
            cdi_devices,
            gpus: self.gpus,
            device_rules: self.device_cgroup_rule,
            cgroup_namespace: namespaces.cgroup,
            ipc: namespaces.ipc,
            pid: namespaces.pid,
            user_namespace: namespaces.user,
            uts: namespaces.uts,
            annotations: self.annotation.into_iter().collect(),
            storage_options: self.storage_opt.into_iter().collect(),
            runtime: self.runtime.filter(|runtime| !runtime.is_empty()),
            isolation: self.isolation.filter(|isolation| !isolation.is_empty()),
            mac_address: placement.mac_address,
            volume_driver: self.volume_driver.filter(|driver| !driver.is_empty()),
            volumes_from: self.volumes_from,
            id_file: self.cidfile,
            sysctls: self.sysctl.into_iter().collect(),
            log_driver: self.log_driver.filter(|driver| !driver.is_empty()),
            log_options: self.log_opt.into_iter().collect(),
            cgroup_parent: self.cgroup_parent.filter(|parent| !parent.is_empty()),
            host_ca,
            timeout: self.health.time_limit(),
            health: self.health.request()?,
        };
        Ok(Prepared { request, warnings })
    }

    /// Decides which streams are attached: those named, or all of a container that is not detached.
    fn attachment(&self, detached: bool) -> Attach {
        let named = |stream| self.attach.contains(&stream);
        if !self.attach.is_empty() {
            return Attach {
                stdin: named(Stream::Stdin),
                stdout: named(Stream::Stdout),
                stderr: named(Stream::Stderr),
            };
        }
        Attach {
            stdin: !detached && self.interactive,
            stdout: !detached,
            stderr: !detached,
        }
    }
}

/// Which of the three mount flags came, in the order in which the user wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountFlag {
    /// `-v`.
    Volume,
    /// `--mount`.
    Mount,
    /// `--tmpfs`.
    Tmpfs,
}

impl MountFlag {
    /// Reads the order from what clap remembers.
    pub(crate) fn order(matches: &ArgMatches) -> Vec<Self> {
        let mut order: Vec<(usize, Self)> = Vec::new();
        for (id, flag) in [
            ("volume", Self::Volume),
            ("mount", Self::Mount),
            ("tmpfs", Self::Tmpfs),
        ] {
            if let Some(indices) = matches.indices_of(id) {
                order.extend(indices.map(|index| (index, flag)));
            }
        }
        order.sort_unstable_by_key(|(index, _)| *index);
        order.into_iter().map(|(_, flag)| flag).collect()
    }
}

fn mounts(
    volumes: Vec<String>,
    mounts: Vec<MountRequest>,
    tmpfs: Vec<String>,
    order: &[MountFlag],
) -> Result<Vec<MountRequest>, Invalid> {
    let (mut volumes, mut mounts, mut tmpfs) = (volumes.into_iter(), mounts.into_iter(), tmpfs.into_iter());
    let mut all = Vec::with_capacity(order.len());
    for flag in order {
        let next = match flag {
            MountFlag::Volume => volumes.next().map(|text| volume::parse(&text)).transpose()?,
            MountFlag::Mount => mounts.next(),
            MountFlag::Tmpfs => tmpfs.next().map(|text| tmpfs::parse(&text)).transpose()?,
        };
        all.extend(next);
    }
    check_targets(&all)?;
    Ok(all)
}

fn environment(proxy: Vec<String>, files: &[PathBuf], flags: Vec<String>) -> Result<Vec<String>, Invalid> {
    let mut all = Vec::new();
    for file in files {
        all.extend(environment::file(file)?);
    }
    all.extend(flags);
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let given: Vec<String> = all.iter().map(|variable| name(variable)).collect();
    let mut environment: Vec<String> = proxy
        .into_iter()
        .filter(|variable| !given.contains(&name(variable)))
        .collect();
    environment.extend(all);
    Ok(environment)
}

fn flatten<T>(texts: &[String], parse: fn(&str) -> Result<Vec<T>, Invalid>) -> Result<Vec<T>, Invalid> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(parse(text)?);
    }
    Ok(all)
}

/// Reads a `--storage-opt`; which there are is the engine's to say.
fn storage_option(text: &str) -> Result<(String, String), Invalid> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => invalid("invalid storage option"),
    }
}

/// Reads `--platform`, or `$DOCKER_DEFAULT_PLATFORM`.
pub(crate) fn platform(text: Option<&str>) -> Result<Option<oci::Platform>, Invalid> {
    let preset = std::env::var("DOCKER_DEFAULT_PLATFORM").ok();
    match text.or(preset.as_deref()) {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(platform) => Ok(Some(platform)),
            Err(error) => invalid(format!("error parsing specified platform: {error}")),
        },
    }
}

fn pull_policy(text: Option<&str>) -> Result<PullPolicy, Invalid> {
    match text {
        None | Some("missing" | "") => Ok(PullPolicy::Missing),
        Some("always") => Ok(PullPolicy::Always),
        Some("never") => Ok(PullPolicy::Never),
        Some(other) => invalid(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        )),
    }
}

/// Turns seconds into a duration; a negative number means "for ever", as with Docker.
pub(crate) fn timeout(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX)))
}
