//! The steps that can make a layer.

pub(crate) mod copy;
pub(crate) mod foreign;
pub(crate) mod from;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod workdir;
