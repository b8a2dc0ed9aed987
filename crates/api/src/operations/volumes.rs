//! Volumes.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
