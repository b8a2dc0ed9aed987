//! Containers: list, create, inspect, start, stop, …

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
