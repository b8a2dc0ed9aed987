//! BuildKit's session and control protocol, on upgraded connections.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
