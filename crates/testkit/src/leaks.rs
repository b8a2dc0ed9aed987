//! The leak check: what of a host's state a container engine could leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long background removal may take before it counts as a leak.
const PATIENCE: Duration = Duration::from_secs(10);

/// A picture of the host. Two of them are equal when nothing came and nothing went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    facts: BTreeSet<String>,
}

impl HostState {
    /// Takes a picture.
    pub fn now() -> Self {
        let mut facts = BTreeSet::new();
        mounts(&mut facts);
        links(&mut facts);
        firewall(&mut facts);
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut facts);
        processes(&mut facts);
        Self { facts }
    }

    /// Panics with the differences unless the host returns to this picture within some seconds: the kernel takes
    /// network namespaces away at its leisure.
    pub fn assert_restored(&self) {
        let start = Instant::now();
        loop {
            let now = Self::now();
            let came: Vec<_> = now
                .facts
                .difference(&self.facts)
                .filter(|fact| !is_a_strangers_cgroup(fact))
                .collect();
            // Other programs of a living host may end meanwhile; what is ours to break is the rest.
            let ends_by_itself = |fact: &&String| fact.starts_with("process ") || fact.starts_with("cgroup ");
            let went: Vec<_> = self
                .facts
                .difference(&now.facts)
                .filter(|fact| !ends_by_itself(fact))
                .collect();
            if came.is_empty() && went.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "left behind: {came:#?}\ntaken away: {went:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn mounts(facts: &mut BTreeSet<String>) {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo is readable");
    for line in text.lines() {
        // Mount ids change; root, mount point, type and source do not.
        let words: Vec<_> = line.split(' ').collect();
        let theirs = [
            "/containerd",
            "/containers/storage",
            "/docker",
            "/podman",
            "/run/netns/",
        ];
        if !theirs.iter().any(|part| words[4].contains(part)) {
            facts.insert(format!("mount {} on {}", words[3], words[4]));
        }
    }
}

/// Says whether a link or cgroup belongs to another container engine, which may be at work on the same host.
fn is_another_engines(name: &str) -> bool {
    ["br-", "docker", "libpod", "podman", "veth"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn links(facts: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/sys/class/net")
        .expect("links are listed")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_another_engines(&name) {
            facts.insert(format!("link {name}"));
        }
    }
}

fn firewall(facts: &mut BTreeSet<String>) {
    let output = Command::new("nft")
        .args(["-s", "list", "ruleset"])
        .output()
        .expect("nft runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("table ") {
            name.trim_end_matches(" {").clone_into(&mut table);
        }
        // What Docker and Podman write goes into the tables of iptables; ours is a table of its own.
        if !table.starts_with("ip ") && !table.starts_with("ip6 ") {
            facts.insert(format!("firewall {table}: {}", line.trim()));
        }
    }
}

fn cgroups(directory: &Path, depth: usize, facts: &mut BTreeSet<String>) {
    let name = directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if is_another_engines(&name) {
        return;
    }
    facts.insert(format!("cgroup {}", directory.display()));
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if depth < 6 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            cgroups(&entry.path(), depth + 1, facts);
        }
    }
}

/// Says whether a fact is a cgroup that somebody else lives in: a program of this host that was started meanwhile. Processes of
/// ours that were left behind are found as such, and a cgroup that was left empty is nobody's but ours.
fn is_a_strangers_cgroup(fact: &str) -> bool {
    fact.strip_prefix("cgroup ").is_some_and(|path| {
        !path.contains("coracle")
            && fs::read_to_string(Path::new(path).join("cgroup.procs"))
                .is_ok_and(|processes| !processes.is_empty())
    })
}

/// Counts processes that run our program, and those in a cgroup of ours with another mount namespace than ours.
fn processes(facts: &mut BTreeSet<String>) {
    let ours = fs::read_link("/proc/self/ns/mnt").expect("our mount namespace has a name");
    for entry in fs::read_dir("/proc").expect("processes are listed").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let process = entry.path();
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let zombie = state
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'));
        if command.contains("coracle-monitor") || (zombie && state.contains("(coracle")) {
            facts.insert(format!("process {name} {command}"));
        }
        let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        if let Ok(namespace) = fs::read_link(process.join("ns/mnt"))
            && namespace != ours
            && cgroup.contains("coracle")
        {
            facts.insert(format!("process {name} in {}", namespace.display()));
        }
    }
}
