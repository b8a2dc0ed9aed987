//! A container's output and input: attach, logs, wait, resize.

use crate::server::Route;

pub(crate) const ROUTES: &[Route] = &[];
