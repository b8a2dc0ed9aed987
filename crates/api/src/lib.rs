//! Docker's Engine API: the one place that knows Docker's JSON.
//!
//! In: the engine's records. Out: the objects that Docker's clients and `inspect` expect. Stands on `engine`. Never
//! prints.

pub mod wire;
