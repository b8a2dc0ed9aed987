//! What of the engine can be reached from outside of it: sockets, its directories, its memory; and what an image says.

use super::image_with_config;
use crate::sandbox;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

/// containerd CVE-2020-15257: an abstract socket belongs to a network namespace, and with the host's network that is the
/// container's too.
#[test]
fn no_abstract_socket_is_reachable_from_the_hosts_network() {
    let coracle = sandbox();
    let abstract_sockets = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_whitespace().nth(7));
        lines
            .filter(|name| name.starts_with('@'))
            .map(str::to_owned)
            .collect()
    };
    let before = abstract_sockets(&fs::read_to_string("/proc/net/unix").unwrap());
    let words = [
        "run",
        "-d",
        "--net=host",
        "--name",
        "it",
        "busybox",
        "sleep",
        "100",
    ];
    coracle.run(words).ok();
    let seen = coracle.run(["exec", "it", "cat", "/proc/net/unix"]).ok();
    let new: Vec<_> = abstract_sockets(&seen)
        .into_iter()
        .filter(|name| !before.contains(name))
        .filter(|name| name.contains("coracle") || name.contains("monitor"))
        .collect();
    assert!(new.is_empty(), "{new:?}");
    // Our sockets are files, and nobody else gets to them.
    let mut sockets = Vec::new();
    find(&coracle.path().join("run"), &mut |path, about| {
        if about.file_type().is_dir() {
            assert_eq!(about.mode() & 0o077, 0, "{} is open to others", path.display());
        } else {
            sockets.push(path.to_owned());
        }
    });
    assert!(!sockets.is_empty());
}

fn find(directory: &std::path::Path, each: &mut dyn FnMut(&std::path::Path, &fs::Metadata)) {
    each(directory, &fs::metadata(directory).unwrap());
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let about = fs::symlink_metadata(entry.path()).unwrap();
        if about.is_dir() {
            find(&entry.path(), each);
        } else {
            each(&entry.path(), &about);
        }
    }
}

/// moby CVE-2021-41091, containerd CVE-2021-41103: another user of the host executes a setuid program in a layer.
#[test]
fn other_users_of_the_host_see_nothing_of_the_data() {
    let coracle = sandbox();
    super::image(&coracle, "setuid", &[], |root| {
        let path = root.join("raise");
        fs::copy(root.join("bin/busybox"), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    });
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-v=data:/data",
            "setuid",
            "sleep",
            "100",
        ])
        .ok();
    // The test's own directory is closed as well, which would hide the answer.
    fs::set_permissions(coracle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = coracle.path().join("root");
    let mut found = Vec::new();
    find(&root, &mut |path, about| {
        if about.mode() & 0o4000 != 0 && path.file_name().is_some_and(|name| name == "raise") {
            found.push(path.to_owned());
        }
    });
    assert!(!found.is_empty(), "there is no setuid program to try");
    let as_nobody = |words: &[&str]| {
        let identity = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let output = Command::new("setpriv")
            .args(identity)
            .args(words)
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(
        as_nobody(&["ls", coracle.path().to_str().unwrap()]),
        "the control fails"
    );
    for path in found {
        assert!(
            !as_nobody(&["stat", path.to_str().unwrap()]),
            "{} can be seen",
            path.display()
        );
    }
    for directory in [root, coracle.path().join("run")] {
        assert!(
            !as_nobody(&["ls", directory.to_str().unwrap()]),
            "{} can be listed",
            directory.display()
        );
    }
}

/// containerd CVE-2022-31030, CVE-2022-23471, CVE-2025-64329: what a container writes, and clients that go away, do not
/// fill the memory of the process that watches it.
#[test]
fn output_does_not_fill_the_monitors_memory() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    let pid = coracle.run(["inspect", "-f", "{{.State.Pid}}", "it"]).ok();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let monitor = field(&status, "PPid:");
    let memory = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{monitor}/status")).unwrap();
        field(&status, "VmHWM:").parse().unwrap()
    };
    let descriptors = || fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    let before = memory();
    let flood = "yes flood | head -c 100000000; yes flood | head -c 100000000 >&2";
    let mut exec = coracle.command(["exec", "it", "sh", "-c", flood]);
    let status = exec
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    // By now the monitor has opened what it opens late.
    let open = descriptors();
    // Somebody who does not read: the process waits, or the client loses its place.
    coracle
        .run(["run", "-d", "--name", "flood", "busybox", "yes"])
        .ok();
    let silent: Vec<_> = [
        &["exec", "it", "yes"][..],
        &["attach", "flood"],
        &["run", "--rm", "busybox", "yes"],
    ]
    .iter()
    .map(|words| coracle.start(words.iter()))
    .collect();
    for _ in 0..15 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let largest = largest_process(&coracle);
        assert!(largest < 40_000, "a process of ours has {largest} kB");
    }
    for mut client in silent {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    // And many who go away.
    for _ in 0..20 {
        let mut silent = coracle.start(["exec", "it", "sh", "-c", "head -c 1000000 /dev/zero"]);
        std::thread::sleep(std::time::Duration::from_millis(30));
        silent.kill().unwrap();
        silent.wait().unwrap();
        let mut attached = coracle.start(["attach", "it"]);
        std::thread::sleep(std::time::Duration::from_millis(10));
        attached.kill().unwrap();
        attached.wait().unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while descriptors() > open {
        assert!(
            std::time::Instant::now() < deadline,
            "descriptors are left: {} of {open}",
            descriptors()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = memory();
    assert!(after < before + 16 * 1024, "{before} kB became {after} kB");
}

/// The resident memory of the largest process that runs the program under test, in kB.
fn largest_process(coracle: &testkit::Sandbox) -> u64 {
    let program = fs::metadata(coracle.program()).unwrap();
    let memory = |process: fs::DirEntry| {
        let about = fs::metadata(process.path().join("exe")).ok()?;
        if (about.dev(), about.ino()) != (program.dev(), program.ino()) {
            return None;
        }
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(memory).max().unwrap_or_default()
}

/// containerd CVE-2026-53488, -53489, -53492: what an image says about itself decides nothing about the host. A container
/// of an image with every label and annotation that engines have listened to is the same as one without.
#[test]
fn labels_of_an_image_drive_nothing() {
    let coracle = sandbox();
    let keys = [
        "cdi.k8s.io/devices",
        "com.docker.compose.project",
        "com.docker.official-images.bashbrew.arch",
        "com.docker.network.bridge.host_binding_ipv4",
        "com.nvidia.volumes.needed",
        "containerd.io/gc.root",
        "containerd.io/restart.logpath",
        "containerd.io/restart.status",
        "containerd.io/snapshot.ref",
        "coracle.log-driver",
        "coracle.privileged",
        "coracle.runtime",
        "dev.coracle.devices",
        "io.containers.autoupdate",
        "io.containers.capabilities",
        "io.coracle.hooks",
        "io.kubernetes.cri.untrusted-workload",
        "io.podman.annotations.apparmor",
        "io.podman.annotations.init",
        "io.podman.annotations.privileged",
        "io.podman.annotations.seccomp",
        "module.wasm.image/variant",
        "nerdctl/log-uri",
        "org.criu.config",
        "org.opencontainers.image.ref.name",
        "org.opencontainers.image.base.name",
        "org.systemd.property.CPUQuota",
        "run.oci.handler",
        "run.oci.hooks.stderr",
        "run.oci.keep_original_groups",
        "run.oci.systemd.subgroup",
    ];
    let values = [
        "true",
        "/etc/shadow",
        "json-file",
        "privileged",
        "../../x",
        "binary:///bin/sh",
        "--privileged",
    ];
    image_with_config(&coracle, "clean", |_| {});
    let look = "cat /proc/self/mountinfo /proc/self/cgroup | wc -l; grep -E 'Cap|Seccomp|NoNew' /proc/self/status; ls /dev; env; id";
    let facts = |image: &str| {
        let create = ["create", "--name", "it", "-h=same", image, "sh", "-c", look];
        coracle.run(create).ok();
        let host = coracle
            .run(["inspect", "-f", "{{json .HostConfig}} {{json .Mounts}}", "it"])
            .ok();
        let seen = coracle.run(["start", "-a", "it"]).ok();
        coracle.run(["rm", "it"]).ok();
        (host, seen)
    };
    let expected = facts("clean");
    for (number, value) in values.iter().enumerate() {
        let name = format!("labelled{number}");
        image_with_config(&coracle, &name, |config| {
            for key in keys {
                config["config"]["Labels"][key] = serde_json::json!(value);
                config["annotations"][key] = serde_json::json!(value);
                config["config"]["Annotations"][key] = serde_json::json!(value);
            }
            // What Docker writes for a container and an image must not bring along.
            config["HostConfig"] = serde_json::json!({"Privileged": true, "Binds": ["/:/host"]});
            config["config"]["HostConfig"] = serde_json::json!({"Privileged": true});
            config["container_config"] = serde_json::json!({"Privileged": true});
            config["config"]["Privileged"] = serde_json::json!(true);
            config["config"]["Runtime"] = serde_json::json!(value);
        });
        assert_eq!(facts(&name), expected, "{value}");
    }
}
