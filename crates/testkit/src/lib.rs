//! What tests stand on: a root of their own, images made in code, a registry that misbehaves, and the leak check.
//!
//! For development only. Everything a test makes lies below one temporary directory; [`Sandbox`] removes it and then
//! compares the host with what it was: mounts, namespaces, links, firewall, cgroups, processes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here fails the test that asked for it"
)]

pub mod api;
pub mod attack;
pub mod images;
pub mod leaks;
pub mod registry;
pub mod residue;
pub mod sandbox;

pub use api::{Answer, ApiServer};
pub use attack::{Canaries, Swapper};
pub use leaks::HostState;
pub use residue::Residue;
pub use sandbox::{Outcome, Sandbox};
