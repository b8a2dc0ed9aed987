//! A container that behaves badly slows nobody else down.

use crate::world::{World, words};
use crate::{number, percentiles, report};
use std::time::{Duration, Instant};

/// The promise is a second on a machine that does nothing else; on a busy one, and without optimisation, much more
/// is still not a hang.
const BOUND: Duration = Duration::from_secs(10);

fn beside(name: &str, offender: &[&str]) {
    let world = World::new();
    let command: Vec<String> = [&["run", "-d", "--name", "offender"], offender]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    world.run(&command, "", None).outcome.ok();
    std::thread::sleep(Duration::from_secs(1));
    let (mut all, mut worst) = (Vec::new(), (Duration::ZERO, ""));
    for _ in 0..number("CORACLE_LOAD_ROUNDS", 3) {
        for command in [
            "ps -a",
            "run --rm busybox true",
            "run -d --name other busybox sleep 1000",
            "exec other true",
            "stop -t 0 other",
            "rm other",
        ] {
            let ended = world.run(&words(command), "", None);
            assert_eq!(
                ended.outcome.code, 0,
                "{name}: {command}: {}",
                ended.outcome.stderr
            );
            assert!(ended.took < BOUND, "{name}: {command} took {:?}", ended.took);
            if ended.took > worst.0 {
                worst = (ended.took, command);
            }
            all.push(ended.took);
        }
    }
    report(&format!(
        "beside {name}: {}; worst: {}",
        percentiles(&mut all),
        worst.1
    ));
    let start = Instant::now();
    world.run(&words("rm -f offender"), "", None).outcome.ok();
    let took = start.elapsed();
    report(&format!("rm -f of {name}: {:.1} ms", took.as_secs_f64() * 1000.0));
    assert!(took < BOUND, "{name}: rm -f took {took:?}");
    world.assert_clean(name);
}

#[test]
fn a_flood_of_log() {
    beside(
        "a flood of log",
        &["busybox", "yes", "a line of output that nobody will ever read"],
    );
}

#[test]
fn a_flood_of_log_in_two_byte_lines() {
    beside("a flood of short lines", &["busybox", "yes", ""]);
}

#[test]
fn a_fork_bomb() {
    // No limit is asked for: the default one has to be enough.
    beside(
        "a fork bomb",
        &[
            "busybox",
            "sh",
            "-c",
            "bomb() { while :; do bomb & done; }; bomb; sleep 1000",
        ],
    );
}

#[test]
fn processes_that_spin() {
    let spin = "for i in $(seq 50); do (while :; do :; done) & done; while :; do :; done";
    beside("fifty processes that spin", &["busybox", "sh", "-c", spin]);
}

#[test]
fn an_eater_of_memory() {
    // Killed for its greed again and again; started again each time.
    beside(
        "an eater of memory",
        &["-m", "64m", "--restart", "always", "busybox", "tail", "/dev/zero"],
    );
}

#[test]
fn a_writer_of_files() {
    let write = "while :; do dd if=/dev/zero of=/tmp/file bs=1048576 count=200 2>/dev/null; done";
    beside("a writer of files", &["busybox", "sh", "-c", write]);
}
