//! `--build-context NAME=WHAT`: files and images besides the context.

use super::directory;
use crate::args::invalid;
use crate::failure::Failure;
use engine::builder::NamedContext;
use engine::builds::Choice;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Returns the name and the address of a context that has to be fetched.
pub(super) fn address(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && super::is_remote(value))
}

/// Returns the name, the directory and the image of a context that is an OCI image layout:
/// `NAME=oci-layout://DIRECTORY[:TAG][@DIGEST]`.
pub(super) fn layout(text: &str) -> Option<Result<Layout, Failure>> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    let rest = value.strip_prefix("oci-layout://")?;
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let choice = match (digest, tag) {
        (Some(digest), _) => match digest.parse() {
            Ok(digest) => Choice::Digest(digest),
            Err(error) => {
                return Some(Err(Failure::new(format!(
                    "--build-context {name}: invalid digest {digest}: {error}"
                ))));
            }
        },
        (None, Some(tag)) => Choice::Tag(tag.to_owned()),
        (None, None) => Choice::Only,
    };
    Some(directory(path).map(|directory| Layout {
        name: name.to_owned(),
        directory,
        choice,
    }))
}

/// A context that is an OCI image layout.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub directory: PathBuf,
    /// Which of its images is meant.
    pub choice: Choice,
}

impl Layout {
    /// Makes the context of the images that were found in it.
    pub(crate) fn context(&self, images: Vec<(oci::Platform, oci::Digest)>) -> Result<NamedContext, Failure> {
        // What is overridden may be called anything, and an image may not.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let name: String = self.name.chars().map(plain).collect();
        let name = super::reference(&format!(
            "oci-layout/{}",
            name.replace("--", "-").trim_matches('-')
        ))?;
        Ok(NamedContext::Stored { name, images })
    }
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
    } else if value.starts_with("target:") {
        return Err(Failure::new(format!(
            "--build-context {name}: another target can be a context in a bake file alone"
        ))
        .with_hint("use 'buildx bake', or name a stage of the same Dockerfile"));
    } else if let Some(path) = fetched.get(name) {
        NamedContext::Directory(path.clone())
    } else {
        NamedContext::Directory(directory(value)?)
    };
    Ok((name.to_owned(), context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_tags_and_digests() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (suffix, choice) in [
            (String::new(), Choice::Only),
            (":v1".to_owned(), Choice::Tag("v1".to_owned())),
            (format!("@{digest}"), Choice::Digest(digest.parse().unwrap())),
            (format!(":v1@{digest}"), Choice::Digest(digest.parse().unwrap())),
        ] {
            let found = layout(&format!("base:1=oci-layout://{path}{suffix}"))
                .unwrap()
                .unwrap();
            assert_eq!(
                (found.name.as_str(), &found.choice),
                ("base:1", &choice),
                "{suffix}"
            );
            assert_eq!(found.directory, directory.path());
            assert!(found.context(Vec::new()).is_ok());
        }
        assert!(layout("a=docker-image://b").is_none());
        assert!(layout("a=oci-layout:///no/such/directory").unwrap().is_err());
        assert!(layout(&format!("a=oci-layout://{path}@md5:1")).unwrap().is_err());
    }
}
