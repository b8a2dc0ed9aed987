//! Which cgroup hierarchies there are and where they are mounted.
//!
//! A host has version 2 alone (`/sys/fs/cgroup` is it), version 1 with one mount for each controller or for a few
//! together (`cpu,cpuacct`), or the mixture: version 1 and beside it a version 2 tree that carries whatever
//! controllers version 1 did not claim, often none.

use rustix::fs::statfs;
use std::path::{Path, PathBuf};
use sys::SysError;

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const VERSION_2_MAGIC: i64 = 0x6367_7270;

/// Which interface a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A mounted hierarchy and its controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    pub(super) mount: PathBuf,
    /// What it controls; empty for a named hierarchy such as systemd's.
    pub(super) controllers: Vec<String>,
}

impl Hierarchy {
    /// Says whether it has any of these controllers.
    pub(super) fn has_any(&self, controllers: &[&str]) -> bool {
        self.controllers
            .iter()
            .any(|each| controllers.contains(&each.as_str()))
    }
}

/// All hierarchies of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at what is mounted.
    pub(super) fn detect() -> Result<Self, SysError> {
        let usual = Path::new("/sys/fs/cgroup");
        // On a host of version 2 this spares reading a mountinfo that may have thousands of lines.
        let mut layout = match statfs(usual) {
            Ok(status) if i128::from(status.f_type) == i128::from(VERSION_2_MAGIC) => Self {
                hierarchies: vec![Hierarchy {
                    version: Version::Two,
                    mount: usual.to_owned(),
                    controllers: Vec::new(),
                }],
            },
            _ => {
                let path = "/proc/self/mountinfo";
                let text =
                    std::fs::read_to_string(path).map_err(|error| SysError::io("read", path, &error))?;
                Self::from_mountinfo(&text)
            }
        };
        for unified in layout
            .hierarchies
            .iter_mut()
            .filter(|each| each.version == Version::Two)
        {
            let path = unified.mount.join("cgroup.controllers");
            let text = std::fs::read_to_string(&path).map_err(|error| SysError::io("read", &path, &error))?;
            unified.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        if layout.hierarchies.is_empty() {
            return Err(SysError::on("find a cgroup hierarchy mounted below", usual)(
                rustix::io::Errno::NOENT,
            ));
        }
        Ok(layout)
    }

    /// Reads `/proc/PID/mountinfo`. The controllers of version 2 are not in it.
    pub(super) fn from_mountinfo(text: &str) -> Self {
        let mut found: Vec<(bool, &str, Hierarchy)> = Vec::new();
        for mount in text.lines().filter_map(Mount::parse) {
            let version = match mount.filesystem {
                "cgroup" => Version::One,
                "cgroup2" => Version::Two,
                _ => continue,
            };
            let whole = mount.root == "/";
            // A hierarchy may be mounted again elsewhere: its first mount that shows all of it is the one to use.
            if let Some(known) = found.iter_mut().find(|(_, device, _)| *device == mount.device) {
                if whole && !known.0 {
                    known.0 = true;
                    known.2.mount = unescape(mount.point);
                }
                continue;
            }
            let controllers = match version {
                Version::One => mount
                    .super_options
                    .split(',')
                    .filter(|option| is_controller(option))
                    .map(str::to_owned)
                    .collect(),
                Version::Two => Vec::new(),
            };
            found.push((
                whole,
                mount.device,
                Hierarchy {
                    version,
                    mount: unescape(mount.point),
                    controllers,
                },
            ));
        }
        Self {
            hierarchies: found.into_iter().map(|(_, _, hierarchy)| hierarchy).collect(),
        }
    }

    /// Returns the version 2 tree if it is all there is.
    pub(super) fn is_version_2(&self) -> bool {
        self.hierarchies.iter().all(|each| each.version == Version::Two)
    }
}

/// Tells controllers from the other mount options of version 1 (cgroups(7)).
fn is_controller(option: &str) -> bool {
    matches!(
        option,
        "blkio"
            | "cpu"
            | "cpuacct"
            | "cpuset"
            | "devices"
            | "freezer"
            | "hugetlb"
            | "memory"
            | "misc"
            | "net_cls"
            | "net_prio"
            | "perf_event"
            | "pids"
            | "rdma"
    )
}

/// The fields of a mountinfo line that matter here.
struct Mount<'a> {
    device: &'a str,
    root: &'a str,
    point: &'a str,
    filesystem: &'a str,
    super_options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // The number of optional fields before the hyphen varies.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let mut after = after.split(' ');
        Some(Self {
            device: before.next()?,
            root: before.next()?,
            point: before.next()?,
            filesystem: after.next()?,
            super_options: after.nth(1)?,
        })
    }
}

/// Undoes the octal escapes of mountinfo: space, tab, line feed and backslash.
fn unescape(text: &str) -> PathBuf {
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        if let Some(code) = code {
            plain.push(char::from(code));
            rest = after.get(3..).unwrap_or_default();
        } else {
            plain.push('\\');
            rest = after;
        }
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(version: Version, mount: &str, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            version,
            mount: PathBuf::from(mount),
            controllers: controllers.iter().map(|each| (*each).to_owned()).collect(),
        }
    }

    #[test]
    fn a_mixture_is_read() {
        let text = "\
24 30 0:22 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime shared:10 master:2 - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let layout = Layout::from_mountinfo(text);
        assert_eq!(
            layout.hierarchies,
            [
                hierarchy(Version::One, "/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                hierarchy(Version::One, "/sys/fs/cgroup/devices", &["devices"]),
                hierarchy(Version::One, "/sys/fs/cgroup/systemd", &[]),
                hierarchy(Version::Two, "/sys/fs/cgroup/unified", &[]),
            ]
        );
        assert!(!layout.is_version_2());
    }

    #[test]
    fn version_2_at_an_unusual_place_is_read() {
        let layout =
            Layout::from_mountinfo("9 1 0:5 / /my\\040cgroups\\134x rw - cgroup2 none rw,nsdelegate\n");
        assert_eq!(
            layout.hierarchies,
            [hierarchy(Version::Two, "/my cgroups\\x", &[])]
        );
        assert!(layout.is_version_2());
    }

    #[test]
    fn the_mount_that_shows_all_of_a_hierarchy_is_taken() {
        let text = "\
50 1 0:30 /inner /bound rw - cgroup cgroup rw,memory
51 1 0:30 / /whole rw - cgroup cgroup rw,memory
52 1 0:30 / /again rw - cgroup cgroup rw,memory
";
        assert_eq!(
            Layout::from_mountinfo(text).hierarchies,
            [hierarchy(Version::One, "/whole", &["memory"])]
        );
    }

    #[test]
    fn this_machine_has_one() {
        assert!(!Layout::detect().unwrap().hierarchies.is_empty());
    }
}
