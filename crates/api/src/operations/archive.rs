//! Files in and out of containers, as tar streams; exports.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
