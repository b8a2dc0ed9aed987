//! Restart policies, and what stands around a reboot.

use crate::health::until;
use crate::sandbox;

mod both {
    use super::until;
    use crate::both;

    #[test]
    fn on_failure_tries_so_often() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--restart",
                "on-failure:2",
                "busybox",
                "sh",
                "-c",
                "echo run; exit 4",
            ])
            .ok();
        let format = "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}";
        until(&coracle, &["inspect", "-f", format, "it"], "exited 2 4");
        assert_eq!(coracle.run(["logs", "it"]).ok(), "run\nrun\nrun\n");
        let enough = [
            "run",
            "--name",
            "well",
            "--restart",
            "on-failure:2",
            "busybox",
            "true",
        ];
        coracle.run(enough).ok();
        until(&coracle, &["inspect", "-f", format, "well"], "exited 0 0");
    }

    #[test]
    fn always_until_stopped() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--restart",
                "always",
                "--stop-timeout",
                "1",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        let pid = ["inspect", "-f", "{{.State.Pid}}", "it"];
        let first = coracle.run(pid).ok();
        std::process::Command::new("kill")
            .args(["-KILL", first.trim()])
            .status()
            .unwrap();
        until(
            &coracle,
            &["inspect", "-f", "{{.State.Running}} {{.RestartCount}}", "it"],
            "true 1",
        );
        let second = coracle.run(pid).ok();
        assert_ne!(first, second);
        coracle.run(["stop", "it"]).ok();
        let state = ["inspect", "-f", "{{.State.Status}} {{.State.Restarting}}", "it"];
        assert_eq!(coracle.run(state).ok(), "exited false\n");
        // Begun by hand it counts anew.
        coracle.run(["start", "it"]).ok();
        let count = ["inspect", "-f", "{{.State.Running}} {{.RestartCount}}", "it"];
        assert_eq!(coracle.run(count).ok(), "true 0\n");
        coracle.run(["kill", "it"]).ok();
        until(&coracle, &state, "exited false");
    }

    #[test]
    fn a_container_between_two_runs_is_restarting() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--restart",
                "unless-stopped",
                "busybox",
                "false",
            ])
            .ok();
        // The pauses double, so there is one that can be seen.
        until(
            &coracle,
            &["inspect", "-f", "{{.State.Status}} {{.State.Restarting}}", "it"],
            "restarting true",
        );
        let refused = coracle.run(["exec", "it", "true"]).fails(1);
        assert!(
            refused.contains("is restarting, wait until the container is running"),
            "{refused}"
        );
        coracle.run(["stop", "it"]).ok();
        assert_eq!(
            coracle.run(["inspect", "-f", "{{.State.Status}}", "it"]).ok(),
            "exited\n"
        );
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        let coracle = both();
        for (flags, message) in [
            (&["--restart", "sometimes"][..], "invalid restart policy"),
            (&["--restart", "always:3"], "maximum retry count c"),
            (
                &["--restart", "on-failure:x"],
                "maximum retry count must be an integer",
            ),
            (
                &["--rm", "--restart", "always"],
                "cannot specify both --restart and --rm",
            ),
        ] {
            let words = [&["run"], flags, &["busybox", "true"]].concat();
            let said = coracle.run(words).fails(125);
            assert!(said.contains(message), "{said}");
        }
    }
}

#[test]
fn what_went_with_the_host_comes_back_with_it() {
    let coracle = sandbox();
    for (name, policy) in [
        ("back", "unless-stopped"),
        ("gone", "no"),
        ("done", "unless-stopped"),
    ] {
        let run = [
            "run",
            "-d",
            "--name",
            name,
            "--stop-timeout",
            "0",
            "--restart",
            policy,
            "busybox",
            "sleep",
            "1000",
        ];
        coracle.run(run).ok();
    }
    coracle.run(["stop", "done"]).ok();
    let stopped = coracle.run(["system", "stop-all"]).ok();
    assert_eq!(stopped.lines().count(), 2, "{stopped}");
    assert_eq!(coracle.run(["ps", "-q"]).ok(), "");
    let status = coracle
        .run(["ps", "-a", "--filter", "name=back", "--format", "{{.Status}}"])
        .ok();
    assert!(status.ends_with("(shutdown)\n"), "{status}");
    assert_eq!(coracle.run(["system", "start-all"]).ok(), "back\n");
    assert_eq!(coracle.run(["system", "start-all"]).ok(), "");
    assert_eq!(coracle.run(["ps", "--format", "{{.Names}}"]).ok(), "back\n");
}

#[test]
fn the_unit_is_shown_and_what_to_do_without_systemd() {
    let coracle = sandbox();
    let unit = coracle.run(["system", "install", "--print"]).ok();
    let root = coracle.path().join("root").display().to_string();
    let run_root = coracle.path().join("run").display().to_string();
    let start = format!("coracle --root {root} --run-root {run_root} system start-all\n");
    assert!(unit.contains(&start), "{unit}");
    assert!(unit.contains("WantedBy=multi-user.target"), "{unit}");
    if !std::path::Path::new("/run/systemd/system").exists() {
        let refused = coracle.run(["system", "install"]).fails(1);
        assert!(
            refused.starts_with("coracle: this host was not booted with systemd"),
            "{refused}"
        );
        assert!(
            refused.contains("/etc/rc.local") && refused.contains("@reboot"),
            "{refused}"
        );
        assert!(!std::path::Path::new("/etc/systemd/system/coracle.service").exists());
    }
    coracle.run(["system", "install", "--print", "--remove"]).fails(1);
}
