//! `ADD` of what lies elsewhere.

use crate::error::{Failure, StepError};
use crate::progress::Step;
use crate::stage::StageRun;
use crate::steps::snapshot::Draught;
use dockerfile::AddFlags;
use sys::path::Tree;

/// What was fetched, in a directory that goes with it.
pub(crate) struct Fetched<'a> {
    pub(crate) tree: Tree,
    /// What it is called in messages.
    pub(crate) name: String,
    /// It is a whole tree, of which the content is copied; else there is one file in it.
    pub(crate) is_tree: bool,
    _draught: Draught<'a>,
}

/// Fetches a source.
pub(crate) fn fetch<'a>(
    _run: &StageRun<'a>,
    _source: &str,
    _flags: &AddFlags,
    _step: &Step<'_>,
) -> Result<Fetched<'a>, Failure> {
    Err(StepError::Unsupported("ADD of URLs and Git repositories is").into())
}
