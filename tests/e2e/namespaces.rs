//! Namespaces shared with the host and with other containers: `--pid`, `--ipc`, `--uts`, `--userns`, `--cgroupns`.

use crate::sandbox;
use testkit::Sandbox;

fn own(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_str().unwrap().to_owned()
}

fn run(engine: &Sandbox, flags: &[&str], script: &str) -> String {
    let words = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
    engine.run(words).ok()
}

fn inspect(engine: &Sandbox, flags: &[&str], format: &str) -> String {
    let words = [&["create", "--name", "looked-at"], flags, &["busybox", "true"]].concat();
    engine.run(words).ok();
    let shown = engine.run(["inspect", "-f", format, "looked-at"]).ok();
    engine.run(["rm", "looked-at"]).ok();
    shown.trim().to_owned()
}

mod both {
    use super::{inspect, own, run};
    use crate::both;

    #[test]
    fn the_hosts_namespaces_can_be_shared() {
        let engine = both();
        for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts")] {
            let link = |flags: &[&str]| {
                run(&engine, flags, &format!("readlink /proc/self/ns/{kind}"))
                    .trim()
                    .to_owned()
            };
            assert_eq!(link(&[flag, "host"]), own(kind), "{flag}");
            assert_ne!(link(&[]), own(kind), "{flag}");
        }
        let name = rustix::system::uname();
        let hostname = run(&engine, &["--uts", "host"], "hostname");
        assert_eq!(hostname.trim(), name.nodename().to_str().unwrap());
    }

    #[test]
    fn a_container_without_ipc_has_no_shared_memory() {
        let engine = both();
        let there = run(
            &engine,
            &["--ipc", "none"],
            "grep ' /dev/shm ' /proc/mounts; true",
        );
        assert_eq!(there, "");
        assert_ne!(
            run(&engine, &["--ipc", "none"], "readlink /proc/self/ns/ipc").trim(),
            own("ipc")
        );
    }

    #[test]
    fn shared_memory_and_ipc_namespace_of_a_shareable_container() {
        let engine = both();
        let script = "echo mine > /dev/shm/note; readlink /proc/self/ns/ipc > /ns; exec sleep 1000";
        engine
            .run([
                "run",
                "-d",
                "--name",
                "donor",
                "--ipc",
                "shareable",
                "--shm-size",
                "8m",
                "busybox",
                "sh",
                "-c",
                script,
            ])
            .ok();
        let joined = ["--ipc", "container:donor"];
        assert_eq!(
            run(
                &engine,
                &joined,
                "cat /dev/shm/note; echo yours > /dev/shm/answer"
            ),
            "mine\n"
        );
        assert_eq!(
            engine.run(["exec", "donor", "cat", "/dev/shm/answer"]).ok(),
            "yours\n"
        );
        let there = engine.run(["exec", "donor", "cat", "/ns"]).ok();
        assert_eq!(run(&engine, &joined, "readlink /proc/self/ns/ipc"), there);
        assert!(run(&engine, &joined, "grep ' /dev/shm ' /proc/mounts").contains("size=8192k"));
        engine.run(["rm", "-f", "donor"]).ok();
    }

    #[test]
    fn a_private_ipc_namespace_and_one_of_nobody_are_not_joined() {
        let engine = both();
        engine
            .run(["run", "-d", "--name", "private", "busybox", "sleep", "1000"])
            .ok();
        let join = ["run", "--rm", "--ipc", "container:private", "busybox", "true"];
        assert!(engine.run(join).fails(125).contains("non-shareable IPC"));
        engine.run(["rm", "-f", "private"]).ok();
        engine
            .run([
                "create",
                "--name",
                "idle",
                "--ipc",
                "shareable",
                "busybox",
                "true",
            ])
            .ok();
        for flag in ["--pid", "--ipc"] {
            let outcome = engine.run(["run", "--rm", flag, "container:idle", "busybox", "true"]);
            assert!(outcome.fails(125).contains("is not running"), "{flag}");
            let outcome = engine.run(["run", "--rm", flag, "container:nobody", "busybox", "true"]);
            assert!(outcome.fails(125).contains("No such container: nobody"), "{flag}");
        }
    }

    #[test]
    fn who_joins_a_pid_namespace_sees_its_processes_and_ends_with_it() {
        let engine = both();
        engine
            .run(["run", "-d", "--name", "first", "busybox", "sleep", "12345"])
            .ok();
        let seen = run(&engine, &["--pid", "container:first"], "cat /proc/1/cmdline");
        assert_eq!(seen.replace('\0', " ").trim(), "sleep 12345");
        engine
            .run([
                "run",
                "-d",
                "--name",
                "second",
                "--pid",
                "container:first",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        engine.run(["kill", "first"]).ok();
        assert_eq!(engine.run(["wait", "second"]).ok().trim(), "137");
        engine.run(["rm", "first", "second"]).ok();
    }

    #[test]
    fn modes_are_shown() {
        let engine = both();
        let format = "{{.HostConfig.PidMode}}|{{.HostConfig.IpcMode}}|{{.HostConfig.UTSMode}}|{{.HostConfig.UsernsMode}}|{{.HostConfig.CgroupnsMode}}";
        assert_eq!(
            inspect(
                &engine,
                &[
                    "--pid",
                    "host",
                    "--ipc",
                    "shareable",
                    "--uts",
                    "host",
                    "--userns",
                    "host",
                    "--cgroupns",
                    "host"
                ],
                format
            ),
            "host|shareable|host|host|host"
        );
        assert_eq!(
            inspect(&engine, &["--cgroupns", "private"], format),
            "|private|||private"
        );
    }

    #[test]
    fn the_view_of_the_cgroups() {
        let engine = both();
        let view = |mode: &str| {
            run(
                &engine,
                &["--cgroupns", mode],
                "cut -d: -f3 /proc/self/cgroup | sort -u",
            )
        };
        assert_eq!(view("private"), "/\n");
        assert_ne!(view("host"), "/\n");
    }

    #[test]
    fn wrong_modes_and_what_excludes_each_other() {
        let engine = both();
        for (flags, message) in [
            (&["--pid", "x"][..], "--pid: invalid PID mode"),
            (&["--uts", "x"], "--uts: invalid UTS mode"),
            (&["--userns", "x"], "--userns: invalid USER mode"),
            (&["--cgroupns", "x"], "invalid CGROUP mode"),
            (&["--ipc", "x"], "invalid IPC mode"),
            (
                &["--uts", "host", "-h", "x"],
                "conflicting options: hostname and the UTS mode",
            ),
            (
                &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
                "not allowed in host network namespace",
            ),
        ] {
            let outcome = engine.run([&["run", "--rm"], flags, &["busybox", "true"]].concat());
            let error = outcome.fails(125);
            assert!(error.contains(message), "{flags:?}: {error}");
        }
    }
}

#[test]
fn an_init_is_not_put_into_somebody_elses_pid_namespace() {
    let engine = sandbox();
    let outcome = engine.run([
        "run",
        "--rm",
        "--init",
        "--pid",
        "host",
        "busybox",
        "sh",
        "-c",
        "cat /proc/$PPID/comm",
    ]);
    assert!(outcome.stderr.contains("--init was ignored"), "{outcome:?}");
    assert_ne!(outcome.ok(), "init\n");
}

#[test]
fn a_container_of_the_hosts_pid_namespace_leaves_no_process() {
    let engine = sandbox();
    engine
        .run([
            "run",
            "--rm",
            "--pid",
            "host",
            "busybox",
            "sh",
            "-c",
            "sleep 98765 & exec true",
        ])
        .ok();
    let left = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == b"sleep\x0098765\0");
    assert!(!left, "a process was left on the host");
}

#[test]
fn a_joined_namespace_is_found_again_after_a_restart() {
    let engine = sandbox();
    engine
        .run([
            "run",
            "-d",
            "--name",
            "donor",
            "--ipc",
            "shareable",
            "busybox",
            "sh",
            "-c",
            "cat /proc/sys/kernel/random/uuid > /dev/shm/note; exec sleep 1000",
        ])
        .ok();
    engine
        .run([
            "create",
            "--name",
            "guest",
            "--ipc",
            "container:donor",
            "busybox",
            "cat",
            "/dev/shm/note",
        ])
        .ok();
    let first = engine.run(["start", "-a", "guest"]).ok();
    engine.run(["restart", "-t", "0", "donor"]).ok();
    let mut second = String::new();
    for _ in 0..100 {
        second = engine.run(["start", "-a", "guest"]).stdout;
        if !second.is_empty() {
            break;
        }
    }
    assert_ne!(first, second);
    let donors = engine.run(["exec", "donor", "cat", "/dev/shm/note"]).ok();
    assert_eq!(second, donors);
}
