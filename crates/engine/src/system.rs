//! `info`, `system df`, `system prune`.

use crate::containers::record::{Activity, Container};
use crate::containers::request::ListContainers;
use crate::containers::seat::by_systemd;
use crate::{Engine, EngineError, HostCa};
use oci::Platform;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What `info` tells about this engine and host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
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
    /// Go's name.
    pub architecture: String,
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

/// One line of `system df`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// `Images`, `Containers`, `Local Volumes`, `Build Cache`.
    pub kind: &'static str,
    /// How many there are.
    pub total: u64,
    /// How many are in use.
    pub active: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that pruning would give back.
    pub reclaimable: u64,
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
    /// Build cache entries.
    pub build_cache: u64,
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
        Ok(Info {
            running,
            paused,
            stopped: containers.len() as u64 - running - paused,
            images: self.images().list()?.len() as u64,
            kernel: uname.release().to_string_lossy().into_owned(),
            operating_system: pretty_name(&proc_text("/etc/os-release")),
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
            warnings: self.warnings(cgroup_version),
            cgroup_version: cgroup_version.into(),
        })
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
            ("Insecure registries", list(&config.insecure_registries)),
            ("Logging driver", config.log_driver.clone()),
            (
                "Log rotation",
                format!("{} files of {} bytes", config.log_max_files, config.log_max_size),
            ),
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

    fn every_container(&self, size: bool) -> Result<Vec<Container>, EngineError> {
        self.containers().list(&ListContainers {
            all: true,
            size,
            ..ListContainers::default()
        })
    }

    /// Measures what is stored: images, containers, volumes, build cache, in this order.
    pub fn disk_usage(&self) -> Result<Vec<DiskUsage>, EngineError> {
        let containers = self.every_container(true)?;
        let images = self.images().list()?;
        let used: BTreeSet<_> = containers.iter().map(|container| container.image).collect();
        let usage = self.store.usage()?;
        // Layers count once, however many images share them; one that only unused images have can be given back.
        let mut layers: BTreeMap<_, (u64, bool)> = BTreeMap::new();
        for image in &images {
            for layer in &image.layers {
                let entry = layers.entry(layer.id.clone()).or_insert((layer.size, false));
                entry.1 |= used.contains(&image.id);
            }
        }
        let volumes = self.volumes().list()?;
        let mut volume_sizes = (0, 0);
        for volume in &volumes {
            let size = sys::path::Tree::open(&volume.mountpoint)?.disk_usage()?;
            volume_sizes.0 += size;
            volume_sizes.1 += if volume.containers == 0 { size } else { 0 };
        }
        let alive = |container: &&Container| crate::images::is_alive(container);
        let size_of =
            |containers: &[&Container]| containers.iter().filter_map(|container| container.size_rw).sum();
        let (alive, dead): (Vec<_>, Vec<_>) = containers.iter().partition(alive);
        Ok(vec![
            DiskUsage {
                kind: "Images",
                total: images.len() as u64,
                active: images.iter().filter(|image| used.contains(&image.id)).count() as u64,
                size: layers.values().map(|(size, _)| size).sum::<u64>() + usage.blobs,
                reclaimable: layers
                    .values()
                    .filter(|(_, used)| !used)
                    .map(|(size, _)| size)
                    .sum(),
            },
            DiskUsage {
                kind: "Containers",
                total: containers.len() as u64,
                active: alive.len() as u64,
                size: containers.iter().filter_map(|container| container.size_rw).sum(),
                reclaimable: size_of(&dead),
            },
            DiskUsage {
                kind: "Local Volumes",
                total: volumes.len() as u64,
                active: volumes.iter().filter(|volume| volume.containers > 0).count() as u64,
                size: volume_sizes.0,
                reclaimable: volume_sizes.1,
            },
            DiskUsage {
                kind: "Build Cache",
                total: self.builds().cached_steps()?,
                active: 0,
                size: usage.build_cache,
                reclaimable: usage.build_cache,
            },
        ])
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
        let before = self.builds().cached_steps()?;
        pruned.bytes += self.builds().prune(true, filters)?;
        pruned.build_cache = before - self.builds().cached_steps()?;
        let (images, bytes) = self.images().prune(request.all, filters)?;
        pruned.images = images;
        pruned.bytes += bytes;
        self.networks().remove_idle()?;
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
pub(crate) fn moment(text: &str) -> Result<i64, EngineError> {
    let wrong = || EngineError::Invalid {
        message: format!("'{text}' is no time"),
        hint: Some("write a duration (24h), a time (2026-01-31T12:00:00Z) or seconds since 1970".into()),
    };
    let nanoseconds = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).map_err(|_too_far| wrong());
    if let Ok(seconds) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
        return Ok((seconds * 1e9) as i64);
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

/// Reads a small file of the kernel's or the host's; nothing where it cannot be read.
fn proc_text(path: &str) -> String {
    sys::fs::read(Path::new(path), 1 << 20).map_or_else(
        |_unreadable| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn pretty_name(os_release: &str) -> String {
    let value = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|text| text.trim_matches('"'))
    };
    value("PRETTY_NAME")
        .or_else(|| value("NAME"))
        .unwrap_or("Linux")
        .to_owned()
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
