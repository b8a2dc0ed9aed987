//! The engine's own program and processes, as seen from inside.

use super::{finish, wait_for_log, with_attacker};
use crate::sandbox;
use std::os::unix::fs::MetadataExt;
use testkit::{Sandbox, attack};

/// Which file the engine's program is: device and inode.
fn identity(coracle: &Sandbox) -> (String, String) {
    let about = std::fs::metadata(coracle.program()).unwrap();
    (about.dev().to_string(), about.ino().to_string())
}

/// CVE-2019-5736: the container executes the engine's program, which it reaches as its own `/proc/self/exe`, keeps a
/// descriptor of it, and opens that for writing when the program has ended and its file is no longer busy.
#[test]
fn the_program_cannot_be_overwritten_through_proc_exe() {
    let coracle = sandbox();
    let before = std::fs::read(coracle.program()).unwrap();
    let (device, inode) = identity(&coracle);
    let bind = with_attacker();
    coracle
        .run(["run", "-d", "--name", "it", &bind, "busybox", "/attacker", "exe"])
        .ok();
    coracle.run(["exec", "it", "mkfifo", "/tmp/fifo"]).ok();
    // Nothing is left to chance here, so that a few rounds are as good as many.
    for _ in 0..attack::rounds().min(20) {
        // The engine itself is the command; it waits for somebody to write into the FIFO, so there is time to look.
        let mut engine = coracle.start(["exec", "it", "/proc/self/exe", "load", "-i", "/tmp/fifo"]);
        drop(engine.stdin.take());
        // A writer that is there before the engine waits for it in vain, and then the next one is tried.
        while engine.try_wait().unwrap().is_none() {
            let write = "echo x > /tmp/fifo & sleep 0.1; kill $! 2>/dev/null; true";
            coracle.run(["exec", "it", "sh", "-c", write]);
        }
    }
    coracle.run(["exec", "it", "touch", "/tmp/stop"]).ok();
    let found = finish(&coracle, "it");
    assert!(found.contains("done\n"), "{found}");
    assert!(found.contains("seen "), "the attack saw nothing: {found}");
    // While some process of ours runs, its file is busy and cannot be written anyway. What the attacker holds must be
    // of no use to it when none does.
    let held = format!("seen {device}:{inode} rw");
    assert!(
        !found.contains(&held),
        "the attacker holds the program itself: {found}"
    );
    let stolen = format!("writable {device}:{inode}");
    assert!(
        !found.contains(&stolen),
        "the engine's program could be written: {found}"
    );
    assert!(
        std::fs::read(coracle.program()).unwrap() == before,
        "the engine's program was written"
    );
}

/// CVE-2016-9962: until it executes, a process on its way into a container has the host's descriptors and our memory.
/// Without new privileges it gives up its last right early, so that an ordinary container might look in.
#[test]
fn processes_on_their_way_in_cannot_be_looked_into() {
    let coracle = sandbox();
    let (device, inode) = identity(&coracle);
    let bind = with_attacker();
    let run = [
        "run",
        "-d",
        "--name",
        "it",
        "--security-opt",
        "no-new-privileges",
        &bind,
    ];
    coracle
        .run([&run[..], &["busybox", "/attacker", "peek", &device, &inode]].concat())
        .ok();
    wait_for_log(&coracle, "it", "ready");
    for _ in 0..2 * attack::rounds() {
        coracle.run(["exec", "it", "true"]).ok();
    }
    coracle.run(["exec", "it", "touch", "/tmp/stop"]).ok();
    let found = finish(&coracle, "it");
    assert!(!found.contains("caught"), "{found}");
    assert!(found.contains("done\n"), "{found}");
}

/// The built-in init is our program for as long as the container lives.
#[test]
fn the_init_cannot_be_looked_into() {
    let coracle = sandbox();
    let init = ["run", "-d", "--init", "--name", "it", "busybox", "sleep", "100"];
    coracle.run(init).ok();
    for file in ["exe", "cwd", "root", "mem", "environ", "maps"] {
        let path = format!("/proc/1/{file}");
        let looked = coracle.run([
            "exec",
            "it",
            "sh",
            "-c",
            &format!("cat {path} | head -c 1; readlink {path}; true"),
        ]);
        assert_eq!(looked.stdout, "", "{file}: {looked:?}");
    }
    // How many descriptors it has may be known; where they lead may not.
    let script = "cd /proc/1/fd; for n in *; do readlink $n; cat $n | head -c 1; done; true";
    let looked = coracle.run(["exec", "it", "sh", "-c", script]);
    assert_eq!(looked.stdout, "", "{looked:?}");
}
