//! What registries know of an image.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
