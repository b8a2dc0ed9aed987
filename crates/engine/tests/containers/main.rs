//! Containers on a real kernel, from create to remove. Needs root.
//!
//! The program under test starts itself again as the monitor; here that is this test, so its `main` is its own. Each
//! test has a root of its own; the host is compared with what it was when the last has ended.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, though without the harness that would tell clippy so"
)]

mod files;
mod health;
mod kit;
mod lifecycle;
mod monitor;
mod networks;
mod recovery;
mod streams;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == engine::containers::monitor::ARGUMENT)
    {
        return engine::containers::monitor::main();
    }
    if arguments
        .first()
        .is_some_and(|first| first == engine::durable::ARGUMENT)
    {
        return engine::durable::main();
    }
    let tests: Vec<Test> = [
        files::TESTS,
        health::TESTS,
        lifecycle::TESTS,
        monitor::TESTS,
        networks::TESTS,
        recovery::TESTS,
        streams::TESTS,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in &tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    assert!(rustix::process::geteuid().is_root(), "these tests need root");
    let wanted = |name: &str| {
        let mut filters = arguments
            .iter()
            .filter(|argument| !argument.starts_with('-'))
            .peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    // Other tests of the whole must not change the host meanwhile.
    let _alone = sys::lock::Lock::exclusive("/tmp/coracle-tests.lock".as_ref()).unwrap();
    let before = testkit::HostState::now();
    let mut failed = Vec::new();
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    // Monitors of ours that have told their end and are just going.
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::empty()) {}
    if catch_unwind(AssertUnwindSafe(|| before.assert_restored())).is_err() {
        failed.push("nothing is left behind");
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}
