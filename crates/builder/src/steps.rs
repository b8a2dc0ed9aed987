//! The steps that can make a layer.

pub(crate) mod copy;
pub(crate) mod from;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod workdir;
