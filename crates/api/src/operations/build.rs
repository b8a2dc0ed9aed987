//! `POST /build`, the classic builder's form, and the build cache.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
