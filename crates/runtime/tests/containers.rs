//! What a container's first process sees and may do. All need root.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "the whole file is tests"
)]

mod fixture;

use fixture::Container;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn privileged_namespaces_are_its_own() {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let container = Container::shell(
        "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; hostname; echo $$",
    );
    let outcome = container.run();
    let seen = lines(&outcome.stdout);
    for (kind, theirs) in kinds.iter().zip(&seen) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        // Docker's default on cgroup version 1 shares the cgroup namespace; the plan has no user namespace.
        let shared = matches!(*kind, "cgroup" | "user");
        assert_eq!(ours == Path::new(theirs), shared, "{kind}");
    }
    assert_eq!(seen[7..], ["box", "1"]);
}

#[test]
fn privileged_mounts_are_as_planned() {
    let outcome = Container::shell("cat /proc/mounts").run();
    let seen: Vec<Vec<&str>> = outcome
        .stdout
        .lines()
        .map(|line| line.split(' ').collect())
        .collect();
    let options = |point: &str| {
        seen.iter()
            .find(|mount| mount[1] == point)
            .map(|mount| (mount[2], mount[3]))
            .unwrap_or_default()
    };
    assert_eq!(options("/proc"), ("proc", "rw,nosuid,nodev,noexec,relatime"));
    assert_eq!(options("/dev"), ("tmpfs", "rw,nosuid,size=65536k,mode=755"));
    assert_eq!(
        options("/dev/pts"),
        ("devpts", "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666")
    );
    assert_eq!(options("/sys"), ("sysfs", "ro,nosuid,nodev,noexec,relatime"));
    assert_eq!(
        options("/dev/mqueue"),
        ("mqueue", "rw,nosuid,nodev,noexec,relatime")
    );
    assert_eq!(
        options("/dev/shm"),
        ("tmpfs", "rw,nosuid,nodev,noexec,relatime,size=65536k")
    );
    let cgroups: Vec<_> = seen
        .iter()
        .filter(|mount| mount[1].starts_with("/sys/fs/cgroup"))
        .collect();
    assert!(!cgroups.is_empty());
    for mount in cgroups {
        assert!(mount[3].starts_with("ro,nosuid,nodev,noexec"), "{mount:?}");
    }
    assert_eq!(seen[0][1], "/");
    assert_eq!(
        seen.iter().filter(|mount| mount[1] == "/").count(),
        1,
        "the host's root is gone"
    );
}

#[test]
fn privileged_masks_hide_and_read_only_paths_are() {
    let script = "for f in interrupts keys timer_list; do test -e /proc/$f && { wc -c </proc/$f; stat -c %t:%T /proc/$f; }; done
        ls -A /sys/firmware /proc/acpi | grep -v : | grep .
        touch /sys/firmware/x /proc/acpi/x 2>&1 | grep -vc Read-only
        (echo 1 >/proc/sys/kernel/panic) 2>&1 | grep -c Read-only
        grep -cE '^proc /proc/(bus|fs|irq|sys) proc ro,' /proc/mounts";
    let outcome = Container::shell(script).run();
    let seen = lines(&outcome.stdout);
    let (rest, files) = (&seen[seen.len() - 3..], &seen[..seen.len() - 3]);
    assert!(files.len() >= 4, "{seen:?}");
    for file in files.chunks(2) {
        assert_eq!(file, ["0", "1:3"]);
    }
    assert_eq!(rest, ["0", "1", "4"]);
}

#[test]
fn privileged_rights_are_dockers() {
    let outcome =
        Container::shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'").run();
    assert_eq!(
        lines(&outcome.stdout),
        [
            "CapInh:0000000000000000",
            "CapPrm:00000000a80425fb",
            "CapEff:00000000a80425fb",
            "CapBnd:00000000a80425fb",
            "CapAmb:0000000000000000",
            "NoNewPrivs:0",
            "Seccomp:0",
        ]
    );
    let other =
        Container::shell("grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNew)' /proc/self/status | tr -d '\\t'")
            .user("alice")
            .set("/process/noNewPrivileges", json!(true))
            .run();
    assert_eq!(
        lines(&other.stdout),
        [
            "CapPrm:0000000000000000",
            "CapEff:0000000000000000",
            "CapBnd:00000000a80425fb",
            "CapAmb:0000000000000000",
            "NoNewPrivs:1",
        ]
    );
}

#[test]
fn privileged_seccomp_is_loaded_with_and_without_new_privileges() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    for no_new_privileges in [false, true] {
        for user in ["root", "alice"] {
            let outcome = Container::shell("grep Seccomp: /proc/self/status; mkdir /tmp/x 2>&1")
                .set("/linux/seccomp", profile.clone())
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .user(user)
                .run();
            assert_eq!(
                lines(&outcome.stdout),
                [
                    "Seccomp:\t2",
                    "mkdir: can't create directory '/tmp/x': Operation not permitted"
                ],
                "{no_new_privileges} {user} {outcome:?}"
            );
        }
    }
}

#[test]
fn privileged_default_seccomp_profile_with_init_and_terminal() {
    let profile = runtime::seccomp::default_profile(&runtime::capabilities::DEFAULT);
    let container = Container::shell("grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp 2>&1; id -u")
        .set("/linux/seccomp", json!(profile))
        .user("alice")
        .init();
    let outcome = container.run_with("terminal");
    let seen: Vec<&str> = outcome.stdout.split("\r\n").collect();
    assert_eq!(seen[0], "Seccomp:\t2");
    assert!(seen[1].starts_with("mount: permission denied"), "{seen:?}");
    assert_eq!(seen[2], "1000");
}

#[test]
fn privileged_namespaces_can_be_shared() {
    let first = Container::new(&["/bin/sleep", "600"]);
    let running = first.start();
    let namespaces: Vec<_> = ["pid", "net", "ipc", "uts"]
        .iter()
        .map(|name| {
            let kind = if *name == "net" { "network" } else { name };
            json!({"type": kind, "path": format!("/proc/{}/ns/{name}", running.pid)})
        })
        .chain([
            json!({"type": "mount"}),
            json!({"type": "cgroup"}),
            json!({"type": "time"}),
        ])
        .collect();
    let script = "for n in pid net ipc uts time cgroup; do readlink /proc/self/ns/$n; done; ps | grep -c 'sleep 600'; \
        cat /proc/self/cgroup | cut -d: -f3 | sort -u; grep -c ro,nosuid,nodev,noexec /proc/mounts";
    let second = Container::shell(script)
        .set("/linux/namespaces", json!(namespaces))
        .set("/hostname", json!(null));
    let outcome = second.run();
    let seen = lines(&outcome.stdout);
    for (name, theirs) in ["pid", "net", "ipc", "uts"].iter().zip(&seen) {
        let of_first = std::fs::read_link(format!("/proc/{}/ns/{name}", running.pid)).unwrap();
        assert_eq!(of_first.to_str().unwrap(), *theirs);
    }
    for (name, theirs) in ["time", "cgroup"].iter().zip(&seen[4..]) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), *theirs);
    }
    assert!(seen[6].parse::<u32>().unwrap() >= 1, "{seen:?}");
    assert_eq!(seen[7], "/", "{outcome:?}");
    // The driver's next child is not born among the container's: it ended on its own.
    assert_eq!(outcome.code(), 0);
}

#[test]
fn privileged_what_is_not_supported_is_refused_not_ignored() {
    for (pointer, value, why) in [
        ("/process/apparmorProfile", json!("some"), "AppArmor"),
        ("/process/selinuxLabel", json!("some"), "SELinux"),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER"}),
            "scheduling",
        ),
        ("/process/args", json!([]), "no command"),
        ("/process/cwd", json!("relative"), "not absolute"),
        (
            "/linux/personality",
            json!({"domain": "LINUX32"}),
            "personalities",
        ),
        ("/hooks", json!({"prestart": [{"path": "/bin/true"}]}), "hooks"),
    ] {
        let outcome = Container::shell("true").set(pointer, value).run();
        assert!(outcome.error().contains(why), "{pointer} {outcome:?}");
    }
}

#[test]
fn privileged_no_descriptor_leaks() {
    for init in [false, true] {
        let mut container =
            Container::shell("echo /proc/self/fd/*; readlink /proc/self/fd/0; cat /proc/1/comm; true");
        container.plan["init"] = json!(init);
        let outcome = container.run();
        let seen = lines(&outcome.stdout);
        // The shell itself lists them; 3 is the directory while it does.
        let known = [
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2",
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3",
        ];
        assert!(known.contains(&seen[0]), "{seen:?}");
        assert_eq!(seen[1], "/dev/null");
        assert_eq!(seen[2], if init { "init" } else { "sh" });
    }
}

#[test]
fn privileged_exits_and_signals() {
    for (script, code, signal) in [
        ("exit 0", 0, json!(null)),
        ("exit 3", 3, json!(null)),
        ("exit 255", 255, json!(null)),
    ] {
        let outcome = Container::shell(script).run();
        assert_eq!(
            (outcome.code(), &outcome.answer["exit"]["signal"]),
            (code, &signal),
            "{script}"
        );
    }
    // Process 1 is not killed by its own signals; from outside it is.
    let container = Container::new(&["/bin/sleep", "600"]);
    assert_eq!(
        container.start().signal("KILL"),
        json!({"code": 137, "signal": 9})
    );
}

#[test]
fn privileged_commands_that_are_not_there_or_not_executable() {
    let check = |command: &str, failure: &str, message: &str| {
        let container = Container::new(&[command]);
        std::fs::write(container.root().join("text"), "no program").unwrap();
        std::fs::write(container.root().join("wrong"), "\x7fELF no program").unwrap();
        std::fs::write(container.root().join("script"), "#!/no/such/interpreter\n").unwrap();
        for name in ["wrong", "script"] {
            let mode = PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(container.root().join(name), mode).unwrap();
        }
        let outcome = container.run();
        assert_eq!((outcome.failure(), outcome.error()), (failure, message));
    };
    check(
        "nosuch",
        "CommandNotFound",
        "exec: \"nosuch\": executable file not found in $PATH",
    );
    check(
        "/nosuch",
        "CommandNotFound",
        "exec: \"/nosuch\": stat /nosuch: no such file or directory",
    );
    check("/etc", "CommandNotExecutable", "exec: \"/etc\": is a directory");
    check(
        "/text",
        "CommandNotExecutable",
        "exec: \"/text\": permission denied",
    );
    check(
        "/wrong",
        "CommandNotExecutable",
        "exec: \"/wrong\": exec format error",
    );
    check(
        "/script",
        "CommandNotFound",
        "exec: \"/script\": no such file or directory",
    );
}

#[test]
fn privileged_users_groups_home_and_umask() {
    let run = |user: &str| {
        Container::shell("id -u; id -g; id -G; echo $HOME; umask")
            .user(user)
            .run()
    };
    for (user, expected) in [
        ("root", ["0", "0", "0", "/root", "0022"]),
        ("alice", ["1000", "100", "100 10", "/home/alice", "0022"]),
        ("1000", ["1000", "100", "100 10", "/home/alice", "0022"]),
        ("4711", ["4711", "0", "0", "/", "0022"]),
        ("alice:wheel", ["1000", "10", "10", "/home/alice", "0022"]),
        ("5:6", ["5", "6", "6", "/", "0022"]),
    ] {
        assert_eq!(lines(&run(user).stdout), expected, "{user}");
    }
    let outcome = run("bob");
    assert_eq!(
        outcome.error(),
        "unable to find user bob: no matching entries in passwd file"
    );
    assert_eq!(outcome.failure(), "Setup");
    let mut container = Container::shell("id -G").user("4711");
    container.plan["groups"] = json!(["wheel", "77"]);
    assert_eq!(container.run().stdout, "0 10 77\n");
}

#[test]
fn privileged_working_directory_is_made_and_owned() {
    let container = Container::shell("pwd; stat -c %u:%g:%a . ..")
        .user("alice")
        .set("/process/cwd", json!("/work/deep"));
    assert_eq!(
        lines(&container.run().stdout),
        ["/work/deep", "1000:100:755", "1000:100:755"]
    );
    // A leaked descriptor of the host's is no way to a directory (CVE-2024-21626).
    for number in 3..20 {
        let outcome = Container::shell("pwd")
            .set("/process/cwd", json!(format!("/proc/self/fd/{number}")))
            .run();
        // Where a name is free when the path is looked up, its text leads somewhere inside.
        let refused = outcome.answer["error"].is_object();
        assert!(refused || outcome.stdout == "/proc\n", "{outcome:?}");
    }
}

#[test]
fn privileged_environment_and_streams() {
    let outcome = Container::shell("echo $A-$HOME-$PATH; echo error >&2; echo again >/dev/stdout")
        .user("alice")
        .run();
    assert_eq!(outcome.stdout, "b-/home/alice-/usr/bin:/bin\nagain\n");
    assert_eq!(outcome.stderr, "error\n");
    // Signals are as a program expects them: a Rust program ignores SIGPIPE.
    let outcome = Container::new(&["awk", "/SigBlk|SigIgn/ {print $2}", "/proc/self/status"]).run();
    assert_eq!(outcome.stdout, "0000000000000000\n0000000000000000\n");
}

#[test]
fn privileged_devices_and_links() {
    let script = "cd /dev; stat -c '%n %t:%T %a' full null random tty urandom zero given | sort; \
        for l in fd stdin stdout stderr ptmx core; do readlink $l; done; echo x >null && head -c 2 zero | wc -c; stat -c %F:%a /fifo";
    let container = Container::shell(script).set(
        "/linux/devices",
        json!([
            {"path": "/dev/given", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 0, "gid": 0},
            {"path": "/fifo", "type": "p", "major": 0, "minor": 0, "fileMode": 0o600},
        ]),
    );
    assert_eq!(
        lines(&container.run().stdout),
        [
            "full 1:7 666",
            "given 1:3 640",
            "null 1:3 666",
            "random 1:8 666",
            "tty 5:0 666",
            "urandom 1:9 666",
            "zero 1:5 666",
            "/proc/self/fd",
            "/proc/self/fd/0",
            "/proc/self/fd/1",
            "/proc/self/fd/2",
            "pts/ptmx",
            "/proc/kcore",
            "2",
            "fifo:600",
        ]
    );
}

#[test]
fn privileged_terminal() {
    let script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; stat -c %t /dev/console; \
        stat -c %u /dev/console; echo through >/dev/console; echo >/dev/tty own; ls /dev/pts";
    let outcome = Container::shell(script).user("alice").run_with("terminal");
    let seen: Vec<&str> = outcome.stdout.split("\r\n").collect();
    assert_eq!(
        seen,
        [
            "/dev/pts/0",
            "30 90",
            "all",
            "88",
            "1000",
            "through",
            "own",
            "0     ptmx",
            ""
        ]
    );
}

#[test]
fn privileged_binds_have_their_options() {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("below")).unwrap();
    std::fs::write(host.path().join("file"), "content").unwrap();
    let script = "cat /data/file /one; echo; touch /ro/x 2>&1; touch /data/new && echo wrote; \
        grep -E ' /(data|ro|one|made/dir) ' /proc/mounts | sed 's/^[^ ]* //; s/,discard.*//'; \
        sed -n 's|.* /data .* \\(shared\\|master\\).*|\\1|p' /proc/self/mountinfo";
    let outcome = Container::shell(script)
        .mount("/data", "bind", host.path(), &["rbind", "rw", "rprivate"])
        .mount("/ro", "bind", host.path(), &["rbind", "ro", "rprivate"])
        .mount(
            "/one",
            "bind",
            &host.path().join("file"),
            &["bind", "ro", "nosuid", "nodev"],
        )
        .mount(
            "/made/dir",
            "tmpfs",
            Path::new("tmpfs"),
            &["noexec", "size=4k", "mode=700", "uid=7", "gid=8"],
        )
        .run();
    let seen = lines(&outcome.stdout);
    assert_eq!(
        seen[..3],
        ["contentcontent", "touch: /ro/x: Read-only file system", "wrote"],
        "{outcome:?}"
    );
    assert!(host.path().join("new").exists());
    assert_eq!(seen.len(), 7, "{seen:?}");
    assert!(
        seen[3].starts_with("/data ") && seen[3].contains(" rw,"),
        "{seen:?}"
    );
    assert!(
        seen[4].starts_with("/ro ") && seen[4].contains(" ro,"),
        "{seen:?}"
    );
    assert!(
        seen[5].starts_with("/one ") && seen[5].contains(" ro,nosuid,nodev,"),
        "{seen:?}"
    );
    assert!(
        seen[6].contains("noexec") && seen[6].contains("size=4k,mode=700,uid=7,gid=8"),
        "{seen:?}"
    );
}

#[test]
fn privileged_missing_bind_source_and_mismatches_are_errors() {
    let outcome = Container::shell("")
        .mount("/x", "bind", Path::new("/no/such"), &["rbind"])
        .run();
    assert_eq!(outcome.error(), "bind source path does not exist: /no/such");
    let outcome = Container::shell("")
        .mount("/bin/busybox", "bind", Path::new("/tmp"), &["rbind"])
        .run();
    assert!(
        outcome
            .error()
            .contains("the source is a directory, and there is a file"),
        "{outcome:?}"
    );
    let outcome = Container::shell("")
        .mount("/tmp", "bind", Path::new("/etc/passwd"), &["rbind"])
        .run();
    assert!(
        outcome
            .error()
            .contains("the source is a file, and there is a directory"),
        "{outcome:?}"
    );
    let outcome = Container::shell("")
        .mount("/t", "tmpfs", Path::new("tmpfs"), &["nonsense=1"])
        .run();
    assert!(outcome.error().contains("nonsense"), "{outcome:?}");
}

#[test]
fn privileged_read_only_root() {
    let container =
        Container::shell("touch /x 2>&1; touch /dev/shm/x && echo shm").set("/root/readonly", json!(true));
    assert_eq!(
        lines(&container.run().stdout),
        ["touch: /x: Read-only file system", "shm"]
    );
}

#[test]
fn privileged_overlay_root() {
    let mut container = Container::shell(
        "echo new >/tmp/file; rm /etc/group; cat /extra; grep -c '^overlay / ' /proc/mounts",
    );
    let layer = container.directory.path().join("layer");
    for name in ["layer", "upper", "work"] {
        std::fs::create_dir(container.directory.path().join(name)).unwrap();
    }
    std::fs::write(layer.join("extra"), "extra\n").unwrap();
    container.plan["rootfs"] = json!({"Overlay": {
        "lower": [layer, container.root()],
        "upper": container.directory.path().join("upper"),
        "work": container.directory.path().join("work"),
    }});
    assert_eq!(lines(&container.run().stdout), ["extra", "1"]);
    let upper = container.directory.path().join("upper");
    assert_eq!(std::fs::read_to_string(upper.join("tmp/file")).unwrap(), "new\n");
    assert!(container.root().join("etc/group").exists());
}

#[test]
fn privileged_limits_and_cgroup() {
    let container = Container::shell(
        "ulimit -n; ulimit -Hn; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
    )
    .set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]),
    )
    .set(
        "/linux/resources",
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 50}}),
    );
    assert_eq!(lines(&container.run().stdout), ["100", "200", "67108864", "50"]);
    // More than the host allows any process: a warning, and it runs.
    let container = Container::shell("echo runs").set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 4_000_000_000_u64}]),
    );
    let outcome = container.run();
    assert_eq!(outcome.stdout, "runs\n");
    assert!(
        outcome.answer["warnings"][0]
            .as_str()
            .unwrap()
            .contains("RLIMIT_NOFILE"),
        "{outcome:?}"
    );
    // A fork bomb ends at the limit.
    let container = Container::shell("i=0; while [ $i -lt 30 ]; do sleep 600 & i=$((i+1)); done; echo all")
        .set("/linux/resources", json!({"pids": {"limit": 10}}));
    let outcome = container.run();
    assert!(outcome.stderr.contains("can't fork"), "{outcome:?}");
}

#[test]
fn privileged_sysctls_of_its_own_namespaces_only() {
    let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax";
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let container = Container::shell(read).set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "7", "kernel.shmmax": "4711"}),
    );
    assert_eq!(lines(&container.run().stdout), ["7", "4711"]);
    assert_eq!(
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(),
        before
    );
    let container = Container::shell(read).set("/linux/sysctl", json!({"kernel.core_pattern": "x"}));
    assert!(container.run().error().contains("kernel.core_pattern"));
}

#[test]
fn privileged_init_forwards_and_reaps() {
    let script = "(sleep 0.1 & ) ; sh -c 'sleep 0 & exec true'; sleep 0.5; ps | grep -c '\\[sleep\\]'; ps | grep -c init; echo $$; exit 5";
    let outcome = Container::shell(script).init().run();
    let seen = lines(&outcome.stdout);
    assert_eq!(seen[0], "0", "no zombie is left: {seen:?}");
    assert_ne!(seen[2], "1", "the command is not process 1");
    assert_eq!(outcome.code(), 5);
    let outcome = Container::shell("kill -9 $$").init().run();
    assert_eq!(outcome.code(), 137);
    // Without init, process 1 ignores what it has no handler for.
    let container = Container::new(&["/bin/sleep", "600"]).init();
    assert_eq!(
        container.start().signal("TERM"),
        json!({"code": 143, "signal": null})
    );
    let outcome = Container::new(&["/nosuch"]).init().run();
    assert_eq!(outcome.failure(), "CommandNotFound");
}

#[test]
fn privileged_user_namespace() {
    let script = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %t:%T /dev/null; echo x >/dev/null && echo writes; \
        touch /tmp/mine && stat -c %u /tmp/mine; grep CapEff /proc/self/status; tty; hostname";
    let container = Container::shell(script)
        .set(
            "/linux/namespaces",
            json!([{"type": "user"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]),
        )
        .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]))
        .set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]));
    // The test's directory is root's alone; the mapped user must be able to search it.
    for path in [container.directory.path().to_owned(), container.root()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(
        container.root().join("tmp"),
        std::fs::Permissions::from_mode(0o1777),
    )
    .unwrap();
    for name in ["proc", "sys", "dev"] {
        std::fs::create_dir(container.root().join(name)).unwrap();
    }
    let outcome = container.run_with("terminal");
    let seen: Vec<&str> = outcome.stdout.split("\r\n").collect();
    assert_eq!(
        seen,
        [
            "0",
            " 0 100000 65536",
            "1:3",
            "writes",
            "0",
            "CapEff:\t00000000a80425fb",
            "/dev/pts/0",
            "box",
            ""
        ],
        "{outcome:?}"
    );
    let mine = std::fs::metadata(container.root().join("tmp/mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&mine), 100_000);
}

#[test]
fn privileged_nothing_is_left() {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroups = |name: &str| {
        let mut found = Vec::new();
        for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            let path = controller.unwrap().path().join(name.trim_start_matches('/'));
            if path.exists() {
                found.push(path);
            }
        }
        found
    };
    let container = Container::shell("true");
    container.run();
    assert_eq!(cgroups(&container.cgroup), [""; 0].map(std::path::PathBuf::from));
    // A failed start and one that is given up clean up by themselves.
    let failing = Container::new(&["/nosuch"]);
    let answer = failing.exec_raw("run", "files");
    assert_eq!(answer.failure(), "CommandNotFound");
    assert!(cgroups(&failing.cgroup).is_empty());
    let dropped = Container::shell("true");
    let answer = dropped.exec_raw("run", "drop");
    let pid = answer.error().strip_prefix("dropped ").unwrap().to_owned();
    assert!(!Path::new("/proc").join(pid).exists());
    assert!(cgroups(&dropped.cgroup).is_empty());
    for container in [&container, &failing, &dropped] {
        assert!(!mounts().contains(container.root().to_str().unwrap()));
    }
}
