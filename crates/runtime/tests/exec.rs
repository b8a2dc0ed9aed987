//! Further processes in a running container. All need root.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "the whole file is tests"
)]

mod fixture;

use fixture::Container;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn privileged_exec_joins_everything() {
    let container = Container::new(&["/bin/sleep", "600"]);
    let running = container.start();
    let script = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; hostname; \
        grep -E '^(CapInh|CapEff|CapBnd|CapAmb)' /proc/self/status | tr -d '\\t'; echo /proc/self/fd/*; \
        grep pids: /proc/self/cgroup; ps | grep -c 'sleep 600'; exit 9";
    let outcome = container.exec(
        &container.exec_plan(&running, &["/bin/sh", "-c", script]),
        "files",
    );
    let seen = lines(&outcome.stdout);
    for (kind, theirs) in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
        .iter()
        .zip(&seen)
    {
        let first = std::fs::read_link(format!("/proc/{}/ns/{kind}", running.pid)).unwrap();
        assert_eq!(first.to_str().unwrap(), *theirs);
    }
    assert_eq!(
        seen[7..12],
        [
            "box",
            "CapInh:0000000000000000",
            "CapEff:00000000a80425fb",
            "CapBnd:00000000a80425fb",
            "CapAmb:0000000000000000"
        ]
    );
    assert!(
        seen[12].starts_with("/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2") && seen[12].len() < 64,
        "{seen:?}"
    );
    assert!(
        seen[13].ends_with(&format!(":pids:{}", container.cgroup)),
        "{seen:?}"
    );
    assert_eq!(outcome.code(), 9);
}

#[test]
fn privileged_exec_has_user_directory_and_terminal() {
    let container = Container::new(&["/bin/sleep", "600"]);
    let running = container.start();
    let mut plan = container.exec_plan(
        &running,
        &["/bin/sh", "-c", "id -u; id -G; pwd; echo $HOME; tty; stty size"],
    );
    plan["user"] = json!("alice");
    plan["process"]["cwd"] = json!("/tmp");
    let outcome = container.exec(&plan, "terminal");
    let seen: Vec<&str> = outcome.stdout.split("\r\n").collect();
    assert_eq!(
        seen,
        ["1000", "100 10", "/tmp", "/home/alice", "/dev/pts/0", "30 90", ""]
    );
}

#[test]
fn privileged_exec_reports_what_it_cannot() {
    let container = Container::new(&["/bin/sleep", "600"]);
    let running = container.start();
    let outcome = container.exec(&container.exec_plan(&running, &["nosuch"]), "files");
    assert_eq!(
        (outcome.failure(), outcome.error()),
        (
            "CommandNotFound",
            "exec: \"nosuch\": executable file not found in $PATH"
        )
    );
    let mut plan = container.exec_plan(&running, &["true"]);
    plan["container_start_time"] = json!(running.start_time + 1);
    assert_eq!(
        container.exec(&plan, "files").error(),
        "the container is not running"
    );
    let plan = container.exec_plan(&running, &["true"]);
    running.signal("KILL");
    assert_eq!(
        container.exec(&plan, "files").error(),
        "the container is not running"
    );
}

#[test]
fn privileged_exec_into_a_user_namespace_with_init() {
    let container = Container::new(&["/bin/sleep", "600"])
        .init()
        .set("/linux/namespaces", json!([{"type": "user"}, {"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}]))
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]));
    for path in [container.directory.path().to_owned(), container.root()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["proc", "sys", "dev"] {
        std::fs::create_dir(container.root().join(name)).unwrap();
    }
    let running = container.start();
    let mut plan = container.exec_plan(
        &running,
        &["/bin/sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map; tty"],
    );
    plan["user_namespace"] = json!(true);
    let outcome = container.exec(&plan, "terminal");
    let seen: Vec<&str> = outcome.stdout.split("\r\n").collect();
    assert_eq!(seen, ["0", " 0 100000 65536", "/dev/pts/0", ""], "{outcome:?}");
}
