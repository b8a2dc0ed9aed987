//! Images: list, pull, push, tag, load, save, …

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
