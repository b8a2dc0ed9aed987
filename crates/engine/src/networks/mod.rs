//! Networks: what they are, who is on them, and what a container's endpoint on one is.
//!
//! A network is a row: its document says what the kernel has of it ([`network::Segment`]). It is made when the row is,
//! within the same transaction, and again by whoever starts a container on it after a reboot. The default bridge comes
//! into being with the first container that needs it. Which address and which host port belongs to whom is decided in
//! one transaction of the state database; a host port is also bound, by a socket that lives as long as the container's
//! monitor, so that programs outside Coracle see it taken.
//!
//! What a running container is on, its monitor has made and takes away; `connect` and `disconnect` write the new state
//! and have the monitor come up to it ([`connect`]). Names are files ([`names`]).

mod addresses;
mod allot;
pub mod connect;
pub mod create;
pub mod filter;
pub(crate) mod joining;
pub mod list;
pub(crate) mod names;
mod options;
mod pools;
mod ports;
pub mod record;
pub mod remove;
pub mod request;
mod restore;
pub(crate) mod rows;

pub(crate) use allot::{Guest, allot};
pub(crate) use ports::protocol_name;

use crate::Engine;
use crate::containers::places;

/// What users call the default bridge, as with Docker.
pub(crate) const DEFAULT: &str = "bridge";

/// The networks of an engine; its operations are in this module's files, one a file.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'e> {
    pub(crate) engine: &'e Engine,
}

/// The default networks' ids are their names in hexadecimal, padded to 64 digits; a default bridge that an earlier
/// version made has another.
pub fn stable_id(name: &str) -> String {
    format!("{:0<64}", places::hex(name.as_bytes()))
}
