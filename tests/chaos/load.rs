//! Many at once: idle containers side by side, and short ones in a stream.

use crate::world::{World, start_quietly, words};
use crate::{number, percentiles, report};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use testkit::sandbox::outcome;

/// Returns the kilobytes that are a process's own share of memory.
fn proportional_share(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("Pss:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

fn average(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() * 1000.0 / f64::from(u32::try_from(times.len()).unwrap())
}

#[test]
fn idle_containers() {
    let world = World::new();
    let count = number("CORACLE_LOAD_IDLE", 40);
    let mut starts = Vec::new();
    for position in 0..count {
        // Every fourth has an address and a port.
        let network = if position % 4 == 0 {
            "-p 127.0.0.1:0:80"
        } else {
            "--network none"
        };
        let command = words(&format!(
            "run -d --name idle{position} {network} busybox sleep 100000"
        ));
        let ended = world.run(&command, "", None);
        assert_eq!(
            ended.outcome.code, 0,
            "number {position}: {}",
            ended.outcome.stderr
        );
        starts.push(ended.took);
    }
    let (first, last) = (&starts[..count.min(20)], &starts[count - count.min(20)..]);
    report(&format!(
        "{count} idle containers: the first twenty started in {:.1} ms each, the last twenty in {:.1} ms",
        average(first),
        average(last)
    ));
    std::thread::sleep(Duration::from_secs(1));
    let monitors = world.monitors();
    assert_eq!(monitors.len(), count);
    let kilobytes: u64 = monitors.into_iter().map(proportional_share).sum();
    let each = kilobytes / u64::try_from(count).unwrap();
    report(&format!("{count} idle containers: {each} kB of memory each"));
    // So much that nobody notices a compiler's choice, so little that a page table too many fails.
    assert!(each < 1000, "{each} kB for an idle container");
    let mut times = Vec::new();
    for _ in 0..20 {
        let listed = world.run(&words("ps -q"), "", None);
        assert_eq!(listed.outcome.ok().lines().count(), count + 1);
        times.push(listed.took);
    }
    report(&format!("ps with {count} running: {}", percentiles(&mut times)));
    let ids: Vec<String> = (0..count).map(|position| format!("idle{position}")).collect();
    let removal = world.run_on_many(&[words("rm -f"), ids].concat());
    assert_eq!(removal.outcome.code, 0, "{}", removal.outcome.stderr);
    report(&format!("rm -f of {count}: {:.1} s", removal.took.as_secs_f64()));
    world.assert_clean("idle containers");
}

#[test]
fn short_runs_in_parallel() {
    let world = World::new();
    let (runs, parallel) = (
        number("CORACLE_LOAD_RUNS", 100),
        number("CORACLE_LOAD_PARALLEL", 16),
    );
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..runs).collect());
    let (failures, times) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    let Some(run) = waiting.lock().unwrap().pop_front() else {
                        return;
                    };
                    let network = match run % 4 {
                        0 => "-p 127.0.0.1:0:80",
                        1 => "--network bridge",
                        _ => "--network none",
                    };
                    let command = words(&format!("run --rm {network} busybox echo {run}"));
                    let begun = Instant::now();
                    let child = start_quietly(world.command(&command, "", None));
                    let outcome = outcome(&child.wait_with_output().unwrap());
                    times.lock().unwrap().push(begun.elapsed());
                    if outcome.code != 0 || outcome.stdout != format!("{run}\n") || !outcome.stderr.is_empty()
                    {
                        failures.lock().unwrap().push((command, outcome));
                    }
                }
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {runs} failed: {:#?}",
        failures.len(),
        failures.first()
    );
    let mut times = times.into_inner().unwrap();
    report(&format!(
        "{runs} run --rm at {parallel} in parallel: {took:.1} s, {:.1} a second; {}",
        f64::from(u32::try_from(runs).unwrap()) / took,
        percentiles(&mut times)
    ));
    world.assert_clean("short runs");
}
