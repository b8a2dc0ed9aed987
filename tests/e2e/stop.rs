//! `start`, `stop`, `kill`, `restart`, `wait`, `rm`.

use crate::sandbox;

mod both {
    use crate::both;
    use std::time::Instant;

    #[test]
    fn stop_asks_and_then_insists() {
        let coracle = both();
        let polite = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
        coracle
            .run(["run", "-d", "--name", "polite", "busybox", "sh", "-c", polite])
            .ok();
        let deaf = "trap '' TERM; while :; do sleep 0.05; done";
        coracle
            .run(["run", "-d", "--name", "deaf", "busybox", "sh", "-c", deaf])
            .ok();
        assert_eq!(coracle.run(["stop", "polite"]).ok(), "polite\n");
        assert_eq!(coracle.run(["wait", "polite"]).ok(), "3\n");
        let start = Instant::now();
        coracle.run(["stop", "-t", "1", "deaf"]).ok();
        assert!(start.elapsed().as_secs() >= 1);
        assert_eq!(coracle.run(["wait", "deaf"]).ok(), "137\n");
        coracle.run(["stop", "deaf"]).ok();
    }

    #[test]
    fn kill_sends_any_signal() {
        let coracle = both();
        let script = "trap 'exit 5' USR1; while :; do sleep 0.05; done";
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
            .ok();
        coracle.run(["kill", "-s", "SIGUSR1", "it"]).ok();
        assert_eq!(coracle.run(["wait", "it"]).ok(), "5\n");
        let dead = coracle.run(["kill", "it"]).fails(1);
        assert!(dead.contains("is not running"), "{dead}");
    }
}

#[test]
fn a_running_container_is_not_removed_by_accident() {
    let coracle = sandbox();
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sleep", "100"])
        .ok();
    let refused = coracle.run(["rm", "it"]).fails(1);
    assert!(
        refused.contains("container is running: stop the container before removing or force remove"),
        "{refused}"
    );
    coracle.run(["restart", "-t", "0", "it"]).ok();
    assert_eq!(
        coracle.run(["inspect", "-f", "{{.State.Running}}", "it"]).ok(),
        "true\n"
    );
    coracle.run(["rm", "-f", "it"]).ok();
    let gone = coracle.run(["start", "it"]).fails(1);
    assert!(gone.contains("No such container: it"), "{gone}");
}

#[test]
fn rm_takes_anonymous_volumes_only_when_asked() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--name",
            "holder",
            "-v",
            "/data",
            "-v",
            "named:/named",
            "busybox",
            "true",
        ])
        .ok();
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok().lines().count(), 2);
    coracle.run(["rm", "-v", "holder"]).ok();
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "named\n");
}
