//! Each container has a scope of systemd's.

use crate::{cgroup, eventually, host, pid, start, unified, wait};
use std::path::{Path, PathBuf};
use std::process::Command;

fn property(unit: &str, name: &str) -> String {
    host("systemctl", &["show", "--value", "-p", name, unit])
}

fn is_gone(unit: &str) -> bool {
    property(unit, "LoadState") == "not-found"
        && !Path::new("/sys/fs/cgroup/system.slice").join(unit).exists()
}

/// The monitor of the container whose first process has this pid.
fn monitor(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().to_owned()
}

#[test]
fn smoke_a_container_has_a_scope_while_it_runs() {
    let sandbox = unified();
    let info = sandbox.run(["info"]).ok();
    assert!(
        info.contains("Cgroup Driver: systemd") && info.contains("Cgroup Version: 2"),
        "{info}"
    );
    let id = start(&sandbox, &["-m", "64m"]);
    let unit = format!("coracle-{id}.scope");
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Delegate"), "yes");
    assert_eq!(property(&unit, "TasksMax"), "infinity");
    let scope = PathBuf::from("system.slice").join(&unit);
    let first = pid(&sandbox, &id);
    assert_eq!(cgroup(&first), scope.join("container"));
    assert_eq!(cgroup(&monitor(&first)), scope.join("monitor"));

    // What is run in it later is there too.
    sandbox.run(["exec", "-d", &id, "sleep", "2000"]).ok();
    eventually("the second process is in the container's cgroup", || {
        let file = Path::new("/sys/fs/cgroup")
            .join(&scope)
            .join("container/cgroup.procs");
        std::fs::read_to_string(file).unwrap().lines().count() == 2
    });
    sandbox.run(["stop", "-t", "0", &id]).ok();
    eventually("the scope goes", || is_gone(&unit));
    assert_eq!(
        host(
            "systemctl",
            &["--failed", "--quiet", "--plain", "list-units", "coracle-*"]
        ),
        ""
    );
}

#[test]
fn a_container_can_be_started_again_at_once() {
    let sandbox = unified();
    let id = sandbox.run(["create", "busybox", "true"]).ok();
    for _ in 0..10 {
        sandbox.run(["start", "-a", id.trim()]).ok();
    }
    let id = start(&sandbox, &["--name", "again"]);
    for _ in 0..3 {
        sandbox.run(["restart", "-t", "0", &id]).ok();
    }
    assert_eq!(property(&format!("coracle-{id}.scope"), "ActiveState"), "active");
}

#[test]
fn the_parent_is_a_slice() {
    let sandbox = unified();
    let id = start(&sandbox, &["--cgroup-parent", "tests-inner.slice"]);
    let expected = format!("tests.slice/tests-inner.slice/coracle-{id}.scope/container");
    assert_eq!(cgroup(&pid(&sandbox, &id)), PathBuf::from(expected));
    let refused = sandbox
        .run(["run", "--cgroup-parent", "/tests", "busybox", "true"])
        .fails(125);
    assert!(refused.contains("should be a valid slice"), "{refused}");
    assert_eq!(
        sandbox.run(["ps", "-aq"]).ok().lines().count(),
        1,
        "nothing is left of it"
    );
    sandbox.run(["rm", "-f", &id]).ok();
    // systemd keeps a slice that it has made until somebody stops it.
    host("systemctl", &["stop", "tests.slice"]);
    eventually("the slice goes", || {
        !Path::new("/sys/fs/cgroup/tests.slice").exists()
    });
}

#[test]
fn a_killed_monitor_leaves_no_scope() {
    let sandbox = unified();
    let id = start(&sandbox, &[]);
    let unit = format!("coracle-{id}.scope");
    host("kill", &["-9", &monitor(&pid(&sandbox, &id))]);
    eventually("the scope goes", || is_gone(&unit));
    let status = sandbox.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(status.starts_with("Exited (137)"), "{status}");
    // And again, under the same name.
    sandbox.run(["start", &id]).ok();
    assert_eq!(property(&unit, "ActiveState"), "active");
}

#[test]
fn a_reload_of_systemd_changes_nothing() {
    let sandbox = unified();
    let id = start(&sandbox, &["-m", "64m", "--pids-limit", "77"]);
    let place = cgroup(&pid(&sandbox, &id));
    for action in ["daemon-reload", "daemon-reexec"] {
        host("systemctl", &[action]);
        host(
            "systemctl",
            &["set-property", "--runtime", "system.slice", "MemoryMax=infinity"],
        );
        assert_eq!(cgroup(&pid(&sandbox, &id)), place, "after {action}");
        let limits = [
            "exec",
            &id,
            "cat",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/pids.max",
        ];
        assert_eq!(sandbox.run(limits).ok(), "67108864\n77\n", "after {action}");
    }
}

#[test]
fn systemd_can_stop_it() {
    let sandbox = unified();
    let id = start(&sandbox, &["--init"]);
    let unit = format!("coracle-{id}.scope");
    host("systemctl", &["stop", &unit]);
    eventually("the container is known to have ended", || {
        let status = sandbox.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
        status.starts_with("Exited (")
    });
    eventually("the scope goes", || is_gone(&unit));
}

#[test]
fn a_container_outlives_the_unit_that_started_it() {
    let sandbox = unified();
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--wait", "--collect", "--pipe"]);
    let inner = sandbox.command(["run", "-d", "--name", "survivor", "busybox", "sleep", "1000"]);
    for (name, value) in inner.get_envs() {
        let value = value.unwrap_or_default().to_str().unwrap();
        run.arg(format!("--setenv={}={value}", name.to_str().unwrap()));
    }
    run.arg(inner.get_program()).args(inner.get_args());
    let output = run.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let status = sandbox.run(["ps", "--format", "{{.Names}} {{.Status}}"]).ok();
    assert!(status.starts_with("survivor Up"), "{status}");
}

#[test]
fn the_service_for_reboots_starts_and_stops_containers_in_scopes() {
    let sandbox = unified();
    let run = [
        "run",
        "-d",
        "--restart",
        "always",
        "--name",
        "kept",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.run(run).ok();
    let status = || sandbox.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    sandbox.run(["system", "install"]).ok();
    host("systemctl", &["stop", "coracle.service"]);
    eventually("it is stopped", || status().starts_with("Exited"));
    host("systemctl", &["start", "coracle.service"]);
    eventually("it runs again", || status().starts_with("Up"));
    let first = pid(&sandbox, "kept");
    assert!(
        cgroup(&first).starts_with("system.slice"),
        "{}",
        cgroup(&first).display()
    );
    assert!(
        cgroup(&first).ends_with("container"),
        "{}",
        cgroup(&first).display()
    );
    sandbox.run(["system", "install", "--remove"]).ok();
}

#[test]
fn restarts_happen_in_the_same_scope() {
    let sandbox = unified();
    let id = sandbox
        .run([
            "run",
            "-d",
            "--restart",
            "on-failure:3",
            "busybox",
            "sh",
            "-c",
            "exit 4",
        ])
        .ok();
    let id = id.trim();
    assert_eq!(wait(&sandbox, id), "4");
    let count = sandbox.run(["inspect", "-f", "{{.RestartCount}}", id]).ok();
    assert_eq!(count.trim(), "3");
    eventually("the scope goes", || is_gone(&format!("coracle-{id}.scope")));
}
