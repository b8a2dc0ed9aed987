//! `logs`.

use crate::sandbox;
use std::io::Read;
use std::time::{Duration, Instant};

/// Waits until something is so; what takes this long will never be.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

mod both {
    use super::eventually;
    use crate::both;
    use std::io::Read;
    use testkit::Sandbox;

    /// Runs a script in a container called `it`.
    fn run_script(docker: &Sandbox, options: &[&str], script: &str) {
        docker
            .run(
                [
                    &["run", "--name", "it"],
                    options,
                    &["busybox", "sh", "-c", script],
                ]
                .concat(),
            )
            .ok();
    }

    #[test]
    fn what_was_written_can_be_read_again() {
        let docker = both();
        let script = "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.1; echo problem >&2; sleep 0.1; printf unfinished";
        run_script(&docker, &[], script);
        let logs = docker.run(["logs", "it"]);
        assert_eq!(logs.stdout, "line 1\nline 2\nline 3\nline 4\nline 5\nunfinished");
        assert_eq!(logs.stderr, "problem\n");
        let tail = docker.run(["logs", "--tail", "2", "it"]);
        assert_eq!(
            (tail.stdout.as_str(), tail.stderr.as_str()),
            ("unfinished", "problem\n")
        );
        assert_eq!(docker.run(["logs", "-n", "0", "it"]).ok(), "");
        let stamped = docker.run(["logs", "-t", "--tail", "all", "it"]).stdout;
        let (time, text) = stamped.lines().next().unwrap().split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(time.len(), "2006-01-02T15:04:05.000000000Z".len(), "{time}");
        assert_eq!(text, "line 1");
    }

    #[test]
    fn a_part_of_the_time_is_enough() {
        let docker = both();
        run_script(&docker, &[], "echo a; sleep 1.2; echo b");
        let stamped = docker.run(["logs", "-t", "it"]).stdout;
        let times: Vec<&str> = stamped
            .lines()
            .map(|line| line.split_once(' ').unwrap().0)
            .collect();
        let logs = |flags: &[&str]| docker.run([&["logs"], flags, &["it"]].concat()).ok();
        assert_eq!(logs(&["--since", times[1]]), "b\n");
        assert_eq!(logs(&["--until", times[0]]), "a\n");
        assert_eq!(logs(&["--since", times[0], "--until", times[1]]), "a\nb\n");
        assert_eq!(
            logs(&["--since", "1h", "--until", &crate::next_second()]),
            "a\nb\n"
        );
        assert_eq!(logs(&["--since", "0s"]), "");
        assert_eq!(logs(&["--since", "2020-01-02"]), "a\nb\n");
        assert_eq!(logs(&["--since", "1577934245.5"]), "a\nb\n");
        assert_eq!(logs(&["--until", "2020-01-02T03:04:05"]), "");
        // The last lines, and of those the ones in time.
        assert_eq!(logs(&["--tail", "1", "--until", times[0]]), "");
        let refused = docker.run(["logs", "--since", "yesterday", "it"]).fails(1);
        assert!(refused.contains("yesterday"), "{refused}");
    }

    #[test]
    fn following_ends_with_the_container() {
        let docker = both();
        let script = "for i in 1 2 3; do echo $i; sleep 0.2; done";
        docker
            .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
            .ok();
        assert_eq!(docker.run(["logs", "-f", "it"]).ok(), "1\n2\n3\n");
        // One that has ended is not followed.
        assert_eq!(docker.run(["logs", "-f", "-n", "1", "it"]).ok(), "3\n");
    }

    #[test]
    fn a_container_that_is_removed_is_followed_to_its_end() {
        let docker = both();
        docker
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "busybox",
                "sh",
                "-c",
                "echo first; sleep 1000",
            ])
            .ok();
        let mut follower = docker.start(["logs", "-f", "it"]);
        let mut line = [0; 6];
        follower.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"first\n");
        docker.run(["rm", "-f", "it"]).ok();
        eventually("following never ends", || follower.try_wait().unwrap().is_some());
    }

    #[test]
    fn an_interrupt_ends_following() {
        let docker = both();
        docker
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "busybox",
                "sh",
                "-c",
                "echo first; sleep 1000",
            ])
            .ok();
        let mut follower = docker.start(["logs", "--follow", "--tail", "5", "it"]);
        let mut line = [0; 6];
        follower.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let pid = rustix::process::Pid::from_child(&follower);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        eventually("following goes on", || follower.try_wait().unwrap().is_some());
        docker.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn following_loses_nothing_when_files_are_rotated() {
        let docker = both();
        let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
        let script = "for i in $(seq 1 40); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.05; done";
        docker
            .run(
                [
                    &["run", "-d", "--name", "it"],
                    &options[..],
                    &["busybox", "sh", "-c", script],
                ]
                .concat(),
            )
            .ok();
        let followed = docker.run(["logs", "-f", "it"]).ok();
        let numbers: Vec<u32> = followed.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(1..=4000), "{} lines", numbers.len());
    }

    #[test]
    fn logs_are_rotated() {
        let docker = both();
        let options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
        run_script(&docker, &options, "seq 1 2000");
        let logs = docker.run(["logs", "it"]).ok();
        let numbers: Vec<u32> = logs.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.len() < 2000, "{} lines", numbers.len());
        assert!(numbers.iter().copied().eq(numbers[0]..=2000));
        let tail = docker.run(["logs", "--tail", "150", "it"]).ok();
        assert!(
            tail.lines()
                .map(|line| line.parse::<u32>().unwrap())
                .eq(1851..=2000)
        );
    }

    #[test]
    fn rotated_files_are_compressed_and_read_all_the_same() {
        let docker = both();
        let options = ["max-size=10k", "max-file=4", "compress=true"];
        let options: Vec<&str> = options.iter().flat_map(|it| ["--log-opt", it]).collect();
        run_script(
            &docker,
            &options,
            "for i in $(seq 1 10); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.1; done",
        );
        let path = docker.run(["inspect", "-f", "{{.LogPath}}", "it"]).ok();
        assert!(
            std::path::Path::new(&format!("{}.2.gz", path.trim())).exists(),
            "{path}"
        );
        let logs = docker.run(["logs", "it"]).ok();
        let numbers: Vec<u32> = logs.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(numbers[0]..=1000), "{logs}");
        assert!(numbers.len() > 250, "{} lines", numbers.len());
        let tail = docker.run(["logs", "--tail", "250", "it"]).ok();
        assert!(
            tail.lines()
                .map(|line| line.parse::<u32>().unwrap())
                .eq(751..=1000)
        );
    }

    #[test]
    fn overlong_lines_are_whole_again() {
        let docker = both();
        run_script(
            &docker,
            &[],
            "head -c 40000 /dev/zero | tr '\\0' x; echo; echo next",
        );
        let logs = docker.run(["logs", "it"]).ok();
        assert!(logs == "x".repeat(40000) + "\nnext\n", "{} bytes", logs.len());
        // Pieces count.
        let tail = docker.run(["logs", "--tail", "2", "it"]).ok();
        assert_eq!(tail.len(), 40000 - 2 * 16384 + "\nnext\n".len());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let docker = both();
        run_script(&docker, &[], r"printf 'a\377b\342\202c\000d\033[1m\n'");
        assert_eq!(
            docker.run(["logs", "it"]).ok(),
            "a\u{fffd}b\u{fffd}\u{fffd}c\0d\x1b[1m\n"
        );
    }

    #[test]
    fn a_second_run_adds_to_the_log() {
        let docker = both();
        run_script(&docker, &[], "echo once; printf open");
        docker.run(["start", "-a", "it"]).ok();
        assert_eq!(docker.run(["logs", "it"]).ok(), "once\nopenonce\nopen");
    }

    #[test]
    fn a_container_that_never_ran_has_an_empty_log() {
        let docker = both();
        docker.run(["create", "--name", "it", "busybox", "true"]).ok();
        assert_eq!(docker.run(["logs", "-f", "it"]).ok(), "");
    }
}

#[test]
fn a_slow_reader_delays_nobody() {
    let coracle = sandbox();
    let script = "sleep 0.5; yes 'a line that says little' | head -n 800000";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let mut follower = coracle.start(["logs", "-f", "it"]);
    // It reads nothing, and the container ends all the same.
    assert_eq!(coracle.run(["wait", "it"]).ok(), "0\n");
    let mut text = String::new();
    follower
        .stdout
        .as_mut()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(follower.wait().unwrap().success());
    assert!(text.lines().all(|line| line == "a line that says little"));
    assert!(text.len() > 1_000_000, "{} bytes", text.len());
}

#[test]
fn until_ends_following() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "busybox",
            "sh",
            "-c",
            "echo first; sleep 1000",
        ])
        .ok();
    // Nothing is written any more: the time alone ends it.
    let until = std::time::SystemTime::now() + Duration::from_secs(1);
    let until = until.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(
        coracle
            .run(["logs", "-f", "--until", &until.to_string(), "it"])
            .ok(),
        "first\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn a_client_in_the_foreground_that_does_not_read_holds_its_container_up_and_loses_nothing() {
    let coracle = sandbox();
    let script = "yes | head -c 6000000; touch /done; sleep 0.1";
    let mut client = coracle.start(["run", "--name", "it", "busybox", "sh", "-c", script]);
    eventually("it never runs", || coracle.run(["exec", "it", "true"]).code == 0);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(coracle.run(["exec", "it", "test", "-e", "/done"]).code, 1);
    let mut bytes = Vec::new();
    client.stdout.as_mut().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(bytes.len(), 6_000_000);
}

#[test]
fn a_client_in_the_foreground_that_dies_lets_its_container_go_on() {
    let coracle = sandbox();
    let mut client = coracle.start([
        "run",
        "--name",
        "it",
        "busybox",
        "sh",
        "-c",
        "yes | head -c 6000000",
    ]);
    eventually("it never runs", || coracle.run(["exec", "it", "true"]).code == 0);
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(coracle.run(["wait", "it"]).ok(), "0\n");
}

#[test]
fn an_attached_client_that_does_not_read_is_let_go() {
    let coracle = sandbox();
    let script = "sleep 1; yes | head -c 6000000; sleep 0.1";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let mut client = coracle.start(["attach", "it"]);
    assert_eq!(coracle.run(["wait", "it"]).ok(), "0\n");
    client.kill().unwrap();
    client.wait().unwrap();
}
