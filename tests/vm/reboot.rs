//! A real reboot. `scripts/test-vm` runs the first of these, has the machine reboot, and runs the second.

use crate::eventually;
use std::process::Command;
use testkit::Outcome;

/// Where everything is until after the reboot.
const PLACE: &str = "/var/lib/coracle-reboot";

fn run(arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command
        .args([
            "--root",
            &format!("{PLACE}/root"),
            "--run-root",
            "/run/coracle-reboot",
        ])
        .args(arguments)
        .env("DOCKER_CONFIG", PLACE);
    testkit::outcome(&command.output().unwrap())
}

fn status(name: &str) -> String {
    let filter = format!("name=^{name}$");
    run(&["ps", "-a", "--filter", &filter, "--format", "{{.Status}}"]).ok()
}

#[test]
#[ignore = "it is the half before a reboot: make test-vm"]
fn before() {
    std::fs::create_dir_all(PLACE).unwrap();
    let archive = testkit::images::busybox(std::path::Path::new(PLACE));
    run(&["load", "-q", "-i", archive.to_str().unwrap()]).ok();
    run(&["network", "create", "--subnet", "10.87.0.0/24", "inner"]).ok();
    // It says good-bye when it is stopped in order, and counts its runs in a volume.
    let serve =
        "echo run >>/data/runs; trap 'echo stopped >>/data/runs; exit 0' TERM; while :; do sleep 0.2; done";
    for (name, policy) in [
        ("kept", "always"),
        ("wanted", "unless-stopped"),
        ("rested", "unless-stopped"),
        ("once", "no"),
    ] {
        let volume = format!("{name}:/data");
        run(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            policy,
            "--network",
            "inner",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            serve,
        ])
        .ok();
    }
    run(&["stop", "rested"]).ok();
    run(&["system", "install"]).ok();
    assert!(status("kept").starts_with("Up"));
}

#[test]
#[ignore = "it is the half after a reboot: make test-vm"]
fn after() {
    eventually("the containers run again", || {
        status("kept").starts_with("Up") && status("wanted").starts_with("Up")
    });
    for (name, expected) in [
        ("kept", "run\nstopped\nrun\n"),
        ("wanted", "run\nstopped\nrun\n"),
        ("rested", "run\nstopped\n"),
        ("once", "run\nstopped\n"),
    ] {
        let runs = || {
            run(&[
                "run",
                "--rm",
                "-v",
                &format!("{name}:/data"),
                "busybox",
                "cat",
                "/data/runs",
            ])
            .ok()
        };
        eventually(
            &format!("{name} has run as often as it should: {}", runs()),
            || runs() == expected,
        );
    }
    assert!(status("rested").starts_with("Exited (0)"), "{}", status("rested"));
    assert!(status("once").starts_with("Exited (0)"), "{}", status("once"));
    // They find each other: network, names and rules were made anew.
    run(&["exec", "kept", "ping", "-c", "1", "-w", "20", "wanted"]).ok();
    run(&["system", "install", "--remove"]).ok();
    run(&["rm", "-f", "kept", "wanted", "rested", "once"]).ok();
    run(&["system", "prune", "-af", "--volumes"]).ok();
    std::fs::remove_dir_all(PLACE).unwrap();
}
