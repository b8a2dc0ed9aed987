//! `top`.

use crate::sandbox;

mod both {
    use crate::both;

    #[test]
    fn the_processes_are_shown_as_ps_shows_them() {
        let coracle = both();
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "busybox",
                "sh",
                "-c",
                "sleep 1001 & sleep 1002; true",
            ])
            .ok();
        while coracle.run(["top", "it"]).ok().lines().count() < 4 {}
        let top = coracle.run(["top", "it"]).ok();
        let titles: Vec<&str> = top.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        // Columns are at least twenty wide, and what a process was called with stays together.
        assert!(top.lines().all(|line| line.len() > 140), "{top}");
        let mut commands: Vec<&str> = top.lines().skip(1).map(|line| line[140..].trim()).collect();
        commands.sort_unstable();
        assert_eq!(
            commands,
            ["sh -c sleep 1001 & sleep 1002; true", "sleep 1001", "sleep 1002"]
        );
        let some = coracle.run(["top", "it", "-eo", "pid,ppid,user,comm"]).ok();
        let rows: Vec<Vec<&str>> = some
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0], ["PID", "PPID", "USER", "COMMAND"]);
        assert_eq!(rows.len(), 4);
        let shell = rows.iter().find(|row| row[3] == "sh").unwrap();
        assert!(
            rows[1..]
                .iter()
                .all(|row| row[2] == "root" && (row[3] == "sh" || row[1] == shell[0])),
            "{some}"
        );
        let wide = coracle.run(["top", "it", "aux"]).ok();
        let titles: Vec<&str> = wide.lines().next().unwrap().split_whitespace().collect();
        let expected = [
            "USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND",
        ];
        assert_eq!(titles, expected);
        coracle.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn a_paused_container_has_processes_and_a_stopped_one_has_none() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["pause", "it"]).ok();
        assert!(coracle.run(["top", "it"]).ok().contains("sleep 1000"));
        coracle.run(["unpause", "it"]).ok();
        coracle.run(["kill", "it"]).ok();
        let stopped = coracle.run(["top", "it"]).fails(1);
        assert!(stopped.contains("is not running"), "{stopped}");
        let missing = coracle.run(["top", "nosuch"]).fails(1);
        assert!(missing.contains("No such container: nosuch"), "{missing}");
    }

    #[test]
    fn what_exec_runs_is_among_them() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        coracle.run(["exec", "-d", "it", "sleep", "2000"]).ok();
        let mut shown = String::new();
        while !shown.contains("sleep 2000") {
            shown = coracle.run(["top", "it", "-o", "pid,args"]).ok();
        }
        assert!(shown.contains("sleep 1000"), "{shown}");
        coracle.run(["rm", "-f", "it"]).ok();
    }
}

#[test]
fn nothing_in_a_name_acts_on_the_terminal_and_no_program_of_the_image_runs() {
    let coracle = sandbox();
    let script = "cp /bin/busybox /bin/ps; echo '#!/bin/sh\ntouch /tmp/ran' >/bin/ps; \
                  exec sh -c 'sleep 1000; true' \"$(printf 'a\\033[2J\\nb')\"";
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
        .ok();
    let mut shown = String::new();
    while !shown.contains("sleep 1000; true a") {
        shown = coracle.run(["top", "it", "-o", "args"]).ok();
    }
    assert!(shown.contains("a?[2J?b"), "{shown}");
    coracle.run(["exec", "it", "test", "!", "-e", "/tmp/ran"]).ok();
    coracle.run(["rm", "-f", "it"]).ok();
}

#[test]
fn options_that_mean_nothing_here_are_named() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
        .ok();
    for (option, part) in [("--sort=pid", "--sort=pid"), ("-Z", "-Z"), ("-onosuch", "nosuch")] {
        let message = coracle.run(["top", "it", option]).fails(1);
        assert!(message.contains(part), "{message}");
    }
    // Docker's wants a column of pids; we know them without.
    assert_eq!(coracle.run(["top", "it", "-o", "comm="]).ok(), "sleep\n");
    coracle.run(["rm", "-f", "it"]).ok();
}
