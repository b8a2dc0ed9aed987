//! Further processes in containers.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
