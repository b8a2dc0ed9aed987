//! Why a container ended: out of memory, by a signal, for want of health or time.

use crate::sandbox;

/// Wants four times the memory that it gets.
const GREEDY: [&str; 8] = [
    "-m",
    "16m",
    "--memory-swap",
    "16m",
    "busybox",
    "dd",
    "if=/dev/zero",
    "of=/dev/null",
];

mod both {
    use super::GREEDY;
    use crate::both;

    #[test]
    fn a_lack_of_memory_is_shown() {
        let coracle = both();
        let run = [&["run", "--name", "it"][..], &GREEDY, &["bs=64M", "count=1"]].concat();
        assert_eq!(coracle.run(run).code, 137);
        assert_eq!(
            coracle
                .run(["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "it"])
                .ok(),
            "true 137\n"
        );
        let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
        assert!(status.starts_with("Exited (137) "), "{status}");
    }

    #[test]
    fn an_end_by_a_signal_is_128_more() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["kill", "it"]).ok();
        assert_eq!(coracle.run(["wait", "it"]).ok(), "137\n");
        assert_eq!(
            coracle
                .run([
                    "inspect",
                    "-f",
                    "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Error}}",
                    "it"
                ])
                .ok(),
            "false 137 \n"
        );
        let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
        assert!(
            status.starts_with("Exited (137) ") && status.ends_with(" ago\n"),
            "{status}"
        );
    }
}

#[test]
fn a_lack_of_memory_is_explained() {
    let coracle = sandbox();
    let run = [&["run", "--name", "it"][..], &GREEDY, &["bs=64M", "count=1"]].concat();
    let said = coracle.run(&run).fails(137);
    assert!(
        said.starts_with(
            "coracle: out of memory: the kernel killed 'dd' in the container (limit 16MiB, peak "
        ),
        "{said}"
    );
    let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(status.ends_with(" ago (out of memory)\n"), "{status}");
    let cause = coracle
        .run(["inspect", "-f", "{{.State.Cause.Kind}} {{.State.Cause.Process}} {{.State.Cause.MemoryLimit}} {{.State.Cause.Signal}}", "it"])
        .ok();
    assert_eq!(cause, "out-of-memory dd 16777216 SIGKILL\n");
    let peak: u64 = coracle
        .run(["inspect", "-f", "{{.State.Usage.MemoryPeak}}", "it"])
        .ok()
        .trim()
        .parse()
        .unwrap();
    assert!(peak > 8 << 20);
    // Who attaches later hears it too, and a container that is gone has told it before.
    assert_eq!(coracle.run(["start", "-a", "it"]).fails(137), said);
    let passing = [&["run", "--rm"][..], &GREEDY, &["bs=64M", "count=1"]].concat();
    assert!(
        coracle
            .run(passing)
            .fails(137)
            .starts_with("coracle: out of memory: ")
    );
}

#[test]
fn time_runs_out() {
    let coracle = sandbox();
    let run = [
        "run",
        "--name",
        "it",
        "--timeout",
        "1s",
        "--stop-timeout",
        "0",
        "--restart",
        "always",
        "busybox",
        "sleep",
        "1000",
    ];
    assert_eq!(
        coracle.run(run).fails(137),
        "coracle: the container was stopped: it lasted longer than its timeout of 1s\n"
    );
    let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(status.ends_with(" ago (timeout)\n"), "{status}");
    let quick = ["run", "--timeout", "100", "busybox", "true"];
    assert_eq!(coracle.run(quick).ok(), "");
    let wrong = coracle
        .run(["run", "--timeout", "-3", "busybox", "true"])
        .fails(125);
    assert!(wrong.contains("a timeout cannot be negative"), "{wrong}");
}

#[test]
fn a_signal_from_elsewhere_is_named() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    let attached = coracle.start(["attach", "it"]);
    let pid = coracle.run(["inspect", "-f", "{{.State.Pid}}", "it"]).ok();
    // Not through us. A first process is deaf to anything else from outside that it does not handle.
    std::process::Command::new("kill")
        .args(["-KILL", pid.trim()])
        .status()
        .unwrap();
    coracle.run(["wait", "it"]).ok();
    let status = coracle.run(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(
        status.starts_with("Exited (137) ") && status.ends_with(" ago (SIGKILL)\n"),
        "{status}"
    );
    let cause = coracle.run([
        "inspect",
        "-f",
        "{{.State.Cause.Kind}} {{.State.Cause.Signal}}",
        "it",
    ]);
    assert_eq!(cause.ok(), "signal SIGKILL\n");
    let outcome = testkit::sandbox::outcome(&attached.wait_with_output().unwrap());
    assert_eq!(
        outcome.fails(137),
        "coracle: the container was ended by SIGKILL\n"
    );
}
