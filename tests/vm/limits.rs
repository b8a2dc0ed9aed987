//! Limits, by what they do and not only by what the files say.

use crate::{eventually, pid, sandbox, start, unified, wait};
use std::fs;

/// What a shell in a fresh container prints.
fn shell(options: &[&str], script: &str) -> String {
    let sandbox = sandbox();
    let arguments = ["run", "--rm"]
        .iter()
        .chain(options)
        .chain(&["busybox", "sh", "-c"]);
    sandbox.run(arguments.copied().chain([script])).ok()
}

#[test]
fn smoke_memory_is_limited_and_who_takes_more_is_killed() {
    let sandbox = sandbox();
    let run = [
        "run",
        "-d",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "tail",
        "/dev/zero",
    ];
    let id = sandbox.run(run).ok();
    let id = id.trim();
    assert_eq!(wait(&sandbox, id), "137");
    let killed = sandbox.run(["inspect", "-f", "{{.State.OOMKilled}}", id]).ok();
    assert_eq!(killed.trim(), "true");
}

#[test]
fn files_of_version_2_have_what_was_asked_for() {
    drop(unified());
    let options = [
        "-m",
        "64m",
        "--memory-swap",
        "96m",
        "--memory-reservation",
        "32m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "1",
        "--pids-limit",
        "50",
    ];
    let files = "memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus.effective pids.max";
    let values = shell(
        &options,
        &format!("cd /sys/fs/cgroup; cat {files}; grep Cpus_allowed_list /proc/self/status"),
    );
    let expected = "67108864\n33554432\n33554432\n50000 100000\n59\n1\n50\nCpus_allowed_list:\t1\n";
    assert_eq!(values, expected);
}

#[test]
fn the_processor_is_taken_away_in_time() {
    drop(unified());
    let script = "timeout 3 sh -c 'while :; do :; done'; grep nr_throttled /sys/fs/cgroup/cpu.stat";
    let text = shell(&["--cpus", "0.1"], script);
    let count = text.trim().strip_prefix("nr_throttled ").unwrap();
    assert!(count.parse::<u32>().unwrap() > 5, "{text}");
}

#[test]
fn smoke_there_are_no_more_processes_than_allowed() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done 2>&1; echo here";
    let sandbox = sandbox();
    let arguments = ["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script];
    let outcome = sandbox.run(arguments);
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(text.contains("can't fork"), "{text}");
}

#[test]
fn smoke_devices_are_refused_unless_given() {
    let sandbox = sandbox();
    let make = "mknod /tmp/disk b 254 0 && dd if=/tmp/disk of=/dev/null bs=512 count=1 2>&1";
    let refused = sandbox.run(["run", "--rm", "busybox", "sh", "-c", make]);
    assert_ne!(refused.code, 0);
    assert!(refused.stdout.contains("not permitted"), "{}", refused.stdout);
    sandbox
        .run(["run", "--rm", "--privileged", "busybox", "sh", "-c", make])
        .ok();

    let read = "dd if=/dev/disk of=/dev/null bs=512 count=1 2>/dev/null && echo read; exec 3>/dev/disk";
    let given = sandbox.run([
        "run",
        "--rm",
        "--device",
        "/dev/vda:/dev/disk:r",
        "busybox",
        "sh",
        "-c",
        read,
    ]);
    assert_eq!(given.stdout, "read\n", "{}", given.stderr);
    assert!(given.stderr.contains("not permitted"), "{}", given.stderr);

    let usual =
        "echo x >/dev/null; head -c 8 /dev/urandom | wc -c; head -c 2 /dev/zero | wc -c; echo x >/dev/full";
    let usual = sandbox.run(["run", "--rm", "busybox", "sh", "-c", usual]);
    assert_eq!(usual.stdout, "8\n2\n", "{}", usual.stderr);
    assert!(usual.stderr.contains("No space left"), "{}", usual.stderr);
}

#[test]
fn smoke_a_paused_container_stands_still() {
    let sandbox = sandbox();
    let script = "while :; do echo tick; sleep 0.1; done";
    let id = sandbox.run(["run", "-d", "busybox", "sh", "-c", script]).ok();
    let id = id.trim();
    let ticks = || sandbox.run(["logs", id]).ok().lines().count();
    eventually("it ticks", || ticks() > 2);
    sandbox.run(["pause", id]).ok();
    let status = sandbox.run(["ps", "--format", "{{.Status}}"]).ok();
    assert!(status.contains("(Paused)"), "{status}");
    // What was in the pipe may still arrive.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let then = ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ticks(), then);
    sandbox.run(["unpause", id]).ok();
    eventually("it goes on", || ticks() > then + 2);
    sandbox.run(["pause", id]).ok();
    sandbox.run(["kill", id]).ok();
    sandbox.run(["unpause", id]);
    assert_eq!(wait(&sandbox, id), "137");
}

#[test]
fn smoke_the_view_from_inside_is_its_own_and_read_only() {
    let sandbox = unified();
    let script = "cat /proc/self/cgroup; grep ' /sys/fs/cgroup ' /proc/self/mountinfo | cut -d ' ' -f 4-6; \
                  mkdir /sys/fs/cgroup/x 2>&1; echo max 2>&1 >/sys/fs/cgroup/memory.max; \
                  cat /sys/fs/cgroup/cgroup.procs | head -1";
    let text = sandbox.run(["run", "--rm", "busybox", "sh", "-c", script]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0::/");
    assert!(
        lines[1].starts_with("/ /sys/fs/cgroup ro,nosuid,nodev,noexec"),
        "{text}"
    );
    assert!(lines[2].contains("Read-only file system"), "{text}");
    assert!(text.contains("can't create /sys/fs/cgroup/memory.max"), "{text}");
    assert_eq!(lines.last(), Some(&"1"), "{text}");
}

#[test]
fn everything_in_the_cgroup_dies() {
    let sandbox = unified();
    // In the host's pid namespace no namespace's end kills what the first process leaves.
    let id = start(&sandbox, &["--pid", "host"]);
    sandbox
        .run(["exec", "-d", &id, "sh", "-c", "sleep 3000 & sleep 3000"])
        .ok();
    let first = pid(&sandbox, &id);
    let procs = format!("/sys/fs/cgroup/{}/cgroup.procs", crate::cgroup(&first).display());
    eventually("all are there", || {
        fs::read_to_string(&procs).unwrap().lines().count() >= 3
    });
    sandbox.run(["kill", &id]).ok();
    assert_eq!(wait(&sandbox, &id), "137");
    eventually("all are gone", || fs::read_to_string(&procs).is_err());
}

#[test]
fn a_fork_bomb_ends_with_its_container() {
    let sandbox = sandbox();
    let bomb = [
        "run",
        "-d",
        "--pids-limit",
        "200",
        "busybox",
        "sh",
        "-c",
        "b() { b | b & }; while :; do b; done",
    ];
    let id = sandbox.run(bomb).ok();
    std::thread::sleep(std::time::Duration::from_secs(3));
    sandbox.run(["kill", id.trim()]).ok();
    assert_eq!(wait(&sandbox, id.trim()), "137");
}
