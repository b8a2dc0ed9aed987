//! SIGKILL, and an error, at every failpoint that the scenarios pass.

use crate::world::{World, words};
use crate::{percentiles, report};
use std::collections::BTreeSet;
use std::time::Duration;

/// Commands one after the other. `{dir}` is the sandbox's directory, `{registry}` the registry's address.
pub(crate) const SCENARIOS: [(&str, &[&str]); 15] = [
    ("run", &["run --name it --network none busybox echo hello"]),
    (
        "run -d, stop",
        &["run -d --name it busybox sleep 1000", "stop -t 0 it"],
    ),
    (
        "run --rm on the bridge",
        &["run --rm -p 127.0.0.1:0:80 busybox echo hello"],
    ),
    (
        "create, start, rm",
        &[
            "create --name it -v /data busybox true",
            "start -a it",
            "rm -v it",
        ],
    ),
    (
        "exec",
        &[
            "run -d --name it busybox sleep 1000",
            "exec it echo hello",
            "rm -f it",
        ],
    ),
    (
        "cp",
        &[
            "create --name it busybox true",
            "cp {dir}/in/file it:/tmp",
            "cp it:/tmp/file {dir}/out",
        ],
    ),
    ("load", &["load -q -i {dir}/extra.tar", "rmi extra"]),
    ("pull", &["pull -q {registry}/chaos", "rmi {registry}/chaos"]),
    ("build", &["build -q -t built {dir}/context", "rmi built"]),
    (
        "volume",
        &[
            "volume create fresh",
            "run --rm -v fresh:/etc --network none busybox true",
            "volume rm fresh",
        ],
    ),
    (
        "volume with options",
        &[
            "volume create -o type=tmpfs -o device=tmpfs memory",
            "run --rm -v memory:/memory --network none busybox touch /memory/file",
            "volume rm memory",
        ],
    ),
    (
        "versions",
        &[
            "volume create fresh",
            "run -d --name it -v fresh:/etc --network none busybox sleep 1000",
            "volume snapshot fresh one",
            "volume clone fresh:one other",
            "rm -f it",
            "volume restore fresh one",
            "volume import third {dir}/extra.tar",
            "volume forget fresh one",
            "volume rm --versions fresh other third",
        ],
    ),
    (
        "network",
        &[
            "network create net",
            "run --rm --network net busybox true",
            "network rm net",
        ],
    ),
    (
        "network connect",
        &[
            "network create net",
            "run -d --name it busybox sleep 1000",
            "network connect net it",
            "network disconnect bridge it",
            "rm -f it",
            "network rm net",
        ],
    ),
    (
        "prune",
        &["create --name it busybox true", "system prune -af --volumes"],
    ),
];

pub(crate) fn commands(world: &World, scenario: &[&str]) -> Vec<Vec<String>> {
    scenario
        .iter()
        .map(|command| {
            let command = command
                .replace("{dir}", world.sandbox.path().to_str().unwrap())
                .replace("{registry}", &world.registry.host());
            words(&command)
        })
        .collect()
}

/// Returns the points that a command passes, and which of them can fail.
fn trace(world: &World, command: &[String]) -> (Vec<String>, Vec<String>) {
    let path = world.sandbox.path().join("trace");
    std::fs::write(&path, "").unwrap();
    let ended = world.run(command, "", Some(&path));
    assert_eq!(ended.outcome.code, 0, "{command:?}: {}", ended.outcome.stderr);
    // A monitor tells its end before it has done the last of its work.
    std::thread::sleep(Duration::from_millis(100));
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut all, mut fallible, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for line in text.lines() {
        let (key, kind) = line.split_once(' ').unwrap();
        let count: u32 = key.rsplit('#').next().unwrap().parse().unwrap();
        // A step that is done for each of many things is the same step.
        if count > 12 || !seen.insert(key.to_owned()) {
            continue;
        }
        all.push(key.to_owned());
        if kind == "reach" {
            fallible.push(key.to_owned());
        }
    }
    (all, fallible)
}

fn every_point_of(scenario: &str, action: &str) {
    let world = World::new();
    let (name, scenario) = SCENARIOS.into_iter().find(|(name, _)| *name == scenario).unwrap();
    let commands = commands(&world, scenario);
    let path = world.sandbox.path().join("trace");
    let (mut tried, mut hit, mut healing) = (0, 0, Vec::new());
    for (position, command) in commands.iter().enumerate() {
        let prepare = || {
            for command in &commands[..position] {
                let ended = world.run(command, "", None);
                assert_eq!(ended.outcome.code, 0, "{command:?}: {}", ended.outcome.stderr);
            }
        };
        prepare();
        let (all, fallible) = trace(&world, command);
        assert!(!all.is_empty(), "{name}: {command:?} passes nothing");
        world.assert_clean(name);
        for point in if action == "kill" { all } else { fallible } {
            let context = format!("{name}: {}: {point}={action}", command.join(" "));
            prepare();
            std::fs::write(&path, "").unwrap();
            let ended = world.run(command, &format!("{point}={action}"), Some(&path));
            tried += 1;
            hit += usize::from(
                std::fs::read_to_string(&path)
                    .unwrap()
                    .contains(&format!("{point} {action}")),
            );
            if action == "error" && ended.outcome.code != 0 {
                assert!(
                    !ended.outcome.stderr.trim().is_empty(),
                    "{context}: fails without a word"
                );
            }
            healing.push(world.heal(&context));
            // Once more: it works, or what was done before the kill is in the way.
            let again = world.run(command, "", None);
            let in_the_way = [
                "in use",
                "already",
                "something in it",
                "No such",
                "not running",
                "not found",
                "no such",
            ];
            assert!(
                again.outcome.code == 0 || in_the_way.iter().any(|text| again.outcome.stderr.contains(text)),
                "{context}: again: {} {}",
                again.outcome.code,
                again.outcome.stderr
            );
            world.clear();
            // And all of it from the start.
            for command in &commands {
                let ended = world.run(command, "", None);
                assert_eq!(
                    ended.outcome.code, 0,
                    "{context}: afterwards {command:?}: {}",
                    ended.outcome.stderr
                );
            }
            world.assert_clean(&context);
        }
    }
    report(&format!(
        "{name}: {action} at {hit} of {tried} points; healing: {}",
        percentiles(&mut healing)
    ));
    // Which process passes a point first is not the same every time; most of them are.
    assert!(
        hit * 10 >= tried * 8,
        "{name}: only {hit} of {tried} points were passed again"
    );
}

macro_rules! scenarios {
    ($($test:ident $scenario:literal;)*) => {
        mod killed {
            $(#[test] fn $test() { super::every_point_of($scenario, "kill"); })*
        }
        mod failing {
            $(#[test] fn $test() { super::every_point_of($scenario, "error"); })*
        }
    };
}

scenarios! {
    run "run";
    run_and_stop "run -d, stop";
    run_on_the_bridge "run --rm on the bridge";
    create_start_rm "create, start, rm";
    exec "exec";
    cp "cp";
    load "load";
    pull "pull";
    build "build";
    volume "volume";
    volume_with_options "volume with options";
    versions "versions";
    network "network";
    network_connect "network connect";
    prune "prune";
}

/// Healing may be killed, too.
#[test]
fn a_healer_killed_at_every_point_is_healed() {
    let world = World::new();
    let path = world.sandbox.path().join("trace");
    let begin = || {
        world
            .run(
                &words("run -d --name it -p 127.0.0.1:0:80 -v /data busybox sleep 1000"),
                "",
                None,
            )
            .outcome
            .ok();
        let monitors = world.monitors();
        assert_eq!(monitors.len(), 1, "{monitors:?}");
        monitors.into_iter().for_each(crate::world::kill);
        std::thread::sleep(Duration::from_millis(20));
    };
    begin();
    std::fs::write(&path, "").unwrap();
    let (all, _) = trace(&world, &words("ps -a"));
    assert!(all.iter().any(|point| point.contains("heal.")), "{all:?}");
    world.assert_clean("healing");
    for point in all {
        let context = format!("healing: {point}=kill");
        begin();
        world.run(&words("ps -a"), &format!("{point}=kill"), None);
        world.heal(&context);
        world.run(&words("start it"), "", None).outcome.ok();
        world.assert_clean(&context);
    }
}
