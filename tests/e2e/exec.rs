//! `exec`.

use crate::sandbox;

#[test]
fn a_further_process_joins_the_container() {
    let coracle = sandbox();
    coracle
        .run([
            "run", "-d", "--name", "it", "-e", "A=1", "-w", "/tmp", "busybox", "sleep", "100",
        ])
        .ok();
    let exec = |arguments: &[&str]| coracle.run([&["exec"], arguments].concat());
    assert_eq!(
        exec(&["it", "sh", "-c", "echo $A; pwd; cat /proc/1/comm"]).ok(),
        "1\n/tmp\nsleep\n"
    );
    assert_eq!(
        exec(&[
            "-e",
            "A=2",
            "-w",
            "/etc",
            "-u",
            "app",
            "it",
            "sh",
            "-c",
            "echo $A $PWD $(id -u)"
        ])
        .ok(),
        "2 /etc 1000\n"
    );
    assert_eq!(exec(&["it", "sh", "-c", "exit 4"]).code, 4);
    assert_eq!(exec(&["it", "nosuch"]).code, 127);
    assert_eq!(exec(&["it", "/etc"]).code, 126);
    assert_eq!(
        coracle
            .run_with_input(["exec", "-i", "it", "cat"], b"through")
            .ok(),
        "through"
    );
    exec(&["-d", "it", "touch", "/tmp/made"]).ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while exec(&["it", "test", "-e", "/tmp/made"]).code != 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the detached process never ran"
        );
    }
    let rights = exec(&[
        "it",
        "grep",
        "-E",
        "CapInh|CapBnd|CapAmb|Seccomp:",
        "/proc/self/status",
    ])
    .ok();
    let words: Vec<_> = rights.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "CapInh:",
            "0000000000000000",
            "CapBnd:",
            "00000000a80425fb",
            "CapAmb:",
            "0000000000000000",
            "Seccomp:",
            "2"
        ]
    );
    coracle.run(["rm", "-f", "it"]).ok();
    let dead = exec(&["it", "true"]).fails(1);
    assert!(dead.contains("No such container: it"), "{dead}");
}

#[test]
fn a_stopped_container_takes_no_process() {
    let coracle = sandbox();
    let id = coracle.run(["create", "--name", "it", "busybox"]).ok();
    let refused = coracle.run(["exec", "it", "true"]).fails(1);
    assert!(
        refused.contains(&format!("container {} is not running", id.trim())),
        "{refused}"
    );
}
