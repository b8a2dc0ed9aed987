//! `logs`.

use crate::sandbox;

#[test]
fn what_was_written_can_be_read_again() {
    let coracle = sandbox();
    let script = "for i in 1 2 3 4 5; do echo line $i; done; echo problem >&2; printf unfinished";
    coracle
        .run(["run", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let logs = coracle.run(["logs", "it"]);
    assert_eq!(logs.stdout, "line 1\nline 2\nline 3\nline 4\nline 5\nunfinished");
    assert_eq!(logs.stderr, "problem\n");
    let tail = coracle.run(["logs", "--tail", "2", "it"]);
    assert_eq!(
        (tail.stdout.as_str(), tail.stderr.as_str()),
        ("unfinished", "problem\n")
    );
    let stamped = coracle.run(["logs", "-t", "--tail", "all", "it"]).stdout;
    let (time, text) = stamped.lines().next().unwrap().split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(text, "line 1");
    assert_eq!(
        coracle
            .run(["logs", "--since", "1h", "--until", "0s", "it"])
            .stdout,
        logs.stdout
    );
    assert_eq!(coracle.run(["logs", "--since", "0s", "it"]).stdout, "");
}

#[test]
fn following_ends_with_the_container() {
    let coracle = sandbox();
    let script = "for i in 1 2 3; do echo $i; sleep 0.2; done";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    assert_eq!(coracle.run(["logs", "-f", "it"]).ok(), "1\n2\n3\n");
}

#[test]
fn logs_are_rotated() {
    let coracle = sandbox();
    let options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    let script = ["busybox", "sh", "-c", "seq 1 2000"];
    coracle
        .run([&["run", "--name", "it"], &options[..], &script[..]].concat())
        .ok();
    let logs = coracle.run(["logs", "it"]).ok();
    assert!(
        logs.ends_with("1999\n2000\n") && logs.lines().count() < 2000,
        "{} lines",
        logs.lines().count()
    );
    let first: u32 = logs.lines().next().unwrap().parse().unwrap();
    assert!(
        logs.lines()
            .map(|line| line.parse::<u32>().unwrap())
            .eq(first..=2000)
    );
}

#[test]
fn no_driver_no_logs() {
    let coracle = sandbox();
    assert_eq!(
        coracle
            .run([
                "run",
                "--name",
                "it",
                "--log-driver",
                "none",
                "busybox",
                "echo",
                "hi"
            ])
            .ok(),
        "hi\n"
    );
    let refused = coracle.run(["logs", "it"]).fails(1);
    assert!(refused.contains("does not support reading"), "{refused}");
}
