//! Containers, from create to remove.
//!
//! A request becomes a record ([`record`]); `start` resolves the record into a [`runtime::Plan`] and hands it to a
//! monitor ([`monitor`]), a process of its own that is the parent of the container's first process; everybody else
//! talks to that monitor through a [`session`].

pub mod attach;
pub mod copy;
pub mod create;
pub mod exec;
pub mod inspect;
pub mod list;
pub mod logs;
pub mod monitor;
pub mod name;
pub mod record;
pub mod recover;
pub mod remove;
pub mod request;
pub mod session;
pub mod spec;
pub mod start;
pub(crate) mod step;
pub mod stop;
pub mod wait;

use crate::Engine;

/// The containers of an engine; its operations are in this module's files, one a file.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'e> {
    pub(crate) engine: &'e Engine,
}
