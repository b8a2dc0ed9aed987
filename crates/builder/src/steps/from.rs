//! `FROM`: what a stage stands on.

use crate::NamedContext;
use crate::build::Job;
use crate::config::Draft;
use crate::error::{Failure, StepError, chain};
use crate::stage::step_name;
use dockerfile::{Instruction, expand_word, parse_trigger};
use oci::{Platform, Reference};
use std::sync::{Arc, PoisonError};

/// What a stage stands on.
pub(crate) enum Base {
    /// The files of a named context, and nothing else.
    Context(Platform, String),
    Image(Box<store::Image>, Reference),
    Scratch(Platform),
    Stage(Arc<Draft>),
}

/// Finds or fetches what the stage stands on.
pub(crate) fn base(job: &Job<'_>, index: usize) -> Result<Base, Failure> {
    let from = &job.dockerfile.stages[index].from;
    let expand = |text: &str| -> Result<String, StepError> {
        Ok(expand_word(text, job.dockerfile.escape, &|name| {
            job.globals.get(name)
        })?)
    };
    let name = expand(&from.base)?;
    if name.is_empty() {
        return Err(StepError::BlankBase(from.base.clone()).into());
    }
    let platform = match &from.platform {
        Some(text) => expand(text)?.parse().map_err(StepError::from)?,
        None => job.request.platform.clone(),
    };
    if let Some(reference) = job.named_image(&name) {
        let image = image(job, &reference, &platform)?;
        return Ok(Base::Image(Box::new(image), reference));
    }
    if job.contexts.contains_key(&name.to_lowercase()) {
        return Ok(Base::Context(platform, name));
    }
    if let Some(stage) = job.graph.named_before(index, &name) {
        return job.stage(stage).map(Base::Stage).ok_or(Failure::Elsewhere);
    }
    if name == "scratch" {
        return Ok(Base::Scratch(platform));
    }
    let reference: Reference = name.parse().map_err(StepError::from)?;
    let image = image(job, &reference, &platform)?;
    Ok(Base::Image(Box::new(image), reference))
}

/// Has an image, from here or from its registry.
pub(crate) fn image(
    job: &Job<'_>,
    reference: &Reference,
    platform: &Platform,
) -> Result<store::Image, Failure> {
    let slot = {
        let mut images = job.images.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(images.entry(format!("{reference} {platform}")).or_default())
    };
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = &*slot {
        return Ok(image.clone());
    }
    let step = job
        .progress
        .start(format!("[internal] load metadata for {reference}"));
    if job.stopped() {
        step.cancelled();
        return Err(Failure::Cancelled);
    }
    if let Some(images) = stored(job, reference) {
        let found = of_platform(job, reference, platform, images);
        match &found {
            Ok(image) => {
                step.done();
                *slot = Some(image.clone());
            }
            Err(error) => step.failed(chain(error)),
        }
        return Ok(found?);
    }
    let mut progress = |line: &str| step.note(line);
    match job
        .services
        .base_image(reference, platform, job.request.pull, &mut progress)
    {
        Ok(image) => {
            step.done();
            *slot = Some(image.clone());
            Ok(image)
        }
        Err(error) => {
            if job.stopped() {
                step.cancelled();
                return Err(Failure::Cancelled);
            }
            step.failed(chain(&error));
            Err(match local_hint(job, reference, platform) {
                Some(hint) => StepError::BaseImage { source: error, hint }.into(),
                None => error.into(),
            })
        }
    }
}

/// Returns the images of a context that is in the store.
fn stored<'j>(job: &'j Job<'_>, reference: &Reference) -> Option<&'j [(Platform, oci::Digest)]> {
    job.request.contexts.values().find_map(|context| match context {
        NamedContext::Stored { name, images } if name == reference => Some(&images[..]),
        _ => None,
    })
}

/// Takes the image for a platform, or the only one that there is.
fn of_platform(
    job: &Job<'_>,
    reference: &Reference,
    platform: &Platform,
    images: &[(Platform, oci::Digest)],
) -> Result<store::Image, StepError> {
    let exact = images.iter().find(|(of, _)| of == platform);
    let only = || {
        Some(images)
            .filter(|images| images.len() == 1)
            .and_then(<[_]>::first)
    };
    let found = match exact.or_else(only) {
        Some((_, id)) => job.store.image_by_id(id)?,
        None => None,
    };
    found.ok_or_else(|| StepError::StoredImage {
        name: reference.familiar(),
        platform: platform.to_string(),
        known: images
            .iter()
            .map(|(of, _)| of.to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Says what may help if an image by this name is here but was not good enough.
fn local_hint(job: &Job<'_>, reference: &Reference, platform: &Platform) -> Option<String> {
    let image = job.store.image_by_reference(reference).ok().flatten()?;
    if image.platform != *platform {
        return Some(format!(
            "the image {} that is here is for {}",
            reference.familiar(),
            image.platform
        ));
    }
    job.request.pull.then(|| {
        format!(
            "leave --pull out to build on the {} that is here",
            reference.familiar()
        )
    })
}

/// Returns a reference with the digest that its registry knows the image by, where there is one.
fn pinned(reference: &Reference, image: &store::Image) -> String {
    let mut text = reference.to_string();
    let known = image
        .repository_digests
        .iter()
        .find(|known| known.name() == reference.name())
        .and_then(Reference::digest);
    if let (None, Some(digest)) = (reference.digest(), known) {
        text.push('@');
        text.push_str(&digest.to_string());
    }
    text
}

/// Reads the triggers that the base has left for the builds on top of it.
pub(crate) fn triggers(base: &Base, name: &str, from: &Instruction) -> Result<Vec<Instruction>, Failure> {
    let config = match base {
        Base::Image(image, _) => &image.config,
        Base::Stage(draft) => &draft.image,
        Base::Scratch(_) => return Ok(Vec::new()),
        Base::Context(_, context) => {
            let copy = format!("COPY --from={context} . /");
            return Ok(vec![parse_trigger(name, &copy, from).map_err(StepError::from)?]);
        }
    };
    config
        .config
        .on_build
        .iter()
        .map(|text| parse_trigger(name, text, from).map_err(|error| StepError::from(error).into()))
        .collect()
}

/// Begins the stage's image.
pub(crate) fn begin(job: &Job<'_>, index: usize, base: Base, total: usize) -> Draft {
    let epoch = job.image_epoch;
    job.show_ignore_file();
    match base {
        Base::Stage(draft) => Draft::on_stage(&draft),
        Base::Context(platform, _) | Base::Scratch(platform) => Draft::scratch(&platform, epoch),
        Base::Image(image, reference) => {
            let step = job.progress.start(step_name(
                job,
                index,
                1,
                total,
                &format!("FROM {}", pinned(&reference, &image)),
            ));
            let image = *image;
            step.done();
            Draft::on(image.config, image.layers, Some(image.id), epoch)
        }
    }
}
