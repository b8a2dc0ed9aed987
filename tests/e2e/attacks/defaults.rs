//! What a container gets where nobody asks for anything: as much as with Docker, or less. docs/isolation.md has the
//! table.

/// What Docker does too, read from inside.
mod both {
    use crate::both;
    use testkit::Sandbox;

    fn sh(coracle: &Sandbox, script: &str) -> String {
        coracle.run(["run", "--rm", "busybox", "sh", "-c", script]).ok()
    }

    #[test]
    fn rights() {
        let coracle = both();
        let status = sh(
            &coracle,
            "grep -E '^(Cap...|NoNewPrivs|Seccomp|Groups|Uid|Gid):' /proc/self/status | tr -s '\\t ' ' '",
        );
        let mut lines: Vec<&str> = status.lines().map(str::trim_end).collect();
        lines.sort_unstable();
        let mut expected = vec![
            "CapAmb: 0000000000000000",
            "CapBnd: 00000000a80425fb",
            "CapEff: 00000000a80425fb",
            "CapInh: 0000000000000000",
            "CapPrm: 00000000a80425fb",
            "Gid: 0 0 0 0",
            "NoNewPrivs: 0",
            "Seccomp: 2",
            "Uid: 0 0 0 0",
        ];
        // busybox's image has no further groups for root; older engines gave some all the same.
        let groups = lines.iter().position(|line| line.starts_with("Groups:"));
        let groups = lines.remove(groups.unwrap());
        assert!(
            groups == "Groups: 0" || groups.starts_with("Groups: 0 "),
            "{groups}"
        );
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    #[test]
    fn namespaces_are_its_own() {
        let coracle = both();
        let links = sh(
            &coracle,
            "for n in pid mnt net ipc uts; do readlink /proc/self/ns/$n; done",
        );
        for (name, link) in ["pid", "mnt", "net", "ipc", "uts"].iter().zip(links.lines()) {
            let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_ne!(ours.to_str().unwrap(), link, "{name}");
        }
        assert_eq!(sh(&coracle, "echo $$"), "1\n");
    }

    #[test]
    fn devices() {
        let coracle = both();
        let names = sh(&coracle, "ls /dev");
        // Where the certificates of the host are passed on, they lie there.
        let names: Vec<&str> = names.lines().filter(|name| *name != "coracle").collect();
        let expected = [
            "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero",
        ];
        assert_eq!(names, expected);
        // A disk, memory, and FUSE: nodes can be made and not be opened.
        for (kind, major, minor) in [
            ("b", 8, 0),
            ("b", 254, 0),
            ("b", 259, 0),
            ("c", 1, 1),
            ("c", 1, 4),
            ("c", 10, 229),
        ] {
            let script = format!(
                "mknod /tmp/x {kind} {major} {minor} && head -c 1 /tmp/x 2>&1 | grep -c 'not permitted'"
            );
            assert_eq!(sh(&coracle, &script), "1\n", "{kind} {major}:{minor}");
        }
    }

    #[test]
    fn mounts() {
        let coracle = both();
        let mounts = sh(&coracle, "cat /proc/self/mounts");
        for (target, wanted) in [
            ("/proc", &["rw", "nosuid", "nodev", "noexec"][..]),
            ("/dev", &["rw", "nosuid", "mode=755", "size=65536k"]),
            (
                "/dev/pts",
                &["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"],
            ),
            ("/dev/shm", &["nosuid", "nodev", "noexec", "size=65536k"]),
            ("/dev/mqueue", &["nosuid", "nodev", "noexec"]),
            ("/sys", &["ro", "nosuid", "nodev", "noexec"]),
            ("/sys/fs/cgroup", &["ro", "nosuid", "nodev", "noexec"]),
            ("/proc/bus", &["ro", "nosuid", "nodev", "noexec"]),
            ("/proc/fs", &["ro", "nosuid", "nodev", "noexec"]),
            ("/proc/irq", &["ro", "nosuid", "nodev", "noexec"]),
            ("/proc/sys", &["ro", "nosuid", "nodev", "noexec"]),
            ("/proc/sysrq-trigger", &["ro", "nosuid", "nodev", "noexec"]),
        ] {
            // Not every kernel has all of procfs.
            if !std::path::Path::new(target).exists() && target.starts_with("/proc/") {
                continue;
            }
            let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(target));
            let line = line.unwrap_or_else(|| panic!("{target} is not mounted: {mounts}"));
            let options: Vec<&str> = line.split(' ').nth(3).unwrap().split(',').collect();
            for option in wanted {
                assert!(options.contains(option), "{target} is not {option}: {line}");
            }
        }
        for masked in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
            if !std::path::Path::new(masked).exists() {
                continue;
            }
            assert!(
                mounts.contains(&format!(" {masked} ")),
                "{masked} is not masked: {mounts}"
            );
        }
    }

    #[test]
    fn kernel_parameters_of_its_network() {
        let coracle = both();
        let parameters =
            "cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range | tr '\\t' ' '";
        assert_eq!(sh(&coracle, parameters), "0\n0 2147483647\n");
    }
}

/// Where we are stricter than Docker is by default. Each line of the table in docs/isolation.md is here or beside the
/// feature itself.
#[test]
fn stricter_than_docker() {
    let coracle = crate::sandbox();
    let sh = |script: &str| coracle.run(["run", "--rm", "busybox", "sh", "-c", script]);
    // A limit of processes, where Docker has none.
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    let pids = "for d in /sys/fs/cgroup/pids /sys/fs/cgroup; do [ -e $d/pids.max ] && cat $d/pids.max && break; done";
    let limit = coracle.run(["exec", "it", "sh", "-c", pids]).ok();
    assert!(
        limit.trim().parse::<u32>().is_ok(),
        "the limit of processes is {limit}"
    );
    // What Docker of today masks, on whatever kernel.
    let masked = sh(
        "for p in /proc/interrupts /proc/acpi /proc/scsi /proc/asound /sys/firmware; do \
        [ -e $p ] && grep -c \" $p \" /proc/self/mounts; done; true",
    )
    .ok();
    assert!(masked.lines().all(|count| count == "1"), "{masked}");
    // The session keyring is its own, and has nothing of ours.
    assert_eq!(sh("cat /proc/keys | wc -l").ok(), "0\n");
}
