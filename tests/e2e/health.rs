//! Health checks: `--health-*`, `HEALTHCHECK`, and who sees what they found.

use crate::sandbox;
use std::time::{Duration, Instant};
use testkit::Sandbox;

/// Waits until a command prints what is wanted.
#[track_caller]
pub(crate) fn until(sandbox: &Sandbox, command: &[&str], wanted: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let outcome = sandbox.run(command);
        if outcome.stdout.trim_end() == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{wanted:?} never came: {outcome:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const STATUS: [&str; 4] = ["inspect", "-f", "{{.State.Health.Status}}", "it"];

mod both {
    use super::{STATUS, until};
    use crate::both;

    #[test]
    fn health_comes_and_goes() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--stop-timeout",
                "1",
                "--health-cmd",
                "echo looked; test -e /well",
                "--health-interval",
                "1s",
                "--health-retries",
                "2",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        assert_eq!(coracle.run(STATUS).ok(), "starting\n");
        let status = coracle.run(["ps", "--format", "{{.Status}}"]).ok();
        assert!(status.ends_with(" (health: starting)\n"), "{status}");
        until(&coracle, &STATUS, "unhealthy");
        let last = "{{.State.Health.FailingStreak}} {{(index .State.Health.Log 1).ExitCode}} {{(index .State.Health.Log 1).Output}}";
        let shown = coracle.run(["inspect", "-f", last, "it"]).ok();
        assert!(shown.ends_with(" 1 looked\n\n"), "{shown}");
        let filter = |value: &str| {
            let filter = format!("health={value}");
            coracle
                .run(["ps", "--format", "{{.Names}}", "--filter", &filter])
                .ok()
        };
        assert_eq!(filter("unhealthy"), "it\n");
        assert_eq!(filter("healthy"), "");
        coracle.run(["exec", "it", "touch", "/well"]).ok();
        until(&coracle, &STATUS, "healthy");
        let status = coracle.run(["ps", "--format", "{{.Status}}"]).ok();
        assert!(status.ends_with(" (healthy)\n"), "{status}");
        coracle.run(["stop", "it"]).ok();
        assert_eq!(coracle.run(STATUS).ok(), "unhealthy\n");
        coracle.run(["start", "it"]).ok();
        assert_eq!(coracle.run(STATUS).ok(), "starting\n");
    }

    #[test]
    fn without_a_check_there_is_no_health() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        let shown = coracle
            .run([
                "inspect",
                "-f",
                "{{json .State.Health}} {{json .Config.Healthcheck}}",
                "it",
            ])
            .ok();
        assert!(!shown.contains("starting"), "{shown}");
        let none = coracle
            .run(["ps", "--format", "{{.Names}}", "--filter", "health=none"])
            .ok();
        assert_eq!(none, "it\n");
    }

    #[test]
    fn a_check_that_takes_too_long_has_failed() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--stop-timeout",
                "1",
                "--health-cmd",
                "echo begun; sleep 999",
                "--health-interval",
                "1s",
                "--health-timeout",
                "1s",
                "--health-retries",
                "1",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        until(&coracle, &STATUS, "unhealthy");
        let first = "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}";
        let shown = coracle.run(["inspect", "-f", first, "it"]).ok();
        assert!(
            shown.starts_with("-1 Health check exceeded timeout (1s)"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_with_the_flags_is_said() {
        let coracle = both();
        for (flags, message) in [
            (
                &["--no-healthcheck", "--health-retries", "1"][..],
                "--no-healthcheck conflicts with --health-* options",
            ),
            (&["--health-interval=-1s"], "--health-interval cannot be negative"),
            (&["--health-retries=-1"], "--health-retries cannot be negative"),
            (
                &["--health-cmd", "true", "--health-timeout", "1us"],
                "Timeout in Healthcheck cannot be less than 1ms",
            ),
        ] {
            let words = [&["run"], flags, &["busybox", "true"]].concat();
            let said = coracle.run(words).fails(125);
            assert!(said.contains(message), "{said}");
        }
        assert_eq!(coracle.run(["ps", "-aq"]).ok(), "");
    }

    #[test]
    fn the_flags_go_before_nothing_of_the_image() {
        let coracle = both();
        coracle
            .run([
                "create",
                "--name",
                "it",
                "--health-cmd",
                "exit 0",
                "--health-interval",
                "1m30s",
                "--health-start-period",
                "5s",
                "busybox",
                "true",
            ])
            .ok();
        let format = "{{json .Config.Healthcheck.Test}} {{json .Config.Healthcheck.Interval}} {{json .Config.Healthcheck.StartPeriod}}";
        assert_eq!(
            coracle.run(["inspect", "-f", format, "it"]).ok(),
            "[\"CMD-SHELL\",\"exit 0\"] 90000000000 5000000000\n"
        );
    }
}

#[test]
fn an_image_s_check_is_done_and_can_be_overridden() {
    let coracle = sandbox();
    coracle.write(
        "context/Dockerfile",
        "FROM busybox\nHEALTHCHECK --interval=200ms --retries=1 CMD test -e /well || { echo no; exit 1; }\n",
    );
    coracle.run(["build", "-q", "-t", "checked", "context"]).ok();
    coracle
        .run(["run", "-d", "--name", "it", "checked", "sleep", "1000"])
        .ok();
    until(&coracle, &STATUS, "unhealthy");
    coracle.run(["exec", "it", "touch", "/well"]).ok();
    until(&coracle, &STATUS, "healthy");
    coracle.run(["rm", "-f", "it"]).ok();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "--no-healthcheck",
            "checked",
            "sleep",
            "1000",
        ])
        .ok();
    assert_eq!(
        coracle
            .run(["ps", "--filter", "health=none", "--format", "{{.Names}}"])
            .ok(),
        "it\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
    let create = [
        "create",
        "--name",
        "it",
        "--health-retries",
        "7",
        "checked",
        "true",
    ];
    coracle.run(create).ok();
    let format = "{{.Config.Healthcheck.Retries}} {{json .Config.Healthcheck.Interval}} {{index .Config.Healthcheck.Test 0}}";
    assert_eq!(
        coracle.run(["inspect", "-f", format, "it"]).ok(),
        "7 200000000 CMD-SHELL\n"
    );
}

#[test]
fn an_unhealthy_container_is_killed_if_so_wished() {
    let coracle = sandbox();
    let ended = coracle.run([
        "run",
        "--name",
        "it",
        "--health-cmd",
        "echo the pump is dry; false",
        "--health-interval",
        "200ms",
        "--health-retries",
        "1",
        "--health-on-failure",
        "kill",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(
        ended.fails(137),
        "coracle: the container was ended because it is unhealthy; the last check wrote: the pump is dry\n"
    );
    let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(
        status.starts_with("Exited (137)") && status.ends_with("(unhealthy)\n"),
        "{status}"
    );
    let refused = coracle
        .run(["run", "--health-on-failure", "pray", "busybox"])
        .fails(125);
    assert!(refused.contains("\"restart\" or \"stop\""), "{refused}");
    let warned = coracle.run(["create", "--health-on-failure", "kill", "busybox", "true"]);
    assert!(warned.stderr.contains("does nothing"), "{}", warned.stderr);
}
