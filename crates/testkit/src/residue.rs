//! What there is of one root on the host: its directories, and every kernel object that bears its mark.
//!
//! Where [`crate::HostState`] looks at the whole host, and therefore wants to be alone on it, this looks only at what
//! one engine has made: many times a second, and with others at work.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Directories of a root whose entries are objects of their own.
const STORED: [&str; 9] = [
    "containers",
    "containers/.removed",
    "layers",
    "blobs/sha256",
    "volumes",
    "snapshots",
    "leases",
    "locks",
    "tmp",
];

/// An engine's root and run directory, and what is looked for in and of them.
#[derive(Debug, Clone)]
pub struct Residue {
    root: PathBuf,
    run_root: PathBuf,
    mark: String,
}

impl Residue {
    /// Looks for what belongs to this root. The root exists.
    pub fn of(root: &Path, run_root: &Path) -> Self {
        let root = fs::canonicalize(root).expect("the root is there");
        let digest = ring::digest::digest(&ring::digest::SHA256, root.as_os_str().as_encoded_bytes());
        let mark = digest.as_ref()[..4].iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        });
        Self {
            root,
            run_root: run_root.to_owned(),
            mark,
        }
    }

    /// Returns the eight digits in the names of this root's cgroup, bridge and firewall table.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Returns all that is there.
    pub fn now(&self) -> BTreeSet<String> {
        let mut facts = BTreeSet::new();
        for directory in STORED {
            for name in entries(&self.root.join(directory)) {
                if name != ".removed" && (directory, name.as_str()) != ("containers/.removed", "lock") {
                    facts.insert(format!("{directory}/{name}"));
                }
            }
        }
        for name in entries(&self.run_root) {
            // Of networks that are there; who is on them stands below.
            if name != "networks" {
                facts.insert(format!("run directory {name}"));
            }
        }
        for name in entries(&self.run_root.join("networks")) {
            facts.insert(format!("network {name}"));
            for container in entries(&self.run_root.join("networks").join(&name)) {
                if container != "segment" {
                    facts.insert(format!("network {name} has {container}"));
                }
            }
        }
        for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
            let top = Path::new("/sys/fs/cgroup")
                .join(hierarchy)
                .join(format!("coracle-{}", self.mark));
            cgroups(&top, &mut facts);
        }
        cgroups(
            &Path::new("/sys/fs/cgroup").join(format!("coracle-{}", self.mark)),
            &mut facts,
        );
        let bridge = Path::new("/sys/class/net").join(format!("cor{}", self.mark));
        if bridge.exists() {
            facts.insert("the bridge".into());
        }
        for link in entries(&bridge.join("brif")) {
            facts.insert(format!("link {link}"));
        }
        let table = Command::new("nft")
            .args(["-s", "list", "table", "inet", &format!("coracle-{}", self.mark)])
            .output()
            .expect("nft runs");
        for line in String::from_utf8_lossy(&table.stdout).lines() {
            facts.insert(format!("firewall {}", line.trim()));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo is readable");
        for line in mounts.lines().filter(|line| self.is_ours(line)) {
            // Mount ids change.
            facts.insert(format!(
                "mount {}",
                line.split(' ').skip(3).collect::<Vec<_>>().join(" ")
            ));
        }
        for process in self.processes() {
            facts.insert(format!("process {} {}", process.0, process.1));
        }
        facts
    }

    /// Returns the processes that are in a cgroup of this root or have a file below it open, with their command lines.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        let cgroup = format!("/coracle-{}", self.mark);
        for name in entries(Path::new("/proc")) {
            let Ok(pid) = name.parse::<i32>() else { continue };
            if pid == std::process::id().cast_signed() {
                continue;
            }
            let process = Path::new("/proc").join(&name);
            let inside =
                || fs::read_to_string(process.join("cgroup")).is_ok_and(|text| text.contains(&cgroup));
            let holds = || {
                entries(&process.join("fd")).iter().any(|fd| {
                    fs::read_link(process.join("fd").join(fd))
                        .is_ok_and(|target| self.is_ours(&target.to_string_lossy()))
                })
            };
            if inside() || holds() {
                let command = fs::read(process.join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
            }
        }
        found
    }

    /// Panics with the differences unless all is as it was `before` within `patience`.
    #[track_caller]
    pub fn assert_is(&self, before: &BTreeSet<String>, patience: Duration, context: &str) {
        let start = Instant::now();
        loop {
            let now = self.now();
            if now == *before {
                return;
            }
            assert!(
                start.elapsed() < patience,
                "{context}: left behind: {:#?}\ntaken away: {:#?}",
                now.difference(before).collect::<Vec<_>>(),
                before.difference(&now).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ours(&self, text: &str) -> bool {
        [&self.root, &self.run_root]
            .iter()
            .any(|path| text.contains(&*path.to_string_lossy()))
    }
}

fn entries(directory: &Path) -> Vec<String> {
    // What has just gone is not there.
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn cgroups(directory: &Path, facts: &mut BTreeSet<String>) {
    if !directory.is_dir() {
        return;
    }
    facts.insert(format!("cgroup {}", directory.display()));
    for name in entries(directory) {
        cgroups(&directory.join(name), facts);
    }
}
