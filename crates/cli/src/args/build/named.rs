//! `--build-context NAME=WHAT`: files and images besides the context.

use super::directory;
use crate::args::invalid;
use crate::failure::Failure;
use engine::builder::NamedContext;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Returns the name and the address of a context that has to be fetched.
pub(super) fn address(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && super::is_remote(value))
}

/// Reads one; `fetched` has the directories of those that are addresses.
pub(super) fn context(
    text: &str,
    fetched: &BTreeMap<String, PathBuf>,
) -> Result<(String, NamedContext), Failure> {
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
    } else if let Some(path) = fetched.get(name) {
        NamedContext::Directory(path.clone())
    } else {
        NamedContext::Directory(directory(value)?)
    };
    Ok((name.to_owned(), context))
}

fn not_yet(name: &str, what: &str, instead: &str) -> Failure {
    Failure::new(format!("--build-context {name}: {what} is not supported yet")).with_hint(instead.to_owned())
}
