//! Builds against a real store and real overlay mounts. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    reason = "the whole crate is tests"
)]

mod caching;
mod config;
mod copying;
mod failures;
mod stages;
mod workshop;
