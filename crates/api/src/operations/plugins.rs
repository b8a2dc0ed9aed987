//! Plugins, of which there are none.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
