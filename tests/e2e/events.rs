//! `events`.

use crate::sandbox;
use std::io::{BufRead, BufReader, Read};

mod both {
    use crate::both;

    #[test]
    fn a_life_is_told_in_dockers_order() {
        let docker = both();
        let label = "--label=coracle-test=life";
        docker
            .run([
                "run",
                "--rm",
                "--name",
                "told",
                label,
                "-v",
                "told-data:/data",
                "busybox",
                "true",
            ])
            .ok();
        docker
            .run(["run", "-d", "--name", "told2", label, "busybox", "sleep", "100"])
            .ok();
        docker.run(["exec", "told2", "true"]).ok();
        docker.run(["pause", "told2"]).ok();
        docker.run(["unpause", "told2"]).ok();
        docker.run(["rename", "told2", "told3"]).ok();
        docker.run(["kill", "-s", "KILL", "told3"]).ok();
        docker.run(["wait", "told3"]).ok();
        docker.run(["rm", "told3"]).ok();
        docker.run(["volume", "rm", "told-data"]).ok();
        // Docker's client makes whole seconds of `0s`, which would leave out what happened in the last one.
        let now = crate::next_second();
        let told = |filters: &[&str]| {
            let mut arguments = vec![
                "events",
                "--since",
                "1h",
                "--until",
                &now,
                "--format",
                "{{.Action}}",
            ];
            for filter in filters {
                arguments.extend(["--filter", filter]);
            }
            docker.run(arguments).ok()
        };
        assert_eq!(
            told(&[
                "container=told",
                "type=container",
                "label=coracle-test=life",
                "event=create",
                "event=start",
                "event=die",
                "event=destroy"
            ])
            .lines()
            .filter(|line| *line != "exec_die")
            .take(4)
            .collect::<Vec<_>>(),
            ["create", "start", "die", "destroy"]
        );
        let third = told(&["type=container", "container=told3"]);
        let actions: Vec<&str> = third.lines().collect();
        assert_eq!(actions, ["rename", "kill", "die", "destroy"]);
        let second = told(&["type=container", "container=told2"]);
        for action in [
            "exec_create: true",
            "exec_start: true",
            "exec_die",
            "pause",
            "unpause",
        ] {
            assert!(second.lines().any(|line| line == action), "{action}: {second}");
        }
        let volume = told(&["type=volume", "volume=told-data"]);
        assert_eq!(
            volume.lines().collect::<Vec<_>>(),
            ["create", "mount", "unmount", "destroy"]
        );
    }

    #[test]
    fn attributes_say_what_docker_says() {
        let docker = both();
        docker
            .run([
                "run", "--name", "coded", "--label", "tier=db", "busybox", "sh", "-c", "exit 7",
            ])
            .fails(7);
        let now = crate::next_second();
        let arguments = [
            "events",
            "--since",
            "1h",
            "--until",
            &now,
            "--filter",
            "container=coded",
        ];
        let die = docker
            .run(arguments.iter().copied().chain([
                "--filter",
                "event=die",
                "--format",
                "{{.Type}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.tier}}",
            ]))
            .ok();
        assert_eq!(die, "container coded 7 db\n");
        let json = docker
            .run(
                arguments
                    .iter()
                    .copied()
                    .chain(["--filter", "event=create", "--format", "json"]),
            )
            .ok();
        let event: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(event["Type"], "container");
        assert_eq!(event["Action"], "create");
        assert_eq!(event["scope"], "local");
        assert_eq!(event["Actor"]["Attributes"]["name"], "coded");
        assert!(event["timeNano"].as_i64().unwrap() / 1_000_000_000 == event["time"].as_i64().unwrap());
        docker.run(["rm", "coded"]).ok();
    }
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let coracle = sandbox();
    let mut follower = coracle.start([
        "events",
        "--filter",
        "type=container",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ]);
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Whether it listens already nobody can say, so containers are made until it does.
    let made = std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let coracle = &coracle;
        let maker = scope.spawn(move || {
            for number in 0..200 {
                coracle
                    .run(["create", "--name", &format!("made-{number}"), "busybox"])
                    .ok();
                if receiver
                    .recv_timeout(std::time::Duration::from_millis(50))
                    .is_ok()
                {
                    break;
                }
            }
        });
        let first = lines.next().unwrap().unwrap();
        sender.send(()).unwrap();
        maker.join().unwrap();
        first
    });
    assert!(made.starts_with("create made-"), "{made}");
    coracle
        .run(["run", "--rm", "--name", "seen", "busybox", "true"])
        .ok();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| line != "destroy seen") {
        let line = lines.next().unwrap().unwrap();
        if line.ends_with(" seen") {
            seen.push(line);
        }
    }
    assert_eq!(
        seen,
        [
            "create seen",
            "attach seen",
            "start seen",
            "die seen",
            "destroy seen"
        ]
    );
    // Sleeping between commits is what makes it free.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", follower.id())).unwrap();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    assert!(state == "S" || state == "R", "{stat}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn it_ends_with_its_reader() {
    let coracle = sandbox();
    let mut follower = coracle.start(["events"]);
    drop(follower.stdout.take());
    assert!(follower.wait().unwrap().success());
    let mut complaint = String::new();
    follower
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(complaint, "");
}

#[test]
fn mistakes_are_named() {
    let coracle = sandbox();
    for (arguments, expected) in [
        (
            &["events", "--filter", "colour=red"][..],
            "invalid filter 'colour'",
        ),
        (&["events", "--since", "yesterday"], "yesterday"),
        (&["events", "--since", "1m", "--until", "2m"], "cannot be after"),
        (
            &[
                "events",
                "--format",
                "{{.Nosuch}}",
                "--since",
                "1h",
                "--until",
                "0s",
            ],
            "Nosuch",
        ),
    ] {
        let said = coracle.run(arguments).fails(1);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
