//! Docker's Engine API: the one place that knows Docker's JSON.
//!
//! In: HTTP requests on a socket, and the engine's records. Out: typed requests to the engine, and the objects that
//! Docker's clients and `inspect` expect. Stands on `engine`. Never prints.
//!
//! ```text
//! socket -> server/        connections, versions, routes; bodies and upgrades as plain readers, writers, descriptors
//!        -> buildkit/      what clients of BuildKit speak on connections of their own
//!        -> operations/    one function for each operation, synchronous: JSON -> request -> engine -> JSON
//!        -> wire/          Docker's shapes
//! ```
//!
//! Tokio ends in `server`: the engine is synchronous, and so is every operation, which has a thread of its own while it
//! lasts.

mod buildkit;
mod operations;
pub mod server;
pub mod wire;
