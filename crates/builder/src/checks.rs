//! The build checks, with what a build knows.

use crate::Build;
use crate::arguments::Globals;
use crate::context::BuildContext;
use crate::error::BuildError;
use dockerfile::{CheckOptions, Dockerfile, Surroundings, Warning, parse_check_options};
use oci::Reference;
use store::Store;

/// The build argument that says what the directive would.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Returns what says which checks are made.
pub(crate) fn options(build: &Build, dockerfile: &Dockerfile) -> Result<CheckOptions, BuildError> {
    match build.arguments.get(ARGUMENT) {
        Some(text) => parse_check_options(text).map_err(BuildError::CheckOptions),
        None => Ok(dockerfile.checks.clone()),
    }
}

/// Makes the checks. What is in the environment of a base image is known if the image is here.
pub(crate) fn find(
    store: &Store,
    build: &Build,
    dockerfile: &Dockerfile,
    globals: &Globals,
    context: &BuildContext,
    options: &CheckOptions,
) -> Vec<Warning> {
    let (predefined, given) = globals.all();
    let environment = |name: &str| {
        let reference: Reference = match crate::build::named_image(build, name) {
            Some(reference) => reference,
            None => name.parse().ok()?,
        };
        let image = store.image_by_reference(&reference).ok()??;
        Some(image.config.config.env)
    };
    let surroundings = Surroundings {
        predefined,
        given,
        environment: &environment,
        is_excluded: &|path| context.excludes(path),
        is_image_name: &|name| name.parse::<Reference>().is_ok(),
    };
    dockerfile::check(dockerfile, options, &surroundings)
}
