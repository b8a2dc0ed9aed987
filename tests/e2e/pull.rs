//! `pull`, from Debian's `docker-registry` on loopback.

use crate::empty;
use crate::registry::Registry;
use std::net::TcpListener;
use std::time::{Duration, Instant};

#[test]
fn an_image_comes_from_a_registry_and_runs() {
    let coracle = empty();
    let registry = Registry::start(coracle.path());
    let archive = testkit::images::busybox(coracle.path());
    registry.push(&archive, "team/tools:1");
    let name = format!("{}/team/tools:1", registry.address);
    let pulled = coracle.run(["pull", &name]).ok();
    assert!(
        pulled.contains("Pulling from") && pulled.contains("Pull complete"),
        "{pulled}"
    );
    assert!(
        pulled.contains(&format!("Status: Downloaded newer image for {name}")),
        "{pulled}"
    );
    assert!(pulled.trim_end().ends_with(&name), "{pulled}");
    let again = coracle.run(["pull", &name]).ok();
    assert!(
        again.contains(&format!("Status: Image is up to date for {name}")),
        "{again}"
    );
    assert_eq!(
        coracle.run(["run", "--rm", &name, "echo", "works"]).ok(),
        "works\n"
    );
    let digest = coracle
        .run(["image", "inspect", "-f", "{{index .RepoDigests 0}}", &name])
        .ok();
    assert!(
        digest.starts_with(&format!("{}/team/tools@sha256:", registry.address)),
        "{digest}"
    );
    coracle.run(["rmi", &name]).ok();
    assert_eq!(
        coracle.run(["pull", "-q", digest.trim()]).ok().trim(),
        digest.trim()
    );
    assert_eq!(
        coracle.run(["run", "--rm", digest.trim(), "echo", "pinned"]).ok(),
        "pinned\n"
    );
    let missing = coracle
        .run(["pull", &format!("{}/team/tools:2", registry.address)])
        .fails(1);
    assert!(missing.contains("not found"), "{missing}");
}

mod both {
    use super::*;

    #[test]
    fn all_tags_of_a_repository_come_at_once() {
        let coracle = crate::both();
        let registry = Registry::start(coracle.path());
        let name = format!("{}/tools", registry.address);
        for tag in ["1", "2"] {
            let tagged = format!("{name}:{tag}");
            coracle.run(["tag", "busybox", &tagged]).ok();
            coracle.run(["push", "-q", &tagged]).ok();
            coracle.run(["rmi", &tagged]).ok();
        }
        let pulled = coracle.run(["pull", "-a", &name]).ok();
        assert!(
            pulled.contains("1: Pulling from ") && pulled.contains("2: Pulling from "),
            "{pulled}"
        );
        for tag in ["1", "2"] {
            coracle.run(["image", "inspect", &format!("{name}:{tag}")]).ok();
        }
        let mixed = coracle.run(["pull", "-a", &format!("{name}:1")]).fails(1);
        assert!(mixed.contains("tag can't be used with --all-tags/-a"), "{mixed}");
    }
}

#[test]
fn run_pulls_what_is_missing_and_says_so_on_standard_error() {
    let coracle = empty();
    let registry = Registry::start(coracle.path());
    registry.push(&testkit::images::busybox(coracle.path()), "tools");
    let name = format!("{}/tools", registry.address);
    let outcome = coracle.run(["run", "--rm", &name, "echo", "works"]);
    assert!(
        outcome
            .stderr
            .contains(&format!("Unable to find image '{name}:latest' locally")),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.ok(), "works\n");
}

#[test]
fn an_unreachable_registry_is_named_with_the_reason() {
    let coracle = empty();
    let start = Instant::now();
    let refused = coracle.run(["pull", "127.0.0.1:1/nothing"]).fails(1);
    assert!(
        refused.contains("127.0.0.1:1") && refused.to_lowercase().contains("refused"),
        "{refused}"
    );
    assert!(start.elapsed() < Duration::from_mins(1));
}

#[test]
fn a_mirror_stands_in() {
    let coracle = empty();
    let registry = Registry::start(coracle.path());
    registry.push(&testkit::images::busybox(coracle.path()), "hub/library/tools:1");
    let config = coracle.write(
        "config.toml",
        &format!(
            "[[mirrors]]\nprefix = 'docker.io'\nendpoint = 'http://{}/hub'\n",
            registry.address
        ),
    );
    coracle
        .run(["--config-file", config.to_str().unwrap(), "pull", "tools:1"])
        .ok();
    assert_eq!(
        coracle.run(["run", "--rm", "tools:1", "echo", "works"]).ok(),
        "works\n"
    );
}

#[test]
fn interrupting_a_pull_ends_it_at_once_and_leaves_nothing() {
    let coracle = empty();
    // Takes the connection and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/never/answers", listener.local_addr().unwrap());
    let child = coracle.start(["pull", &name]);
    let connection = listener.accept().unwrap();
    let start = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let outcome = testkit::sandbox::outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(connection);
    assert_eq!(coracle.run(["images", "-aq"]).ok(), "");
    let left = std::fs::read_dir(coracle.path().join("root/tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "temporary files are left");
}
