//! `--build-context NAME=WHAT`: files and images besides the context.

use super::directory;
use crate::args::invalid;
use crate::failure::Failure;
use engine::builder::NamedContext;

/// Reads one.
pub(super) fn context(text: &str) -> Result<(String, NamedContext), Failure> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Ok(invalid(format!(
            "invalid context value: {text}, expected key=value"
        ))?);
    };
    let context = if let Some(image) = value.strip_prefix("docker-image://") {
        NamedContext::Image(super::reference(image)?)
    } else if value.starts_with("oci-layout://") {
        return Err(not_yet(
            name,
            "an OCI layout",
            "'load' it and name it by docker-image://",
        ));
    } else if value.starts_with("target:") {
        return Err(not_yet(name, "another target", "'buildx bake' comes later"));
    } else if super::is_remote(value) {
        return Err(not_yet(
            name,
            "a remote context",
            "clone or download it into a directory and name that",
        ));
    } else {
        NamedContext::Directory(directory(value)?)
    };
    Ok((name.to_owned(), context))
}

fn not_yet(name: &str, what: &str, instead: &str) -> Failure {
    Failure::new(format!("--build-context {name}: {what} is not supported yet")).with_hint(instead.to_owned())
}
