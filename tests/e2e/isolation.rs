//! What a container may see and do: Docker's defaults, none weaker.

use crate::sandbox;

#[test]
fn rights_and_namespaces_are_the_defaults() {
    let coracle = sandbox();
    let sh = |script: &str| coracle.run(["run", "--rm", "busybox", "sh", "-c", script]).ok();
    let status = sh("grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status");
    let words: Vec<_> = status.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "CapInh:",
            "0000000000000000",
            "CapPrm:",
            "00000000a80425fb",
            "CapEff:",
            "00000000a80425fb",
            "CapBnd:",
            "00000000a80425fb",
            "CapAmb:",
            "0000000000000000",
            "NoNewPrivs:",
            "0",
            "Seccomp:",
            "2"
        ]
    );
    assert_eq!(sh("echo $$"), "1\n");
    assert_eq!(sh("ls /proc/self/fd"), "0\n1\n2\n3\n", "3 is ls's own");
    let links = sh("for n in pid mnt net ipc uts; do readlink /proc/self/ns/$n; done");
    for (name, link) in ["pid", "mnt", "net", "ipc", "uts"].iter().zip(links.lines()) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), link, "{name}");
    }
}

#[test]
fn masked_and_read_only_paths() {
    let coracle = sandbox();
    let sh = |script: &str| coracle.run(["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!(
        sh("head -c 1 /proc/kcore | wc -c; head -c 1 /proc/keys | wc -c; ls /sys/firmware | wc -l").ok(),
        "0\n0\n0\n"
    );
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/sys/kernel/mm/ksm/run",
    ] {
        let outcome = sh(&format!("echo x > {path}"));
        assert_ne!(outcome.code, 0, "{path} was written");
    }
    assert_ne!(sh("mount -t tmpfs none /tmp").code, 0);
    assert_ne!(sh("mknod /tmp/sda b 8 0 && cat /tmp/sda").code, 0);
    // Its own nodes can be used.
    assert_eq!(sh("head -c 3 /dev/zero | wc -c; echo x > /dev/null").ok(), "3\n");
}

#[test]
fn mounts_have_their_options() {
    let coracle = sandbox();
    let mounts = coracle
        .run(["run", "--rm", "busybox", "cat", "/proc/mounts"])
        .ok();
    let options = |target: &str| {
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(target));
        line.unwrap_or_else(|| panic!("{target} is not mounted: {mounts}"))
            .split(' ')
            .nth(3)
            .unwrap()
            .to_owned()
    };
    for (target, wanted) in [
        ("/proc", &["nosuid", "nodev", "noexec"][..]),
        ("/dev", &["nosuid", "size=65536k", "mode=755"]),
        (
            "/dev/pts",
            &["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"],
        ),
        ("/dev/shm", &["nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", &["nosuid", "nodev", "noexec"]),
        ("/sys", &["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let found = options(target);
        for option in wanted {
            assert!(found.split(',').any(|word| word == *option), "{target}: {found}");
        }
    }
}

#[test]
fn privileges_can_be_given_and_taken() {
    let coracle = sandbox();
    let caps = |flags: &[&str]| {
        let line = [
            "busybox",
            "sh",
            "-c",
            "grep CapBnd /proc/self/status | cut -f2; grep Seccomp: /proc/self/status | cut -f2; grep NoNew /proc/self/status | cut -f2",
        ];
        coracle.run([&["run", "--rm"], flags, &line[..]].concat()).ok()
    };
    assert_eq!(caps(&["--cap-drop", "ALL"]), "0000000000000000\n2\n0\n");
    assert_eq!(
        caps(&["--cap-drop", "all", "--cap-add", "NET_ADMIN"]),
        "0000000000001000\n2\n0\n"
    );
    assert_eq!(
        caps(&[
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "no-new-privileges"
        ]),
        "00000000a80425fb\n0\n1\n"
    );
    let privileged = caps(&["--privileged"]);
    assert!(
        privileged.contains("\n0\n0\n") && !privileged.starts_with("00000000a80425fb"),
        "{privileged}"
    );
}

#[test]
fn our_own_program_cannot_be_written_from_inside() {
    let coracle = sandbox();
    let program = env!("CARGO_BIN_EXE_coracle");
    let before = std::fs::metadata(program).unwrap();
    // CVE-2019-5736: the entry point is the engine itself; somebody else tries to write through /proc/PID/exe.
    coracle.run(["run", "--rm", "busybox", "/proc/self/exe", "--version"]);
    let script = "for i in $(seq 200); do for p in /proc/[0-9]*/exe; do (echo x > $p) 2>/dev/null && echo written; done; done";
    coracle
        .run(["run", "-d", "--name", "attacker", "busybox", "sh", "-c", script])
        .ok();
    for _ in 0..10 {
        coracle.run(["exec", "attacker", "/proc/self/exe"]);
        coracle.run(["exec", "attacker", "true"]);
    }
    assert!(!coracle.run(["logs", "attacker"]).ok().contains("written"));
    coracle.run(["rm", "-f", "attacker"]).ok();
    let after = std::fs::metadata(program).unwrap();
    assert_eq!(
        (before.len(), before.modified().unwrap()),
        (after.len(), after.modified().unwrap())
    );
}
