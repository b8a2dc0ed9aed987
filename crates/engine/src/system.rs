//! `info`, `system prune`.

use crate::builds::CacheLimits;
use crate::containers::record::{Activity, Container};
use crate::containers::request::ListContainers;
use crate::containers::seat::by_systemd;
use crate::{Engine, EngineError, HostCa};
use oci::Platform;
use std::collections::BTreeMap;
use std::path::Path;

/// What `info` tells about this engine and host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// A name that stays this root's, as a UUID is written.
    pub id: String,
    /// Containers, by what they do.
    pub running: u64,
    /// Frozen.
    pub paused: u64,
    /// Not running.
    pub stopped: u64,
    /// Images.
    pub images: u64,
    /// Kernel release.
    pub kernel: String,
    /// The host's PRETTY_NAME.
    pub operating_system: String,
    /// Its VERSION_ID.
    pub operating_system_version: String,
    /// Go's name.
    pub architecture: String,
    /// The kernel's name of it.
    pub machine: String,
    /// What the storage stands on, key and value.
    pub storage: Vec<(String, String)>,
    /// Log drivers that containers may have.
    pub log_drivers: Vec<String>,
    /// Controllers of the kernel's cgroups.
    pub controllers: Vec<String>,
    /// Whether swap can be limited.
    pub swap_limit: bool,
    /// Whether the host forwards IPv4 packets.
    pub forwards: bool,
    /// Processors.
    pub processors: u64,
    /// Bytes.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// `1`, `2` or `hybrid`.
    pub cgroup_version: String,
    /// `systemd` or `cgroupfs`.
    pub cgroup_driver: String,
    /// Of the kernel: `seccomp`, `apparmor`, …
    pub security: Vec<String>,
    /// Root, run root and the configuration in force, key and value.
    pub settings: Vec<(String, String)>,
    /// What works less well than it could here, and what to do.
    pub warnings: Vec<String>,
}

impl Info {
    /// Says whether the kernel has a cgroup controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// What `system prune` shall remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Every image that no container uses, not only dangling ones.
    pub all: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
    /// `until`, `label`, `label!`.
    pub filters: Vec<(String, String)>,
}

/// What `system prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Containers' ids.
    pub containers: Vec<String>,
    /// Networks' names.
    pub networks: Vec<String>,
    /// Volumes' names.
    pub volumes: Vec<String>,
    /// Images and references.
    pub images: Vec<crate::images::Removed>,
    /// Keys of build cache entries.
    pub build_cache: Vec<String>,
    /// Bytes given back.
    pub bytes: u64,
}

impl Engine {
    /// Looks at this engine and host.
    pub fn info(&self) -> Result<Info, EngineError> {
        let containers = self.every_container(false)?;
        let count = |activity| {
            containers
                .iter()
                .filter(|container| container.activity == activity)
                .count() as u64
        };
        let (running, paused) = (count(Activity::Running), count(Activity::Paused));
        let uname = rustix::system::uname();
        let cgroup_version = cgroup_version(&proc_text("/proc/self/mountinfo"));
        let release = proc_text("/etc/os-release");
        let controllers = controllers(cgroup_version);
        let swap_limit = swap_limit(cgroup_version);
        let mut warnings = self.warnings(cgroup_version);
        for (controller, warning) in [
            ("memory", "No memory limit support"),
            ("pids", "No pids limit support"),
        ] {
            if cgroup_version != "none" && !controllers.iter().any(|name| name == controller) {
                warnings.push(warning.to_owned());
            }
        }
        if !swap_limit {
            warnings.push("No swap limit support".to_owned());
        }
        Ok(Info {
            id: self.identity(),
            operating_system_version: os_value(&release, "VERSION_ID").unwrap_or_default().to_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            storage: vec![
                (
                    "Backing Filesystem".into(),
                    file_system(&self.locations().root).to_owned(),
                ),
                ("Supports d_type".into(), "true".into()),
            ],
            log_drivers: ["journald", "json-file", "local", "none"]
                .map(str::to_owned)
                .to_vec(),
            controllers,
            swap_limit,
            forwards: proc_text("/proc/sys/net/ipv4/ip_forward").trim() == "1",
            running,
            paused,
            stopped: containers.len() as u64 - running - paused,
            images: self.images().list()?.len() as u64,
            kernel: uname.release().to_string_lossy().into_owned(),
            operating_system: pretty_name(&release),
            architecture: Platform::host().architecture,
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory: total_memory(&proc_text("/proc/meminfo")),
            name: uname.nodename().to_string_lossy().into_owned(),
            cgroup_driver: if by_systemd(self.config()) {
                "systemd"
            } else {
                "cgroupfs"
            }
            .into(),
            security: security(),
            settings: self.settings(),
            warnings,
            cgroup_version: cgroup_version.into(),
        })
    }

    /// Made of the machine's id and the root's place, so that nothing needs to be kept.
    fn identity(&self) -> String {
        let machine = proc_text("/etc/machine-id");
        let text = format!("{}\0{}", machine.trim(), self.locations().root.display());
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let hex = crate::containers::places::hex(&digest.as_ref()[..16]);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    fn settings(&self) -> Vec<(String, String)> {
        let config = self.config();
        let list = |entries: &[String]| {
            if entries.is_empty() {
                "none".into()
            } else {
                entries.join(", ")
            }
        };
        let mirrors: Vec<String> = config
            .mirrors
            .iter()
            .map(|mirror| format!("{} -> {}", mirror.prefix, mirror.endpoint))
            .collect();
        let subnet = config
            .subnet
            .map_or_else(|| "picked free".into(), |subnet| subnet.to_string());
        let pids = if config.pids_limit < 0 {
            "unlimited".into()
        } else {
            config.pids_limit.to_string()
        };
        [
            ("Root", self.locations().root.display().to_string()),
            ("Run root", self.locations().run_root.display().to_string()),
            (
                "Host CA certificates",
                if config.host_ca == HostCa::Auto {
                    "auto"
                } else {
                    "off"
                }
                .into(),
            ),
            ("Image policy", config.image_policy.to_string()),
            ("Insecure registries", list(&config.insecure_registries)),
            ("Logging driver", config.log_driver.clone()),
            ("Logging options", log_options(config)),
            ("Mirrors", list(&mirrors)),
            ("Pids limit", pids),
            ("Subnet of the default bridge", subnet),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn warnings(&self, cgroup_version: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        if cgroup_version == "none" {
            warnings.push("no cgroup hierarchy is mounted: limits have no effect".to_owned());
        }
        if proc_text("/proc/sys/net/ipv4/ip_forward").trim() == "0" {
            warnings.push(
                "IPv4 forwarding is off: it is switched on when the first container joins a bridge"
                    .to_owned(),
            );
        }
        if !security().iter().any(|name| name == "seccomp") {
            warnings
                .push("this kernel has no seccomp filter: containers may make any system call".to_owned());
        }
        if self.locations().root.starts_with("/tmp") {
            warnings.push("the root lies below /tmp, which hosts clear at boot: use --root".to_owned());
        }
        warnings
    }

    pub(crate) fn every_container(&self, size: bool) -> Result<Vec<Container>, EngineError> {
        self.containers().list(&ListContainers {
            all: true,
            size,
            ..ListContainers::default()
        })
    }

    /// Removes what nothing uses: stopped containers, images, build cache, the idle default bridge with its rules.
    pub fn prune(&self, request: &PruneRequest) -> Result<Pruned, EngineError> {
        let filters = &request.filters;
        let mut pruned = Pruned::default();
        let (containers, bytes) = self.containers().prune(filters)?;
        pruned.containers = containers.iter().map(ToString::to_string).collect();
        pruned.bytes += bytes;
        if request.volumes {
            let (volumes, bytes) = self.volumes().prune(false, filters)?;
            pruned.volumes = volumes;
            pruned.bytes += bytes;
        }
        // The cache goes before the images, so that layers which only it keeps are counted once.
        let (steps, bytes) = self
            .builds()
            .prune(request.all, filters, CacheLimits::default())?;
        pruned.build_cache = steps;
        pruned.bytes += bytes;
        let (images, bytes) = self.images().prune(request.all, filters)?;
        pruned.images = images;
        pruned.bytes += bytes;
        pruned.networks = self.networks().prune(filters)?;
        Ok(pruned)
    }
}

/// The filters that all `prune` commands have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    before: Option<i64>,
    with: Vec<String>,
    without: Vec<String>,
}

impl Filters {
    /// Reads `until=…`, `label=name[=value]` and `label!=name[=value]`.
    pub(crate) fn parse(filters: &[(String, String)]) -> Result<Self, EngineError> {
        let mut parsed = Self::default();
        for (key, value) in filters {
            match key.as_str() {
                "label" => parsed.with.push(value.clone()),
                "label!" => parsed.without.push(value.clone()),
                "until" => parsed.before = Some(moment(value)?),
                other => {
                    return Err(EngineError::Invalid {
                        message: format!("invalid filter '{other}'"),
                        hint: Some("write until=…, label=… or label!=…".into()),
                    });
                }
            }
        }
        Ok(parsed)
    }

    /// Says whether something made at `created` with `labels` may be pruned.
    pub(crate) fn accept(&self, created: i64, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        };
        self.before.is_none_or(|before| created < before)
            && self.with.iter().all(has)
            && !self.without.iter().any(has)
    }
}

/// Reads a moment: an RFC 3339 time, seconds since 1970, or a Go duration before now (`24h`). Returns nanoseconds.
pub fn moment(text: &str) -> Result<i64, EngineError> {
    let wrong = || EngineError::Invalid {
        message: format!("'{text}' is no time"),
        hint: Some("write a duration (24h), a time (2026-01-31T12:00:00Z) or seconds since 1970".into()),
    };
    let nanoseconds = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).map_err(|_too_far| wrong());
    if let Some(moment) = seconds(text) {
        return Ok(moment);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return nanoseconds(time);
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        let local = time
            .to_zoned(jiff::tz::TimeZone::system())
            .map_err(|_out_of_range| wrong())?;
        return nanoseconds(local.timestamp());
    }
    let ago: jiff::SignedDuration = text.parse().map_err(|_not_a_duration| wrong())?;
    let then = jiff::Timestamp::now()
        .checked_sub(ago)
        .map_err(|_out_of_range| wrong())?;
    nanoseconds(then)
}

/// Reads seconds since 1970 with up to nine digits behind the point, to the nanosecond: clients send back the times that
/// they have seen.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// Reads a small file of the kernel's or the host's; nothing where it cannot be read.
fn proc_text(path: &str) -> String {
    sys::fs::read(Path::new(path), 1 << 20).map_or_else(
        |_unreadable| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn os_value<'t>(os_release: &'t str, name: &str) -> Option<&'t str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(|text| text.trim_matches('"'))
}

fn pretty_name(os_release: &str) -> String {
    os_value(os_release, "PRETTY_NAME")
        .or_else(|| os_value(os_release, "NAME"))
        .unwrap_or("Linux")
        .to_owned()
}

/// Controllers that limits can be made of.
fn controllers(cgroup_version: &str) -> Vec<String> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    match cgroup_version {
        "2" => words(proc_text("/sys/fs/cgroup/cgroup.controllers")),
        // The lines of cgroups(7): name, hierarchy, number of cgroups, enabled.
        _ => proc_text("/proc/cgroups")
            .lines()
            .filter(|line| !line.starts_with('#') && line.ends_with("\t1"))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect(),
    }
}

fn swap_limit(cgroup_version: &str) -> bool {
    match cgroup_version {
        "2" => true,
        _ => Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists(),
    }
}

/// Docker's word for the file system that a directory lies on.
fn file_system(path: &Path) -> &'static str {
    // The numbers of statfs(2).
    match rustix::fs::statfs(path).map(|found| found.f_type) {
        Ok(0xef53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x2fc1_2fc1) => "zfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(0x6969) => "nfs",
        _ => "<unknown>",
    }
}

fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn cgroup_version(mountinfo: &str) -> &'static str {
    let has = |kind: &str| {
        mountinfo
            .lines()
            .any(|line| line.contains(&format!(" - {kind} ")))
    };
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => "hybrid",
        (true, false) => "1",
        (false, true) => "2",
        (false, false) => "none",
    }
}

fn security() -> Vec<String> {
    let mut names = Vec::new();
    if Path::new("/proc/sys/kernel/seccomp").exists() {
        names.push("seccomp".to_owned());
    }
    let modules = proc_text("/sys/kernel/security/lsm");
    names.extend(
        ["apparmor", "selinux"]
            .iter()
            .filter(|name| modules.contains(**name))
            .map(ToString::to_string),
    );
    if proc_text("/proc/self/mountinfo").contains(" - cgroup2 ") {
        names.push("cgroupns".to_owned());
    }
    names
}

/// Returns the options of containers that name no log driver.
fn log_options(config: &crate::Config) -> String {
    let (_, options) = crate::containers::logs::options::in_force(config, None, &BTreeMap::new());
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if options.is_empty() {
        "none".into()
    } else {
        options.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose_by_age_and_label() {
        let filter = |text: &[(&str, &str)]| {
            let pairs: Vec<_> = text
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            Filters::parse(&pairs)
        };
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert!(filter(&[]).unwrap().accept(0, &labels));
        assert!(filter(&[("label", "a=1")]).unwrap().accept(0, &labels));
        assert!(!filter(&[("label", "a=2")]).unwrap().accept(0, &labels));
        assert!(!filter(&[("label!", "a")]).unwrap().accept(0, &labels));
        assert!(
            filter(&[("until", "100")])
                .unwrap()
                .accept(99_000_000_000, &labels)
        );
        assert!(
            !filter(&[("until", "100")])
                .unwrap()
                .accept(100_000_000_000, &labels)
        );
        assert!(filter(&[("colour", "red")]).is_err());
    }

    #[test]
    fn moments_are_read_in_all_their_forms() {
        assert_eq!(moment("2022-02-05T00:00:00Z").unwrap(), 1_644_019_200_000_000_000);
        assert_eq!(moment("1644019200").unwrap(), 1_644_019_200_000_000_000);
        assert_eq!(moment("1644019200.123456789").unwrap(), 1_644_019_200_123_456_789);
        let hour_ago = moment("1h").unwrap();
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap();
        assert!((now - hour_ago - 3_600_000_000_000).abs() < 60_000_000_000);
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(pretty_name("NAME=\"X\"\nPRETTY_NAME=\"X 1 (y)\"\n"), "X 1 (y)");
        assert_eq!(
            total_memory("MemTotal:       24684084 kB\nMemFree: 1 kB\n"),
            24_684_084 * 1024
        );
        let (v1, v2) = (
            "30 20 0:1 / /c rw - cgroup cpu rw\n",
            "31 20 0:2 / /u rw - cgroup2 none rw\n",
        );
        assert_eq!(cgroup_version(&format!("{v1}{v2}")), "hybrid");
        assert_eq!(cgroup_version(v1), "1");
        assert_eq!(cgroup_version(v2), "2");
    }
}
