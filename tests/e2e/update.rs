//! `update`.

use crate::sandbox;

mod both {
    use crate::both;

    #[test]
    fn limits_of_a_running_container_change_and_stay() {
        let coracle = both();
        coracle
            .run([
                "run", "-d", "--name", "it", "-m", "64m", "busybox", "sleep", "1000",
            ])
            .ok();
        assert_eq!(
            coracle
                .run([
                    "update",
                    "-m",
                    "96m",
                    "--memory-swap",
                    "200m",
                    "--cpus",
                    "0.5",
                    "--pids-limit",
                    "77",
                    "it"
                ])
                .ok(),
            "it\n"
        );
        let format = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}";
        let expected = "100663296 209715200 500000000 77\n";
        assert_eq!(coracle.run(["inspect", "-f", format, "it"]).ok(), expected);
        let inside = || {
            let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
                          cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
            coracle.run(["exec", "it", "sh", "-c", script]).stdout
        };
        assert_eq!(inside(), "100663296\n77\n");
        // A later start has them too.
        coracle.run(["restart", "-t", "0", "it"]).ok();
        assert_eq!(inside(), "100663296\n77\n");
        assert_eq!(coracle.run(["inspect", "-f", format, "it"]).ok(), expected);
        coracle.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn a_stopped_container_takes_them_at_its_start() {
        let coracle = both();
        coracle
            .run([
                "create",
                "--name",
                "it",
                "busybox",
                "sh",
                "-c",
                "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true",
            ])
            .ok();
        coracle
            .run(["update", "--pids-limit", "55", "--cpu-shares", "512", "it"])
            .ok();
        assert_eq!(coracle.run(["start", "-a", "it"]).ok(), "55\n");
        assert_eq!(
            coracle
                .run(["inspect", "-f", "{{.HostConfig.CpuShares}}", "it"])
                .ok(),
            "512\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let coracle = both();
        coracle
            .run([
                "run", "-d", "--name", "it", "-m", "64m", "--cpus", "0.5", "busybox", "sleep", "1000",
            ])
            .ok();
        let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpusetCpus}}";
        let before = coracle.run(["inspect", "-f", format, "it"]).ok();
        for (arguments, part) in [
            (&["update", "it"][..], "you must provide one or more flags"),
            (
                &["update", "-m", "5m", "it"],
                "Minimum memory limit allowed is 6MB",
            ),
            (
                &["update", "-m", "300m", "it"],
                "Memory limit should be smaller than already set memoryswap limit",
            ),
            (
                &["update", "-m", "100m", "--memory-swap", "50m", "it"],
                "Minimum memoryswap limit should be larger",
            ),
            (
                &["update", "--cpu-period", "50000", "it"],
                "CPU Period cannot be updated as NanoCPUs has already been set",
            ),
            (&["update", "--cpus", "9999", "it"], "Range of CPUs is from 0.01"),
            (
                &["update", "--cpuset-cpus", "9999", "-m", "70m", "it"],
                "Requested CPUs are not available",
            ),
            (
                &["update", "--restart", "nosuch", "it"],
                "unknown policy 'nosuch'",
            ),
            (&["update", "-m", "70m", "nosuch"], "No such container: nosuch"),
        ] {
            let message = coracle.run(arguments).fails(1);
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
        assert_eq!(coracle.run(["inspect", "-f", format, "it"]).ok(), before);
        coracle.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn several_containers_of_which_one_is_not_there() {
        let coracle = both();
        for name in ["one", "two"] {
            coracle.run(["create", "--name", name, "busybox", "true"]).ok();
        }
        let outcome = coracle.run(["update", "--pids-limit", "55", "one", "nosuch", "two"]);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (1, "one\ntwo\n"),
            "{}",
            outcome.stderr
        );
    }

    #[test]
    fn a_restart_policy_is_taken_up_at_once() {
        let coracle = both();
        let script = "echo once >>/count; sleep 0.2; exit 3";
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 3' USR1; while :; do sleep 0.05; done",
            ])
            .ok();
        coracle.run(["update", "--restart", "on-failure:2", "it"]).ok();
        let policy = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
        assert_eq!(
            coracle.run(["inspect", "-f", policy, "it"]).ok(),
            "on-failure 2\n"
        );
        coracle.run(["exec", "it", "kill", "-USR1", "1"]);
        while coracle.run(["inspect", "-f", "{{.RestartCount}}", "it"]).ok() != "1\n" {}
        coracle.run(["rm", "-f", "it"]).ok();
        coracle
            .run([
                "run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", script,
            ])
            .ok();
        let refused = coracle.run(["update", "--restart", "always", "gone"]);
        // It may have been gone already.
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        coracle.run(["wait", "gone"]);
    }
}

#[test]
fn a_container_that_is_begun_again_has_the_new_limits() {
    let coracle = sandbox();
    let script = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; trap 'exit 3' USR1; \
                  while :; do sleep 0.05; done";
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "--restart",
            "on-failure",
            "--pids-limit",
            "50",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    coracle.run(["update", "--pids-limit", "60", "it"]).ok();
    coracle.run(["kill", "-s", "USR1", "it"]).ok();
    let mut log = String::new();
    while log.lines().count() < 2 {
        log = coracle.run(["logs", "it"]).ok();
    }
    assert_eq!(log, "50\n60\n");
    coracle.run(["rm", "-f", "it"]).ok();
}
