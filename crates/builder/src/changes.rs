//! `--change` of `import` and `commit`: single instructions applied to an image's configuration.

use crate::BuildError;
use oci::ImageConfig;

/// Applies Dockerfile instructions that change the configuration only (CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
/// ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR) in order. Any other instruction is an error.
pub fn apply_changes(config: &mut ImageConfig, changes: &[String]) -> Result<(), BuildError> {
    todo!("{config:?} {changes:?}")
}
