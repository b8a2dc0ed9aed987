//! What a request must be like, in Docker's words.

use super::request::{CreateContainer, Limits, MountRequest, MountSource, NetworkMode, RestartPolicy};
use super::{apparmor, conflict, health, invalid, name, quota, spec};
use crate::EngineError;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The least memory that a container can start with.
const LEAST_MEMORY: i64 = 6 << 20;
/// Names of the runtime: our own, and those by which scripts ask for Docker's default.
const RUNTIMES: [&str; 4] = ["", "coracle", "io.containerd.runc.v2", "runc"];

/// Checks all that can be checked without looking at the image. Returns warnings.
pub(super) fn request(request: &CreateContainer) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    if let Some(name) = &request.name {
        container_name(name)?;
    }
    if request.remove_when_done && request.restart != RestartPolicy::No {
        return Err(conflict(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if let Some(directory) = &request.working_directory
        && !directory.is_empty()
        && !directory.starts_with('/')
    {
        return Err(invalid(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(signal) = &request.stop_signal {
        super::stop::signal_number(signal)?;
    }
    if !(-1000..=1000).contains(&request.oom_score_adj) {
        return Err(invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            request.oom_score_adj
        )));
    }
    if let Some(hostname) = &request.hostname
        && (hostname.len() > 63 || hostname.contains(['\0', '\n', ' ', '/']))
    {
        return Err(invalid(format!("invalid hostname: {hostname}")));
    }
    limits(&request.limits)?;
    health::validate(&request.health)?;
    if request.limits.oom_kill_disable && request.limits.memory.unwrap_or(0) == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into(),
        );
    }
    network(request, &mut warnings)?;
    security(request, &mut warnings);
    named_kinds(request)?;
    quota::size(request)?;
    rights(request, &mut warnings);
    super::sharing::check(request, &mut warnings)?;
    if let Some(parent) = &request.cgroup_parent
        && Path::new(parent)
            .components()
            .any(|part| part == Component::ParentDir)
    {
        return Err(invalid(format!(
            "the cgroup parent '{parent}' must not contain '..'"
        )));
    }
    for (name, value) in &request.sysctls {
        if name.contains(['/', '\0']) || value.contains('\0') {
            return Err(invalid(format!("invalid sysctl '{name}'")));
        }
    }
    runtime::capabilities::resolve(
        &request.capabilities_add,
        &request.capabilities_drop,
        request.privileged,
    )
    .map_err(|error| invalid(format!("invalid capability: {error}")))?;
    for variable in &request.environment {
        if variable.is_empty() || variable.starts_with('=') || variable.contains('\0') {
            return Err(invalid(format!("invalid environment variable: {variable}")));
        }
    }
    Ok(warnings)
}

pub(super) fn container_name(text: &str) -> Result<(), EngineError> {
    if name::is_valid(text) {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// Checks limits, each and against each other.
pub(super) fn limits(limits: &Limits) -> Result<(), EngineError> {
    let set = |value: Option<i64>| value.filter(|&value| value != 0);
    let memory = set(limits.memory);
    let swap = set(limits.memory_swap);
    let reservation = set(limits.memory_reservation);
    let refuse = |text: &str| Err(invalid(text));
    if memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    match (memory, swap) {
        (Some(memory), Some(swap)) if swap != -1 && swap < memory => {
            return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
        }
        (None, Some(swap)) if swap > 0 => {
            return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
        }
        _ => {}
    }
    if reservation.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if let (Some(memory), Some(reservation)) = (memory, reservation)
        && memory < reservation
    {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(swappiness) = limits.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return Err(invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    processor(limits)?;
    available(
        limits.cpuset_cpus.as_deref(),
        "CPUs",
        "/sys/devices/system/cpu/online",
    )?;
    available(
        limits.cpuset_mems.as_deref(),
        "memory nodes",
        "/sys/devices/system/node/has_memory",
    )?;
    if limits
        .blkio_weight
        .is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight))
    {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    Ok(())
}

/// Checks a list of processors or memory nodes against what the host has. A host that does not tell has the kernel judge.
fn available(asked: Option<&str>, what: &str, file: &str) -> Result<(), EngineError> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(());
    };
    let wanted = numbers(asked).ok_or_else(|| invalid(format!("invalid list of {what}: '{asked}'")))?;
    let there = std::fs::read_to_string(file).unwrap_or_default();
    match numbers(there.trim()) {
        Some(known) if !wanted.is_subset(&known) => Err(invalid(format!(
            "Requested {what} are not available - requested {asked}, available: {}",
            there.trim()
        ))),
        _ => Ok(()),
    }
}

/// Reads a list like `0-2,4` (cpuset(7)).
fn numbers(text: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No kernel has more processors, and nobody shall make us count further.
        if first > last || last > 65_535 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn processor(limits: &Limits) -> Result<(), EngineError> {
    let period = limits.cpu_period.filter(|&period| period != 0);
    let quota = limits.cpu_quota.filter(|&quota| quota != 0);
    if let Some(nanos) = limits.nano_cpus.filter(|&nanos| nanos != 0) {
        if period.is_some() {
            return Err(invalid(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set.",
            ));
        }
        if quota.is_some() {
            return Err(invalid(
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
            ));
        }
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = i64::try_from(available)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        if !(10_000_000..=most).contains(&nanos) {
            return Err(invalid(format!(
                "Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
            )));
        }
    }
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return Err(invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if quota.is_some_and(|quota| (0..1000).contains(&quota)) {
        return Err(invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    Ok(())
}

fn network(request: &CreateContainer, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let publishes = request.publish_all || !request.publish.is_empty();
    let without_links = match &request.network {
        NetworkMode::Container(_) => Some("container type network"),
        NetworkMode::Host => Some("host type networking"),
        _ => None,
    };
    if let Some(kind) = without_links.filter(|_| !request.links.is_empty()) {
        return Err(invalid(format!(
            "conflicting options: {kind} can't be used with links. This would result in undefined behavior"
        )));
    }
    match &request.network {
        NetworkMode::Host if publishes => {
            warnings.push("Published ports are discarded when using host network mode".into());
        }
        NetworkMode::Container(_) => {
            if request.hostname.is_some() || request.domain_name.is_some() {
                return Err(invalid("conflicting options: hostname and the network mode"));
            }
            if publishes {
                return Err(invalid(
                    "conflicting options: port publishing and the container type network mode",
                ));
            }
        }
        _ => {}
    }
    Ok(())
}

/// What no security module of this host enforces is told, where Docker says nothing.
fn security(request: &CreateContainer, warnings: &mut Vec<String>) {
    match request.security.apparmor.as_deref() {
        None | Some("" | "unconfined") => {}
        Some(profile) if !apparmor::is_on() => warnings.push(format!(
            "AppArmor is not enabled on this host: the profile '{profile}' confines nothing"
        )),
        Some(_) => {}
    }
    if let Some(label) = request.security.labels.iter().find(|label| *label != "disable") {
        warnings.push(if spec::security::has_selinux() {
            format!("SELinux labels are not supported yet: the label '{label}' was not set")
        } else {
            format!("SELinux is not enabled on this host: the label '{label}' confines nothing")
        });
    }
}

/// Says what will not be as asked because we have not the right to it. The kernel refuses it in the process that becomes
/// the container's, where there is nobody left to tell.
fn rights(request: &CreateContainer, warnings: &mut Vec<String>) {
    let may = rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective
            .contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
    });
    if may {
        return;
    }
    let own_score = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
        .unwrap_or(0);
    if request.oom_score_adj < own_score && request.oom_score_adj != 0 {
        warnings.push(format!(
            "the OOM score adjustment {} takes CAP_SYS_RESOURCE, which we do not have: it stays {own_score}",
            request.oom_score_adj
        ));
    }
    for limit in &request.ulimits {
        if let Some(most) = spec::hard_limit(&limit.name)
            && u64::try_from(limit.hard).unwrap_or(u64::MAX) > most
        {
            warnings.push(format!(
                "the ulimit {} of {} is above {most}, which takes CAP_SYS_RESOURCE, which we do not have: it was not set",
                limit.name, limit.hard
            ));
        }
    }
}

/// Checks what has one or a few names here.
fn named_kinds(request: &CreateContainer) -> Result<(), EngineError> {
    if let Some(name) = request.runtime.as_deref()
        && !RUNTIMES.contains(&name)
    {
        return Err(EngineError::Invalid {
            message: format!("unknown or invalid runtime name: {name}"),
            hint: Some("there is one runtime, which is built in: leave --runtime out".into()),
        });
    }
    if let Some(isolation) = request.isolation.as_deref()
        && !matches!(isolation, "" | "default")
    {
        return Err(invalid(format!(
            "Invalid isolation: \"{isolation}\" - linux only supports 'default'"
        )));
    }
    Ok(())
}

/// Checks a mount and returns its cleaned target.
pub(super) fn mount(request: &MountRequest) -> Result<String, EngineError> {
    let kind = kind_of(&request.source);
    let refuse = |reason: String| invalid(format!("invalid mount config for type \"{kind}\": {reason}"));
    if !request.target.starts_with('/') {
        return Err(refuse(format!(
            "invalid mount path: '{}' mount path must be absolute",
            request.target
        )));
    }
    let target = clean(&request.target);
    if target == "/" {
        return Err(refuse("invalid specification: destination can't be '/'".into()));
    }
    match &request.source {
        MountSource::Bind {
            path,
            create,
            propagation,
            ..
        } => {
            if !path.is_absolute() {
                return Err(refuse(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    path.display()
                )));
            }
            if !create && !path.exists() {
                return Err(refuse(format!(
                    "bind source path does not exist: {}",
                    path.display()
                )));
            }
            let known = ["", "private", "rprivate", "rshared", "rslave", "shared", "slave"];
            if let Some(propagation) = propagation
                && !known.contains(&propagation.as_str())
            {
                return Err(refuse(format!("invalid propagation mode: {propagation}")));
            }
        }
        MountSource::Tmpfs { options, .. } => {
            for option in options {
                tmpfs_option(option).map_err(refuse)?;
            }
        }
        MountSource::Image { subpath, .. } => part(subpath.as_deref()).map_err(refuse)?,
        MountSource::Volume { name, subpath, .. } => {
            if let Some(name) = name {
                volume_name(name)?;
            } else if subpath.is_some() {
                return Err(refuse("must not set Subpath when using anonymous volumes".into()));
            }
            part(subpath.as_deref()).map_err(refuse)?;
        }
    }
    Ok(target)
}

/// A part of a volume or an image is named from its top, and does not lead out of it by its text; what links do is seen
/// to when it is mounted.
fn part(subpath: Option<&str>) -> Result<(), String> {
    let Some(subpath) = subpath else {
        return Ok(());
    };
    let mut depth = 0_i32;
    for component in Path::new(subpath).components() {
        depth += match component {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            Component::CurDir => 0,
            Component::RootDir | Component::Prefix(_) => i32::MIN / 2,
        };
        if depth < 0 {
            return Err("subpath must be a relative path within the volume".into());
        }
    }
    Ok(())
}

pub(super) fn kind_of(source: &MountSource) -> &'static str {
    match source {
        MountSource::Bind { .. } => "bind",
        MountSource::Image { .. } => "image",
        MountSource::Tmpfs { .. } => "tmpfs",
        MountSource::Volume { .. } => "volume",
    }
}

fn tmpfs_option(option: &str) -> Result<(), String> {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let known = [
        "",
        "async",
        "atime",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "gid",
        "huge",
        "iversion",
        "mode",
        "mpol",
        "nodev",
        "noatime",
        "nodiratime",
        "noexec",
        "noiversion",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "nr_blocks",
        "nr_inodes",
        "private",
        "relatime",
        "remount",
        "ro",
        "rprivate",
        "rw",
        "size",
        "strictatime",
        "suid",
        "sync",
        "uid",
    ];
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!("invalid tmpfs option [\"{option}\"]"))
}

/// Says whether a volume may be called this.
pub(crate) fn volume_name(text: &str) -> Result<(), EngineError> {
    if name::is_valid(text) {
        return Ok(());
    }
    Err(invalid(format!(
        "create {text}: \"{text}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// Resolves `.`, `..` and doubled slashes by text, as Docker does with targets.
pub(super) fn clean(path: &str) -> String {
    let mut cleaned = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir | Component::Prefix(_) | Component::RootDir => {}
        }
    }
    // It was text, so it still is.
    cleaned.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut CreateContainer)) -> String {
        let mut made = CreateContainer::default();
        change(&mut made);
        request(&made).unwrap_err().to_string()
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        assert_eq!(
            refusal(|r| r.limits.memory = Some(1000)),
            "Minimum memory limit allowed is 6MB"
        );
        assert_eq!(
            refusal(|r| r.name = Some("-x".into())),
            "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
        assert_eq!(
            refusal(|r| r.limits.memory_swap = Some(1 << 30)),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
        assert_eq!(
            refusal(|r| {
                r.network = NetworkMode::Host;
                r.links = vec!["db".into()];
            }),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
        );
        assert_eq!(
            refusal(|r| {
                r.remove_when_done = true;
                r.restart = RestartPolicy::Always;
            }),
            "can't create 'AutoRemove' container with restart policy"
        );
    }

    #[test]
    fn a_published_port_on_the_hosts_network_is_only_a_warning() {
        let made = CreateContainer {
            network: NetworkMode::Host,
            publish_all: true,
            ..CreateContainer::default()
        };
        assert_eq!(
            request(&made).unwrap(),
            ["Published ports are discarded when using host network mode"]
        );
    }

    #[test]
    fn mounts_are_checked() {
        let bind = |path: &str, target: &str| MountRequest {
            target: target.into(),
            read_only: false,
            source: MountSource::Bind {
                path: path.into(),
                create: false,
                propagation: None,
                recursive: true,
                below: super::super::request::Below::ReadOnly,
            },
            ..MountRequest::default()
        };
        for (request, expected) in [
            (
                bind("/does/not/exist", "/x"),
                "invalid mount config for type \"bind\": bind source path does not exist: /does/not/exist",
            ),
            (
                bind("/", "x"),
                "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
            ),
            (
                bind("/", "/a/.."),
                "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
        ] {
            assert_eq!(mount(&request).unwrap_err().to_string(), expected);
        }
        assert_eq!(mount(&bind("/", "//a/./b/../c/")).unwrap(), "/a/c");
    }
}
