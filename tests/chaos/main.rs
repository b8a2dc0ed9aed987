//! Whatever is killed, at whatever moment, and however many there are: nothing leaks, nothing hangs.
//!
//! How much of it runs is asked for by the environment (`make chaos` and `make load` ask for more than `make test`):
//! `CORACLE_CHAOS_KILLS`, `CORACLE_CHAOS_SEED`, `CORACLE_LOAD_IDLE`, `CORACLE_LOAD_RUNS`, `CORACLE_LOAD_PARALLEL`,
//! `CORACLE_LOAD_ROUNDS`;
//! `CORACLE_PROGRAM` names another binary than the one of these tests, to be measured.
#![cfg(test)]

mod floods;
mod kills;
mod load;
mod points;
mod world;

use std::io::Write;
use std::time::Duration;

/// The binary under test.
fn program() -> String {
    std::env::var("CORACLE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_coracle").to_owned())
}

/// Returns a number from the environment, or `default`.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Tells whoever runs the tests what was measured.
fn report(line: &str) {
    writeln!(std::io::stderr(), "chaos: {line}").unwrap();
}

/// Returns the median, the 99th percentile and the largest, in milliseconds.
fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    format!(
        "median {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(50),
        at(99),
        at(100)
    )
}
