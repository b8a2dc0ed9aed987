//! Places of mounts that lead elsewhere: links in images, and directories that another container swaps for links.

use super::{image, volume_directory};
use crate::sandbox;
use std::fs;
use std::os::unix::fs::symlink;
use testkit::attack::SECRET;
use testkit::{Canaries, Sandbox, Swapper, attack};

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: a `/proc` that is none lets the container fake what
/// the engine reads and writes there. CVE-2026-41579, CVE-2026-47766: a `/dev` that leads to a directory of the host's
/// has devices made there.
#[test]
fn proc_sys_and_dev_must_be_directories_of_the_image() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    for name in ["proc", "sys", "dev"] {
        for (number, target) in [canaries.path().to_str().unwrap(), "bad", "/tmp", "/proc"]
            .iter()
            .enumerate()
        {
            let tag = format!("{name}{number}");
            image(&coracle, &tag, &[], |root| {
                fs::create_dir(root.join("bad")).unwrap();
                symlink(target, root.join(name)).unwrap();
            });
            let refused = coracle.run(["run", "--rm", &tag, "true"]).fails(125);
            assert!(refused.contains("must be a directory"), "{refused}");
            canaries.assert_untouched(&tag);
        }
        let tag = format!("{name}-file");
        image(&coracle, &tag, &[], |root| {
            fs::write(root.join(name), "").unwrap()
        });
        coracle.run(["run", "--rm", &tag, "true"]).fails(125);
    }
}

/// The same by a volume of the image, a flag, or a link to procfs under another name.
#[test]
fn nothing_is_mounted_over_procfs_or_sysfs() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let bind = |target: &str| format!("-v={}:{target}", canaries.path().display());
    for (number, volume) in [
        "/proc",
        "/sys",
        "/proc/self/attr",
        "/x/../proc",
        "/proc/sys/kernel",
    ]
    .iter()
    .enumerate()
    {
        let tag = format!("volume{number}");
        image(&coracle, &tag, &[&format!("VOLUME {volume}")], |_| {});
        let refused = coracle.run(["run", "--rm", &tag, "true"]).fails(125);
        assert!(refused.contains("proc") || refused.contains("sysfs"), "{refused}");
        coracle
            .run(["run", "--rm", &bind(volume), "busybox", "true"])
            .fails(125);
    }
    coracle
        .run(["run", "--rm", "--tmpfs", "/proc", "busybox", "true"])
        .fails(125);
    coracle
        .run(["run", "--rm", "--tmpfs", "/proc/1", "busybox", "true"])
        .fails(125);
    coracle
        .run([
            "run",
            "--rm",
            "--mount",
            "type=tmpfs,target=/sys",
            "busybox",
            "true",
        ])
        .fails(125);
    image(&coracle, "alias", &[], |root| {
        symlink("/proc/1", root.join("one")).unwrap();
        symlink("/sys", root.join("system")).unwrap();
    });
    for target in ["/one/attr", "/system/kernel", "/one/../sys"] {
        coracle
            .run(["run", "--rm", &bind(target), "alias", "true"])
            .fails(125);
    }
    canaries.assert_untouched("a mount over procfs");
}

/// CVE-2025-52881: what is written to procfs goes to a procfs that nobody has mounted over: a sysctl arrives in the
/// kernel, not in a file of the attacker's.
#[test]
fn writes_to_procfs_arrive_in_the_kernel() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let fake = coracle.write("fake/ip_forward", "canary\n");
    let cover = format!("-v={}:/proc/sys/net/ipv4", fake.parent().unwrap().display());
    let over_file = format!("-v={}:/proc/sys/net/ipv4/ip_forward", fake.display());
    let host = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    for cover in [cover.as_str(), &over_file] {
        let words = [
            "run",
            "--rm",
            "--sysctl",
            "net.ipv4.ip_forward=1",
            cover,
            "busybox",
            "true",
        ];
        coracle.run(words).fails(125);
        assert_eq!(
            fs::read_to_string(&fake).unwrap(),
            "canary\n",
            "the sysctl went into a file"
        );
    }
    for value in ["0", "1"] {
        let sysctl = format!("net.ipv4.ip_forward={value}");
        let look = ["busybox", "cat", "/proc/sys/net/ipv4/ip_forward"];
        let seen = coracle
            .run([&["run", "--rm", "--sysctl", &sysctl], &look[..]].concat())
            .ok();
        assert_eq!(seen.trim(), value);
    }
    for sysctl in ["kernel.core_pattern=|/x", "kernel.modprobe=/x", "vm.swappiness=1"] {
        coracle
            .run(["run", "--rm", "--sysctl", sysctl, "busybox", "true"])
            .fails(125);
    }
    coracle
        .run([
            "run",
            "--rm",
            "--net=host",
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "busybox",
            "true",
        ])
        .fails(125);
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), host);
    canaries.assert_untouched("a sysctl");
}

/// A volume that an attacker shares with the containers that are started, and what it leads to.
fn shared(coracle: &Sandbox, canaries: &Canaries) -> std::path::PathBuf {
    coracle.run(["volume", "create", "shared"]).ok();
    let directory = volume_directory(coracle, "shared");
    fs::create_dir_all(directory.join("a/b")).unwrap();
    symlink(canaries.path(), directory.join("link")).unwrap();
    directory
}

/// CVE-2021-30465: the way to a mount's target is swapped for a link between the look and the mount. CVE-2024-45310:
/// directories that are missing are made at the link's end.
#[test]
fn a_swapped_mount_target_never_leads_out() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let directory = shared(&coracle, &canaries);
    let swapper = Swapper::start(directory.join("a"), directory.join("link"));
    let mounts = [
        "-v=shared:/data",
        "-v=other:/data/a/made/x",
        "-v=third:/data/a/empty",
    ];
    let look = ["busybox", "cat", "/data/a/secret", "/proc/self/mountinfo"];
    for _ in 0..attack::rounds() {
        // It may fail, for the tree is moving. If it starts, what was to be mounted is mounted in it: a mount that is
        // missing lies over something of the host's.
        let seen = coracle.run([&["run", "--rm"], &mounts[..], &look].concat());
        assert!(!seen.stdout.contains(SECRET), "the host's file was read");
        canaries.assert_untouched("a mount");
        if seen.stdout.contains(" - overlay ") {
            for name in ["other", "third"] {
                assert!(
                    seen.stdout.contains(&format!("/{name}/_data ")),
                    "{name} went elsewhere: {seen:?}"
                );
            }
        }
    }
    drop(swapper);
}

/// CVE-2024-45310, podman CVE-2026-55686: the working directory is made, and given to its user, where it is missing.
#[test]
fn a_swapped_working_directory_is_not_made_outside() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let directory = shared(&coracle, &canaries);
    let outside = canaries.path().to_owned();
    image(&coracle, "workdir", &["WORKDIR /l/made"], |root| {
        symlink(&outside, root.join("l")).unwrap()
    });
    let context = coracle.write(
        "context/Dockerfile",
        "FROM workdir\nWORKDIR /l/further\nRUN touch made\n",
    );
    let built = coracle.run(["build", "-q", context.parent().unwrap().to_str().unwrap()]);
    canaries.assert_untouched("WORKDIR of a build");
    built.ok();
    let made = coracle.run(["run", "--rm", "-u", "app", "workdir", "pwd"]);
    canaries.assert_untouched("WORKDIR behind a link");
    made.ok();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-v=shared:/data",
            "busybox",
            "sleep",
            "1000",
        ])
        .ok();
    let swapper = Swapper::start(directory.join("a"), directory.join("link"));
    for round in 0..attack::rounds() {
        let place = format!("/data/a/made{round}/x");
        coracle.run([
            "run",
            "--rm",
            "-u",
            "app",
            "-v=shared:/data",
            "-w",
            &place,
            "busybox",
            "true",
        ]);
        coracle.run(["exec", "-u", "app", "-w", &place, "it", "true"]);
        canaries.assert_untouched("a working directory");
    }
    drop(swapper);
}

/// CVE-2025-52565: the terminal is shown as `/dev/console`, in a `/dev` that an attacker shares and changes.
#[test]
fn the_console_is_the_terminal_and_nowhere_else() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let look = ["busybox", "stat", "-c", "%t", "/dev/console"];
    // 136, the major number of terminals, in hexadecimal.
    assert_eq!(
        coracle
            .run([&["run", "--rm", "-t"], &look[..]].concat())
            .ok()
            .trim(),
        "88"
    );
    coracle.run(["volume", "create", "dev"]).ok();
    let shared = volume_directory(&coracle, "dev");
    for directory in ["pts", "shm", "mqueue"] {
        fs::create_dir(shared.join(directory)).unwrap();
    }
    fs::write(shared.join("console"), "").unwrap();
    symlink(canaries.path().join("made"), shared.join("link")).unwrap();
    let swapper = Swapper::start(shared.join("console"), shared.join("link"));
    for _ in 0..attack::rounds() {
        let seen = coracle.run([&["run", "--rm", "-t", "-v=dev:/dev"], &look[..]].concat());
        // The attacker may have swapped it again by now; the link leads nowhere inside.
        let told = seen.stdout.trim();
        assert!(seen.code != 0 || told == "88" || told == "0", "{seen:?}");
        canaries.assert_untouched("the console");
    }
    drop(swapper);
    // A devpts that is none.
    coracle.run(["volume", "create", "pts"]).ok();
    let pts = volume_directory(&coracle, "pts");
    symlink(canaries.path().join("secret"), pts.join("ptmx")).unwrap();
    let refused = coracle
        .run(["run", "--rm", "-t", "-v=pts:/dev/pts", "busybox", "true"])
        .fails(125);
    assert!(refused.contains("devpts"), "{refused}");
    canaries.assert_untouched("a false ptmx");
}
