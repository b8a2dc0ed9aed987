//! What `--from` means, in `COPY` and in mounts.

use super::from;
use crate::config::Draft;
use crate::context::BuildContext;
use crate::error::{Failure, StepError};
use crate::source::Origin;
use crate::stage::StageRun;
use std::sync::Arc;
use store::Layer;
use sys::path::Tree;

/// Other files than the context's.
pub(crate) enum Foreign {
    /// A named context: a directory.
    Context(Arc<BuildContext>, String),
    /// An image.
    Image(Box<store::Image>, String),
    /// Another stage.
    Stage(Arc<Draft>, String),
}

impl Foreign {
    pub(crate) fn layers(&self) -> &[Layer] {
        match self {
            Self::Context(..) => &[],
            Self::Image(image, _) => &image.layers,
            Self::Stage(draft, _) => &draft.layers,
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Context(_, name) | Self::Image(_, name) | Self::Stage(_, name) => name.clone(),
        }
    }

    /// Returns it as something to copy from, its layers being mounted as `tree`.
    pub(crate) fn origin<'a>(&self, tree: &'a Tree) -> Origin<'a> {
        Origin {
            tree,
            name: self.name(),
            ignore: None,
        }
    }
}

/// Finds what `--from` means: a named context, an earlier stage, else an image. `None` is the build context.
pub(crate) fn foreign(
    run: &StageRun<'_>,
    keyword: &'static str,
    from: Option<&str>,
) -> Result<Option<Foreign>, Failure> {
    let Some(from) = from.filter(|from| !from.is_empty()) else {
        return Ok(None);
    };
    if from.contains('$') {
        return Err(StepError::FromExpansion.into());
    }
    let job = run.job;
    if let Some(context) = job.contexts.get(&from.to_lowercase()) {
        return Ok(Some(Foreign::Context(
            Arc::clone(context),
            format!("the context {from}"),
        )));
    }
    let named = job.named_image(from);
    if let (Some(stage), None) = (job.graph.stage_before(run.index, from), &named) {
        let draft = job.stage(stage).ok_or(Failure::Elsewhere)?;
        return Ok(Some(Foreign::Stage(
            draft,
            format!("stage {}", job.graph.name(stage)),
        )));
    }
    if let (Ok(index), None) = (from.parse(), &named) {
        return Err(StepError::StageIndex { keyword, index }.into());
    }
    let reference = match named {
        Some(reference) => reference,
        None => from.parse().map_err(StepError::from)?,
    };
    let image = from::image(job, &reference, &job.request.platform)?;
    Ok(Some(Foreign::Image(
        Box::new(image),
        format!("the image {}", reference.familiar()),
    )))
}
