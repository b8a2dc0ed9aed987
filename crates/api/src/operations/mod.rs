//! Docker's operations, one function each, by subject.

mod archive;
mod build;
mod containers;
mod credentials;
mod distribution;
mod exec;
mod images;
mod lines;
mod networks;
pub(crate) mod object;
mod plugins;
mod pruned;
mod session;
mod streams;
mod swarm;
mod system;
mod volumes;

use crate::server::Route;

/// All operations. Earlier rows win.
pub(crate) const TABLES: &[&[Route]] = &[
    archive::ROUTES,
    build::ROUTES,
    containers::ROUTES,
    distribution::ROUTES,
    exec::ROUTES,
    images::ROUTES,
    networks::ROUTES,
    plugins::ROUTES,
    session::ROUTES,
    streams::ROUTES,
    swarm::ROUTES,
    system::ROUTES,
    volumes::ROUTES,
];
