//! Image references, in the grammar of the distribution project's `reference` package.

use crate::{Digest, DigestError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The registry that a reference without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const LIBRARY: &str = "library/";
const LONGEST_NAME: usize = 255;

/// A normalised image reference: `ubuntu` is `docker.io/library/ubuntu:latest`.
///
/// At least one of tag and digest is there; a reference with both names the digest's content and keeps the tag
/// for display only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is no image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The digest after `@` is none.
    #[error("invalid reference format: '{text}'")]
    Digest {
        /// The whole reference.
        text: String,
        /// What is wrong with its digest.
        #[source]
        source: DigestError,
    },
    /// It does not follow the grammar.
    #[error("invalid reference format: '{text}' ({why})")]
    Format {
        /// The whole reference.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name '{0}' must be lowercase")]
    Uppercase(String),
}

impl Reference {
    /// Returns the registry's host and port, `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository within the registry, `library/ubuntu` for `ubuntu`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if one was written or implied.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns `registry/repository`, the key that credentials, mirrors and repository digests go by.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the repository as people write it: without the default registry and its `library/`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix(LIBRARY) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// Returns the whole reference as people write it, the tag always shown: `ubuntu:latest`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.suffix(&mut text);
        text
    }

    /// Returns the same repository under another tag, without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        let text = format!("{}:{tag}", self.name());
        if !is_tag(tag) {
            return Err(ReferenceError::Format { text, why: TAG_RULE });
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the same repository at a digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    fn suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

const TAG_RULE: &str =
    "a tag is at most 128 letters, digits, '_', '.' and '-', and begins with a letter, digit or '_'";
const NAME_RULE: &str = "a repository is lower-case letters and digits, joined by '.', '_', '__', '-' or '/'";

fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.len() <= 128
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    // Between words stands one '.', one or two '_', or any number of '-'.
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_registry(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => {
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                return rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |why| ReferenceError::Format {
            text: text.to_owned(),
            why,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    text: text.to_owned(),
                    source,
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        if rest.is_empty() {
            return Err(wrong("the name is empty"));
        }
        if rest.len() == 64
            && rest
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(wrong("64 hex digits are an image's id and no name"));
        }
        // A first component with a dot, a colon or capitals, or `localhost`, is a registry; Docker's rule.
        let (registry, path) = match rest.split_once('/') {
            Some((first, path))
                if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
            {
                (first, path)
            }
            _ => (DEFAULT_REGISTRY, rest),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        if !is_registry(registry) {
            return Err(wrong("the registry is no host[:port]"));
        }
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (path, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(wrong(TAG_RULE));
        }
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(repository.to_owned()));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(wrong(NAME_RULE));
        }
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("{LIBRARY}{repository}")
        } else {
            repository.to_owned()
        };
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(wrong("the repository name must not be more than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.suffix(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_and_shown_as_written() {
        for (text, canonical, familiar) in [
            ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("python:3.8", "docker.io/library/python:3.8", "python:3.8"),
            (
                "docker.io/ubuntu",
                "docker.io/library/ubuntu:latest",
                "ubuntu:latest",
            ),
            (
                "index.docker.io/library/ubuntu",
                "docker.io/library/ubuntu:latest",
                "ubuntu:latest",
            ),
            ("user/app:1", "docker.io/user/app:1", "user/app:1"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            (
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "ghcr.io/x/y_z/a--b:V1.0",
                "ghcr.io/x/y_z/a--b:V1.0",
                "ghcr.io/x/y_z/a--b:V1.0",
            ),
            ("a__b", "docker.io/library/a__b:latest", "a__b:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(canonical.parse::<Reference>().unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let reference: Reference = format!("ubuntu@{DIGEST}").parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(
            reference.to_string(),
            format!("docker.io/library/ubuntu@{DIGEST}")
        );
        let both: Reference = format!("ubuntu:22.04@{DIGEST}").parse().unwrap();
        assert_eq!(both.tag(), Some("22.04"));
        assert!(both.digest().is_some());
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for wrong in [
            "",
            ":x",
            "@",
            "ubuntu:",
            "ubuntu:-x",
            "Ubuntu",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "../x",
            "a/../b",
            "x.y:0/a",
            "x.y:99999/a",
            "-x.y/a",
            "ubuntu@sha256:12",
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
