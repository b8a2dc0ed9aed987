//! Limits: that they hold, not only that they are written.

use crate::sandbox;
use testkit::Sandbox;

fn run(engine: &Sandbox, flags: &[&str], script: &str) -> testkit::sandbox::Outcome {
    engine.run([&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

mod both {
    use super::run;
    use crate::both;

    #[test]
    fn processors_and_processes() {
        let engine = both();
        assert_eq!(
            run(
                &engine,
                &["--cpuset-cpus", "0"],
                "grep Cpus_allowed_list /proc/self/status | cut -f2"
            )
            .ok(),
            "0\n"
        );
        assert_eq!(
            run(
                &engine,
                &["--cpuset-mems", "0"],
                "grep Mems_allowed_list /proc/self/status | cut -f2"
            )
            .ok(),
            "0\n"
        );
        let outcome = run(
            &engine,
            &["--pids-limit", "5"],
            "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait",
        );
        assert!(outcome.stderr.contains("fork"), "{outcome:?}");
    }

    #[test]
    fn memory_is_not_exceeded() {
        let engine = both();
        // The shell's own buffer of the whole input is what grows.
        let outcome = run(
            &engine,
            &["-m", "16m", "--memory-swap", "16m"],
            "x=$(yes | head -c 100000000); echo survived",
        );
        assert!(!outcome.stdout.contains("survived"), "{outcome:?}");
        assert_ne!(outcome.code, 0);
        assert_eq!(run(&engine, &["-m", "64m"], "echo fine").ok(), "fine\n");
    }

    #[test]
    fn ulimits_shared_memory_and_kernel_parameters() {
        let engine = both();
        assert_eq!(
            run(
                &engine,
                &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
                "ulimit -n; ulimit -Hn; ulimit -c"
            )
            .ok(),
            "100\n200\n0\n"
        );
        assert_eq!(
            run(
                &engine,
                &["--shm-size", "4m"],
                "df -k /dev/shm | tail -1 | awk '{print $2}'"
            )
            .ok(),
            "4096\n"
        );
        assert_eq!(
            run(
                &engine,
                &[
                    "--sysctl",
                    "kernel.msgmax=9000",
                    "--sysctl",
                    "net.ipv4.ip_forward=1"
                ],
                "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward"
            )
            .ok(),
            "9000\n1\n"
        );
        assert_eq!(
            run(
                &engine,
                &["--oom-score-adj", "500"],
                "cat /proc/self/oom_score_adj"
            )
            .ok(),
            "500\n"
        );
    }

    #[test]
    fn limits_are_shown() {
        let engine = both();
        engine
            .run([
                "create",
                "--name",
                "limited",
                "-m",
                "64m",
                "--memory-reservation",
                "32m",
                "--memory-swap",
                "96m",
                "--cpus",
                "0.5",
                "--cpu-shares",
                "512",
                "--cpuset-cpus",
                "0",
                "--pids-limit",
                "50",
                "--device-read-bps",
                "/dev/null:1mb",
                "--device-write-iops",
                "/dev/null:10",
                "--stop-timeout",
                "7",
                "--annotation",
                "a=b",
                "--oom-score-adj",
                "100",
                "busybox",
                "true",
            ])
            .ok();
        let show = |format: &str| {
            engine
                .run(["inspect", "-f", format, "limited"])
                .ok()
                .trim()
                .to_owned()
        };
        assert_eq!(
            show("{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.MemorySwap}}"),
            "67108864 33554432 100663296"
        );
        assert_eq!(
            show(
                "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}} {{.HostConfig.PidsLimit}}"
            ),
            "500000000 512 0 50"
        );
        assert_eq!(
            show(
                "{{range .HostConfig.BlkioDeviceReadBps}}{{.Path}} {{.Rate}}{{end}} {{range .HostConfig.BlkioDeviceWriteIOps}}{{.Path}} {{.Rate}}{{end}}"
            ),
            "/dev/null 1048576 /dev/null 10"
        );
        assert_eq!(
            show("{{.Config.StopTimeout}} {{.HostConfig.OomScoreAdj}}"),
            "7 100"
        );
        engine.run(["rm", "limited"]).ok();
    }

    #[test]
    fn wrong_limits_in_dockers_words() {
        let engine = both();
        for (flags, message) in [
            (&["-m", "1m"][..], "Minimum memory limit allowed is 6MB"),
            (
                &["-m", "64m", "--memory-swap", "32m"],
                "Minimum memoryswap limit should be larger than memory limit",
            ),
            (
                &["--memory-swap", "64m"],
                "You should always set the Memory limit when using Memoryswap limit",
            ),
            (
                &["--memory-swappiness", "101"],
                "Valid memory swappiness range is 0-100",
            ),
            (
                &["--cpus", "1", "--cpu-period", "10000"],
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (&["--cpus", "1000"], "Range of CPUs is from 0.01 to"),
            (
                &["--blkio-weight", "5"],
                "Range of blkio weight is from 10 to 1000",
            ),
            (
                &["--blkio-weight-device", "/dev/null:5"],
                "invalid weight for device: /dev/null:5",
            ),
            (&["--device-read-bps", "x"], "bad format: x"),
            (
                &["--device-read-iops", "/dev/null:x"],
                "invalid rate for device: /dev/null:x",
            ),
            (&["--ulimit", "x=1"], "invalid ulimit type: x"),
            (
                &["--oom-score-adj", "2000"],
                "range for oom score adj is [-1000, 1000]",
            ),
            (&["--sysctl", "kernel.panic=1"], "is not allowed"),
            (&["--shm-size", "x"], "invalid size: 'x'"),
        ] {
            let error = run(&engine, flags, "true").fails(125);
            assert!(error.contains(message), "{flags:?}: {error}");
        }
    }
}

/// A block device of our own: a file behind a loop device, detached when dropped.
struct Loop {
    device: String,
}

impl Loop {
    fn new(engine: &Sandbox) -> Self {
        let file = engine.path().join("disk");
        std::fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        let output = std::process::Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Self {
            device: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = std::process::Command::new("losetup")
            .args(["--detach", &self.device])
            .status();
        assert!(detached.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_rate_of_a_device_holds() {
    let engine = sandbox();
    let disk = Loop::new(&engine);
    let (device, rate) = (
        format!("--device={}:/dev/disk", disk.device),
        format!("{}:1mb", disk.device),
    );
    let seconds = |flags: &[&str], script: &str| {
        let words = [&["run", "--rm", &device], flags, &["busybox", "sh", "-c", script]].concat();
        let begun = std::time::Instant::now();
        engine.run(words).ok();
        begun.elapsed().as_secs_f64()
    };
    // Past the page cache, or nothing of it would be seen. 3 MiB at 1 MiB a second last two seconds at the least.
    let write = "dd if=/dev/zero of=/dev/disk bs=64k count=48 oflag=direct 2>/dev/null || dd if=/dev/zero of=/dev/disk bs=64k count=48 conv=fsync";
    assert!(seconds(&["--device-write-bps", &rate], write) > 1.9);
    let shown = engine.run([
        "run", "--rm", "--device-read-bps", &rate, "--device-read-iops", &format!("{}:5", disk.device), "busybox",
        "sh", "-c",
        "cat /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device /sys/fs/cgroup/blkio/blkio.throttle.read_iops_device /sys/fs/cgroup/io.max 2>/dev/null",
    ]);
    assert!(
        shown.stdout.contains("1048576") && shown.stdout.contains('5'),
        "{shown:?}"
    );
}

#[test]
fn weights_reach_the_kernel_or_are_warned_about() {
    let engine = sandbox();
    let outcome = run(
        &engine,
        &["--blkio-weight", "200"],
        "cat /sys/fs/cgroup/blkio/blkio.bfq.weight /sys/fs/cgroup/blkio/blkio.weight /sys/fs/cgroup/io.bfq.weight 2>/dev/null",
    );
    assert!(
        outcome.stdout.contains("200") || outcome.stderr.contains("does not support Block I/O weight"),
        "{outcome:?}"
    );
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let engine = sandbox();
    let error = run(&engine, &["--device-read-bps", "/dev/nosuch:1mb"], "true").fails(125);
    assert!(
        error.contains("stat /dev/nosuch: no such file or directory"),
        "{error}"
    );
    let error = run(&engine, &["--device-read-bps", "/dev/null:1mb"], "true").fails(125);
    assert!(error.contains("'/dev/null' is not a block device"), "{error}");
}

#[test]
fn what_we_have_no_right_to_is_said() {
    let engine = sandbox();
    let may = rustix::thread::capabilities(None)
        .unwrap()
        .effective
        .contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    let outcome = run(
        &engine,
        &["--oom-score-adj", "-500"],
        "cat /proc/self/oom_score_adj",
    );
    if may {
        assert_eq!(outcome.ok(), "-500\n");
    } else {
        assert!(outcome.stderr.contains("CAP_SYS_RESOURCE"), "{outcome:?}");
    }
}

#[test]
fn names_of_what_there_is_one_of() {
    let engine = sandbox();
    for flags in [
        &["--runtime", "runc"][..],
        &["--runtime", "io.containerd.runc.v2"],
        &["--isolation", "default"],
        &["--volume-driver", "local", "-v", "/data"],
    ] {
        run(&engine, flags, "true").ok();
    }
    for (flags, message) in [
        (
            &["--runtime", "kata"][..],
            "unknown or invalid runtime name: kata",
        ),
        (
            &["--isolation", "hyperv"],
            "Invalid isolation: \"hyperv\" - linux only supports 'default'",
        ),
        (
            &["--storage-opt", "size=1g"],
            "--storage-opt is supported only for",
        ),
        (&["--storage-opt", "size"], "invalid storage option"),
        (&["--cpu-count", "1"], "is for Windows containers"),
        (
            &["--volume-driver", "nfs", "-v", "/data"],
            "error looking up volume plugin nfs",
        ),
        (&["--mac-address", "x"], "x is not a valid mac address"),
    ] {
        let error = run(&engine, flags, "true").fails(125);
        assert!(error.contains(message), "{flags:?}: {error}");
    }
    let address = "92:d0:c6:0a:29:33";
    assert_eq!(
        run(
            &engine,
            &["--mac-address", address],
            "cat /sys/class/net/eth0/address"
        )
        .ok()
        .trim(),
        address
    );
    let outcome = run(&engine, &["--kernel-memory", "64m"], "echo fine");
    assert!(outcome.stderr.contains("--kernel-memory"), "{outcome:?}");
    assert_eq!(outcome.ok(), "fine\n");
}
