//! What users write, read once: each file here knows one grammar of Docker's command line, and turns text into the
//! engine's typed requests or into the message that Docker gives.

#[cfg(test)]
mod arbitrary;
pub(crate) mod build;
pub(crate) mod build_cache;
pub(crate) mod build_output;
pub(crate) mod container;
pub(crate) mod csv;
pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod filter;
pub(crate) mod gpus;
pub(crate) mod health;
pub(crate) mod integer;
pub(crate) mod label;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod others;
pub(crate) mod placement;
pub(crate) mod pool;
pub(crate) mod publish;
pub(crate) mod rates;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod timestamp;
pub(crate) mod ulimit;
pub(crate) mod volume;

pub(crate) use engine::containers::notation::{Invalid, boolean, device, extra_host, invalid, size, tmpfs};
