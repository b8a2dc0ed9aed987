//! Swarms, of which no node is here.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
