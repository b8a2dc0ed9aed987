//! From a container’s settings to an OCI runtime specification with Docker’s defaults.
//!
//! `plan` serves containers and build steps alike: whatever is to be run comes as [`Settings`], and what lies outside
//! them (the root filesystem, the cgroup, the network namespace) beside them.

mod devices;
mod resources;
pub(crate) mod security;

use super::record::{ContainerMount, Settings};
use super::request::{Below, CreateContainer, IpcMode, Limits, NamespaceMode, Seccomp, UtsMode};
use super::{apparmor, invalid, network_files, sharing};
use crate::{EngineError, cdi};
use oci::Overlay;
use oci_spec::runtime::{
    Capability, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxResources, LinuxSeccomp,
    Mount, Process, Root, Spec, User,
};
pub(crate) use resources::hard_limit;
use runtime::{Peer, Plan, Rootfs, TREE, TreeSource};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Docker's search path where an image sets none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Docker's size of `/dev/shm`.
const SHM_SIZE: u64 = 64 << 20;

/// Below /proc and /sys, what tells of the host or drives it (Docker's list; the last two are the power and
/// interrupt side channels of GHSA-jq35-85cj-fj4p and GHSA-6fw5-f8r9-fgfm).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What may be read and not written (Docker's list).
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Which network namespace a process gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkNamespace {
    /// The host's.
    Host,
    /// Another container's.
    Joined,
    /// A new one.
    Own,
}

/// What [`plan`] makes a plan of.
#[derive(Debug)]
pub(crate) struct PlanInput<'a> {
    /// What to run and how.
    pub(crate) settings: &'a Settings,
    /// What becomes `/`.
    pub(crate) rootfs: Overlay,
    /// Relative to every hierarchy's mount.
    pub(crate) cgroup: PathBuf,
    /// Where it finds its network.
    pub(crate) network: NetworkNamespace,
    /// The directory with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) files: &'a Path,
    /// The configured limit of processes, for settings that have none.
    pub(crate) pids_limit: i64,
    /// The host's own CA certificates.
    pub(crate) host_ca: Option<crate::ca::Injection>,
    /// Further mounts, after all others.
    pub(crate) mounts: Vec<Mount>,
    /// The layers of images that are mounted, in the order of those mounts.
    pub(crate) images: Vec<Overlay>,
    /// What devices bring with them.
    pub(crate) edits: cdi::Edits,
}

/// Makes the plan.
pub(crate) fn plan(input: PlanInput<'_>) -> Result<Plan, EngineError> {
    let settings = input.settings;
    let request = &settings.request;
    let edits = &input.edits;
    let devices = devices::devices(request, &edits.devices)?;
    let mut trees = Vec::new();
    let mut mounts = default_mounts(settings, &mut trees)?;
    mounts.extend(container_mounts(settings, input.files, input.images, &mut trees)?);
    mounts.extend(
        edits
            .mounts
            .iter()
            .map(device_mount)
            .collect::<Result<Vec<_>, _>>()?,
    );
    if let Some(injection) = &input.host_ca {
        mounts.extend(injection.mounts.iter().cloned());
    }
    mounts.extend(input.mounts);

    let mut process = process(settings, input.host_ca.as_ref())?;
    process.set_env(Some(with_edits(process.env().clone().unwrap_or_default(), edits)));
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(request, &input.network)))
        .set_sysctl(sysctls(settings, &input.network))
        .set_resources(Some(resources::resources(
            &request.limits,
            input.pids_limit,
            devices.rules,
        )?))
        .set_cgroups_path(Some(input.cgroup))
        .set_devices(Some(devices.nodes))
        .set_seccomp(seccomp(settings, process.capabilities().as_ref())?);
    if request.privileged || request.security.system_paths_unconfined {
        linux.set_masked_paths(None).set_readonly_paths(None);
    } else {
        linux
            .set_masked_paths(Some(
                request.security.masked_paths.clone().unwrap_or_else(masked_paths),
            ))
            .set_readonly_paths(Some(match &request.security.read_only_paths {
                Some(paths) => paths.clone(),
                None => READ_ONLY.map(str::to_owned).to_vec(),
            }));
    }

    let mut root = Root::default();
    root.set_readonly(Some(request.read_only));
    let mut spec = Spec::default();
    spec.set_root(Some(root))
        .set_mounts(Some(mounts))
        .set_process(Some(process))
        .set_linux(Some(linux));
    // The default is not none.
    spec.set_hostname(None);
    if request.uts == UtsMode::Own {
        spec.set_hostname(Some(settings.hostname.clone()))
            .set_domainname(request.domain_name.clone());
    }
    if !request.annotations.is_empty() {
        spec.set_annotations(Some(request.annotations.clone().into_iter().collect()));
    }
    Ok(Plan {
        spec,
        rootfs: Rootfs::Overlay(input.rootfs),
        user: Some(settings.user.clone()).filter(|user| !user.is_empty()),
        groups: request
            .groups
            .iter()
            .cloned()
            .chain(edits.groups.iter().map(ToString::to_string))
            .collect(),
        // Where others are in its pid namespace there is an init already.
        init: request.init && request.pid == NamespaceMode::Own,
        joined: Vec::new(),
        trees,
        links: edits.links.clone(),
    })
}

/// Returns limits as the kernel takes them, without devices: for a cgroup that lives.
pub(super) fn limits(limits: &Limits, pids_default: i64) -> Result<LinuxResources, EngineError> {
    let mut resources = resources::resources(limits, pids_default, Vec::new())?;
    resources.set_devices(None);
    Ok(resources)
}

/// Describes the process that a container's settings ask for.
pub(crate) fn process(
    settings: &Settings,
    host_ca: Option<&crate::ca::Injection>,
) -> Result<Process, EngineError> {
    let request = &settings.request;
    let mut process = Process::default();
    let arguments = settings
        .entrypoint
        .iter()
        .chain(&settings.command)
        .cloned()
        .collect();
    let directory = if settings.working_directory.is_empty() {
        "/"
    } else {
        &settings.working_directory
    };
    process
        .set_terminal(Some(request.terminal))
        .set_user(User::default())
        .set_args(Some(arguments))
        .set_env(Some(environment(settings, host_ca)))
        .set_cwd(directory.into())
        .set_capabilities(Some(capabilities(settings, request.privileged)?))
        .set_rlimits(Some(resources::rlimits(&request.ulimits)?))
        .set_no_new_privileges(Some(request.security.no_new_privileges))
        .set_apparmor_profile(apparmor::profile(request))
        .set_oom_score_adj(Some(request.oom_score_adj));
    Ok(process)
}

/// Returns the capabilities of a container, or of a process that is let into it with all of them.
pub(crate) fn capabilities(settings: &Settings, privileged: bool) -> Result<LinuxCapabilities, EngineError> {
    let request = &settings.request;
    runtime::capabilities::resolve(&request.capabilities_add, &request.capabilities_drop, privileged)
        .map_err(|error| invalid(error.to_string()))
}

/// Returns the system call rules of a container; a privileged one has none.
pub(crate) fn seccomp(
    settings: &Settings,
    capabilities: Option<&LinuxCapabilities>,
) -> Result<Option<LinuxSeccomp>, EngineError> {
    if settings.request.privileged {
        return Ok(None);
    }
    let held: Vec<Capability> = capabilities
        .and_then(|capabilities| capabilities.bounding().as_ref())
        .map(|bounding| bounding.iter().copied().collect())
        .unwrap_or_default();
    match &settings.request.security.seccomp {
        Seccomp::Default => Ok(Some(runtime::seccomp::default_profile(&held))),
        Seccomp::Profile(json) => runtime::seccomp::parse_profile(json, &held)
            .map(Some)
            .map_err(|error| invalid(format!("invalid seccomp profile: {}", chain(&error)))),
        Seccomp::Unconfined => Ok(None),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Returns the environment: Docker's defaults, then what was set, then what the host's certificates need, each only
/// where nobody before has set the name.
fn environment(settings: &Settings, host_ca: Option<&crate::ca::Injection>) -> Vec<String> {
    let is_set = |name: &str| {
        settings
            .environment
            .iter()
            .any(|variable| name_of(variable) == name)
    };
    let mut defaults = vec![PATH.to_owned(), format!("HOSTNAME={}", settings.hostname)];
    if settings.request.terminal {
        defaults.push("TERM=xterm".into());
    }
    let mut environment: Vec<String> = defaults
        .into_iter()
        .filter(|variable| !is_set(name_of(variable)))
        .collect();
    environment.extend(settings.environment.iter().cloned());
    if let Some(injection) = host_ca {
        environment.extend(
            injection
                .environment
                .iter()
                .filter(|variable| !is_set(name_of(variable)))
                .cloned(),
        );
    }
    environment
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// Returns warnings about limits that this host cannot set.
pub(crate) fn limit_warnings(request: &CreateContainer) -> Vec<String> {
    if request.limits == Limits::default() {
        return Vec::new();
    }
    // What is wrong with a device is said when the container is started.
    resources::resources(&request.limits, 0, Vec::new())
        .ok()
        .and_then(|resources| runtime::cgroups::unsupported(&resources).ok())
        .unwrap_or_default()
}

/// Returns the namespaces that are made; those that are joined are found when the process is made.
fn namespaces(request: &CreateContainer, network: &NetworkNamespace) -> Vec<LinuxNamespace> {
    let own_ipc = matches!(request.ipc, IpcMode::None | IpcMode::Private | IpcMode::Shareable);
    [
        (LinuxNamespaceType::Mount, true),
        (LinuxNamespaceType::Pid, request.pid == NamespaceMode::Own),
        (LinuxNamespaceType::Uts, request.uts == UtsMode::Own),
        (LinuxNamespaceType::Ipc, own_ipc),
        (LinuxNamespaceType::Network, *network == NetworkNamespace::Own),
        (
            LinuxNamespaceType::Cgroup,
            sharing::has_own_cgroup_namespace(request),
        ),
    ]
    .into_iter()
    .filter(|(_, own)| *own)
    .map(|(kind, _)| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    })
    .collect()
}

/// With a network namespace of its own a container may use low ports and ping without rights, as with Docker.
fn sysctls(settings: &Settings, network: &NetworkNamespace) -> Option<HashMap<String, String>> {
    let mut sysctls = HashMap::new();
    if *network == NetworkNamespace::Own {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        sysctls.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    for (name, value) in &settings.request.sysctls {
        sysctls.insert(name.clone(), value.clone());
    }
    (!sysctls.is_empty()).then_some(sysctls)
}

/// The thermal counters leak what other processors do; only those that exist are masked.
fn masked_paths() -> Vec<String> {
    let mut paths = MASKED.map(str::to_owned).to_vec();
    let throttle = |number: usize| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle");
    let mut number = 0;
    while Path::new(&throttle(number)).exists() {
        paths.push(throttle(number));
        number += 1;
    }
    paths
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

fn default_mounts(settings: &Settings, trees: &mut Vec<TreeSource>) -> Result<Vec<Mount>, EngineError> {
    let request = &settings.request;
    let locked: &[&str] = if request.privileged {
        &["nosuid", "noexec", "nodev"]
    } else {
        &["nosuid", "noexec", "nodev", "ro"]
    };
    let cgroups = if request.security.writable_cgroups {
        &locked[..3]
    } else {
        locked
    };
    let shm = format!("size={}", request.shm_size.unwrap_or(SHM_SIZE));
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", "sysfs", locked),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroups),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    match request.ipc {
        IpcMode::Private | IpcMode::Shareable => mounts.push(mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        )),
        IpcMode::None => {}
        IpcMode::Host if !Path::new("/dev/shm").is_dir() => {
            return Err(invalid("/dev/shm is not mounted, but must be for --ipc=host"));
        }
        IpcMode::Host => mounts.push(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate"])),
        // Whose it is, is found when the process is made.
        IpcMode::Container(_) => {
            let source = trees.len().to_string();
            trees.push(TreeSource::SharedMemory(Peer::default()));
            mounts.push(mount("/dev/shm", TREE, &source, &["rprivate"]));
        }
    }
    let asked_for = |target: &Path| {
        settings
            .mounts
            .iter()
            .any(|mount| Path::new(&mount.target) == target)
    };
    mounts.retain(|mount| !asked_for(mount.destination()));
    Ok(mounts)
}

/// Returns what was asked for and the network's files, parents before what lies in them.
fn container_mounts(
    settings: &Settings,
    files: &Path,
    images: Vec<Overlay>,
    trees: &mut Vec<TreeSource>,
) -> Result<Vec<Mount>, EngineError> {
    let mut images = images.into_iter();
    let mut mounts = settings
        .mounts
        .iter()
        .map(|asked| container_mount(asked, &mut images, trees))
        .collect::<Result<Vec<_>, _>>()?;
    for (source, target) in network_files::targets(files) {
        if !settings.mounts.iter().any(|mount| mount.target == target) {
            mounts.push(mount(
                target,
                "bind",
                &path_text(&source)?,
                &["rbind", "rprivate"],
            ));
        }
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

fn container_mount(
    asked: &ContainerMount,
    images: &mut impl Iterator<Item = Overlay>,
    trees: &mut Vec<TreeSource>,
) -> Result<Mount, EngineError> {
    if asked.kind == "tmpfs" {
        let mut options: Vec<&str> = vec!["noexec", "nosuid", "nodev"];
        options.extend(asked.options.iter().map(String::as_str));
        if !asked.writable {
            options.push("ro");
        }
        return Ok(mount(&asked.target, "tmpfs", "tmpfs", &options));
    }
    let recursive = !asked.options.iter().any(|option| option == "bind");
    let propagation = match asked.propagation.as_str() {
        "" => "rprivate",
        propagation => propagation,
    };
    let access = match (asked.writable, asked.below) {
        // What the host has made read-only stays so.
        (true, _) => "",
        (false, Below::AsItIs) => "ro",
        // Of what is mounted below, too.
        (false, Below::ReadOnly | Below::ReadOnlyByName) => "rro",
    };
    let mut options = vec![if recursive { "rbind" } else { "bind" }, propagation];
    options.extend(Some(access).filter(|access| !access.is_empty()));
    let mut tree = |source, options: &[&str]| {
        let number = trees.len().to_string();
        trees.push(source);
        mount(&asked.target, TREE, &number, options)
    };
    let subpath = PathBuf::from(asked.subpath.clone().unwrap_or_default());
    if asked.kind == "image" {
        let overlay = images
            .next()
            .ok_or_else(|| invalid(format!("the image for '{}' is not there", asked.target)))?;
        // One layer makes no union.
        let source = match &overlay.lower[..] {
            [layer] => TreeSource::Directory {
                path: layer.clone(),
                subpath: Path::new("/").join(subpath),
            },
            _ => TreeSource::Union { overlay, subpath },
        };
        return Ok(tree(source, &["ro"]));
    }
    if asked.subpath.is_some() {
        let path = asked.source.clone();
        return Ok(tree(TreeSource::Directory { path, subpath }, &options));
    }
    Ok(mount(&asked.target, "bind", &path_text(&asked.source)?, &options))
}

/// A mount that a device brings with it. Its author may leave out that it is a bind.
fn device_mount(asked: &cdi::Mount) -> Result<Mount, EngineError> {
    let mut options: Vec<&str> = asked.options.iter().map(String::as_str).collect();
    let is_bind = matches!(asked.kind.as_str(), "" | "bind" | "rbind");
    if is_bind && !options.iter().any(|option| matches!(*option, "bind" | "rbind")) {
        options.push("rbind");
    }
    let kind = if is_bind { "bind" } else { &asked.kind };
    let (source, target) = (path_text(&asked.host_path)?, path_text(&asked.container_path)?);
    Ok(mount(&target, kind, &source, &options))
}

/// Puts in what devices want of the environment, in the place of what was there, and tells the loader of their
/// libraries unless somebody has told it something.
fn with_edits(mut environment: Vec<String>, edits: &cdi::Edits) -> Vec<String> {
    for variable in &edits.environment {
        environment.retain(|there| name_of(there) != name_of(variable));
        environment.push(variable.clone());
    }
    let told = environment
        .iter()
        .any(|variable| name_of(variable) == "LD_LIBRARY_PATH");
    if !edits.libraries.is_empty() && !told {
        environment.push(format!("LD_LIBRARY_PATH={}", edits.libraries.join(":")));
    }
    environment
}

/// Paths reach the runtime as JSON, which has no other bytes than Unicode's.
fn path_text(path: &Path) -> Result<String, EngineError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| invalid(format!("the path '{}' is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests;
