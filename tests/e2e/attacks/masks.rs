//! What of procfs, sysfs and the cgroups is hidden, or can only be read.

use crate::sandbox;
use testkit::{Sandbox, Swapper, attack};

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

/// Prints a line for each masked path that has something in it.
fn leaks(paths: &[&str]) -> String {
    format!(
        "for p in {}; do [ -e $p ] || continue; if [ -d $p ]; then n=$(ls -A $p | wc -l); else n=$(head -c 9 $p | wc -c); fi; \
         [ $n = 0 ] || echo leaks $p; done; echo looked",
        paths.join(" ")
    )
}

/// GHSA-jq35-85cj-fj4p, GHSA-6fw5-f8r9-fgfm and Docker's list: keys, memory, interrupts, power.
#[test]
fn what_tells_of_the_host_is_empty() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    let throttles: Vec<String> = (0..4)
        .map(|number| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle"))
        .collect();
    let mut paths = MASKED.to_vec();
    paths.extend(throttles.iter().map(String::as_str));
    let script = leaks(&paths);
    for words in [
        &["run", "--rm", "busybox"][..],
        &["run", "--rm", "--cap-add", "ALL", "busybox"],
        &["exec", "it"],
        &["exec", "--privileged", "it"],
    ] {
        let found = coracle.run([words, &["sh", "-c", &script]].concat()).ok();
        assert_eq!(found, "looked\n", "{words:?}");
    }
    // Something of it is there, or nothing would have been tried.
    assert!(std::path::Path::new("/proc/interrupts").exists());
}

/// The node that files are covered with is the host's own `/dev/null`: who may change its mode takes it away from the
/// whole host.
#[test]
fn what_covers_cannot_be_changed() {
    let coracle = sandbox();
    let before = std::fs::metadata("/dev/null").unwrap();
    let own = "grep -E ' (/proc/keys|/proc/interrupts|/proc/timer_list|/sys/firmware|/proc/acpi) ' /proc/self/mounts";
    let mounts = coracle.run(["run", "--rm", "busybox", "sh", "-c", own]).ok();
    for line in mounts.lines() {
        let options = line.split(' ').nth(3).unwrap();
        for option in ["ro", "nosuid", "noexec"] {
            assert!(options.split(',').any(|each| each == option), "{line}");
        }
    }
    // The time is changed: anything else would harm the host if it worked.
    let script = "for p in /proc/keys /proc/interrupts /proc/timer_list; do \
        [ -e $p ] && touch -d 2001-01-01 $p 2>/dev/null && echo changed $p; done; \
        echo x > /proc/keys && head -c 1 /proc/keys | wc -c";
    for flags in [&[][..], &["--cap-add", "ALL"]] {
        let words = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        assert_eq!(coracle.run(words).ok(), "0\n", "{flags:?}");
    }
    let after = std::fs::metadata("/dev/null").unwrap();
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
}

/// What drives the host can be read and not written. Opening is enough: nothing is written, so that an engine that
/// lets it through does no harm.
#[test]
fn what_drives_the_host_cannot_be_opened_for_writing() {
    let coracle = sandbox();
    let paths = "/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches \
        /proc/irq/default_smp_affinity /proc/fs/jbd2 /sys/kernel/mm/ksm/run /sys/kernel/uevent_helper /sys/power/state \
        /sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/memory/notify_on_release /sys/fs/cgroup/cgroup.procs \
        /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/cgroup.subtree_control";
    let script = format!(
        "for p in {paths}; do [ -e $p ] || continue; [ -d $p ] && {{ mkdir $p/x 2>/dev/null && echo made $p; continue; }}; \
         (: >> $p) 2>/dev/null && echo writable $p; done; echo looked"
    );
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    for words in [
        &["run", "--rm", "busybox"][..],
        &["exec", "it"],
        &["run", "--rm", "--net=host", "busybox"],
    ] {
        let found = coracle.run([words, &["sh", "-c", &script]].concat()).ok();
        assert_eq!(found, "looked\n", "{words:?}");
    }
}

/// CVE-2023-25809, CVE-2022-0492: every mount at and below the cgroups is read-only.
#[test]
fn cgroups_are_read_only() {
    let coracle = sandbox();
    let read_only = |flags: &[&str]| {
        let words = [&["run", "--rm"], flags, &["busybox", "cat", "/proc/self/mounts"]].concat();
        let mounts = coracle.run(words).ok();
        let found: Vec<_> = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|words| words[1].starts_with("/sys/fs/cgroup"))
            .collect();
        assert!(!found.is_empty(), "{mounts}");
        for words in found {
            assert!(words[3].split(',').any(|option| option == "ro"), "{words:?}");
        }
    };
    read_only(&[]);
    read_only(&["--net", "host"]);
    read_only(&["--cap-add", "SYS_ADMIN"]);
}

/// A container that shares its `/dev` with an attacker, who swaps a node in it for a link.
fn raced(coracle: &Sandbox, name: &str, target: &str, mut each: impl FnMut(testkit::Outcome)) {
    coracle.run(["volume", "create", "dev"]).ok();
    let shared = super::volume_directory(coracle, "dev");
    for directory in ["pts", "shm", "mqueue"] {
        std::fs::create_dir(shared.join(directory)).unwrap();
    }
    let null = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, shared.join(name), kind, mode, null).unwrap();
    std::os::unix::fs::symlink(target, shared.join("swapped")).unwrap();
    let swapper = Swapper::start(shared.join(name), shared.join("swapped"));
    let script = leaks(&[
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
    ]);
    for _ in 0..attack::rounds() {
        each(coracle.run(["run", "--rm", "-v", "dev:/dev", "busybox", "sh", "-c", &script]));
    }
    drop(swapper);
}

/// CVE-2025-31133: files are masked with `/dev/null`, and the container's is whatever the container makes it.
#[test]
fn a_swapped_null_device_unmasks_nothing() {
    let coracle = sandbox();
    // Masking with this would show, and make writable, what is at its end.
    raced(&coracle, "null", "/proc/cpuinfo", |outcome| {
        // It may fail to start, for the tree is moving. If it starts, it is masked.
        assert!(outcome.code != 0 || outcome.stdout == "looked\n", "{outcome:?}");
    });
}
