//! The lock file: which bytes the names in a Dockerfile meant when it was written.

use crate::arguments::Globals;
use crate::error::{BuildError, StepError};
use crate::graph::Graph;
use crate::{Build, NamedContext};
use dockerfile::expand_word;
use oci::{Digest, Platform, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const VERSION: u32 = 1;

/// What names are pinned to. Written sorted, so that a change is a short difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// Images, by `reference platform`.
    #[serde(default)]
    images: BTreeMap<String, Pin>,
    /// Commits, by the repository's address as it is written, reference and all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    repositories: BTreeMap<String, String>,
    /// What is on the web, by URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    urls: BTreeMap<String, Digest>,
}

/// What a source on the web is pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePin {
    /// A repository, at this commit.
    Commit(String),
    /// A file with this content.
    File(Digest),
}

/// What an image is pinned to: the digest in its registry, or the id of one that is in no registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// `name@this`.
    Digest(#[serde(with = "text")] Digest),
    /// The image that is here has this id.
    Id(#[serde(with = "text")] Digest),
}

mod text {
    use oci::Digest;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is no lock file.
    #[error("the lock file cannot be read")]
    Json(#[source] serde_json::Error),
    /// It is a later program's.
    #[error("the lock file is of version {0}, and this program knows version {VERSION}")]
    Version(u32),
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            version: VERSION,
            images: BTreeMap::new(),
            repositories: BTreeMap::new(),
            urls: BTreeMap::new(),
        }
    }
}

impl Lock {
    /// Reads a lock file.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let lock: Self = serde_json::from_str(text).map_err(LockError::Json)?;
        if lock.version != VERSION {
            return Err(LockError::Version(lock.version));
        }
        Ok(lock)
    }

    /// Returns the lock file's text.
    pub fn text(&self) -> String {
        // Only strings and sorted maps: this cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Pins an image.
    pub fn pin(&mut self, reference: &Reference, platform: &Platform, pin: Pin) {
        self.images.insert(key(reference, platform), pin);
    }

    /// Adds what another lock says.
    pub fn extend(&mut self, other: Self) {
        self.images.extend(other.images);
        self.repositories.extend(other.repositories);
        self.urls.extend(other.urls);
    }

    /// Pins a source on the web.
    pub fn pin_source(&mut self, address: &str, pin: SourcePin) {
        match pin {
            SourcePin::Commit(commit) => {
                self.repositories.insert(address.to_owned(), commit);
            }
            SourcePin::File(digest) => {
                self.urls.insert(address.to_owned(), digest);
            }
        }
    }

    /// Returns the commit that a repository is pinned to.
    pub(crate) fn commit(&self, address: &str) -> Option<&str> {
        self.repositories.get(address).map(String::as_str)
    }

    /// Returns what the content of a URL is pinned to.
    pub(crate) fn url(&self, address: &str) -> Option<&Digest> {
        self.urls.get(address)
    }

    /// Returns what an image is pinned to.
    pub fn image(&self, reference: &Reference, platform: &Platform) -> Option<Pin> {
        self.images.get(&key(reference, platform)).copied()
    }
}

fn key(reference: &Reference, platform: &Platform) -> String {
    format!("{reference} {platform}")
}

/// Returns the images that a Dockerfile names, over all of its stages, but for those named by digest already.
pub fn images(build: &Build) -> Result<Vec<(Reference, Platform)>, BuildError> {
    let (path, text) = &build.dockerfile;
    let dockerfile = dockerfile::parse(&path.display().to_string(), text)?;
    let globals = Globals::new(build, &dockerfile, "default")
        .map_err(|(index, source)| crate::build::at(path, &dockerfile.arguments[index], source))?;
    let mut found: BTreeMap<String, (Reference, Platform)> = BTreeMap::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let expand = |text: &str| expand_word(text, dockerfile.escape, &|name| globals.get(name));
        let fail = |source: StepError| crate::build::at(path, &stage.instruction, source);
        let graph = Graph::new(&dockerfile, &globals, index, build);
        let base = expand(&stage.from.base).map_err(|error| fail(error.into()))?;
        let platform: Platform = match &stage.from.platform {
            Some(text) => expand(text)
                .map_err(|error| fail(error.into()))?
                .parse()
                .map_err(|error: oci::PlatformError| fail(error.into()))?,
            None => build.platform.clone(),
        };
        for name in graph.images() {
            // What another target gave is what it was made of.
            let stored = |(known, context): (&String, &NamedContext)| {
                matches!(context, NamedContext::Stored { .. }) && known.eq_ignore_ascii_case(name)
            };
            if build.contexts.iter().any(stored) {
                continue;
            }
            let meant = crate::build::named_image(build, name).map(|reference| reference.to_string());
            let reference: Reference = meant
                .as_ref()
                .unwrap_or(name)
                .parse()
                .map_err(|error: oci::ReferenceError| fail(error.into()))?;
            if reference.digest().is_some() {
                continue;
            }
            // A stage's own platform is its base's; what it copies from is for the target's.
            let platform = if *name == base { &platform } else { &build.platform };
            found.insert(key(&reference, platform), (reference, platform.clone()));
        }
    }
    Ok(found.into_values().collect())
}

/// Fails because a lock file does not speak of a source.
pub(crate) fn unknown(address: &str, file: &Path) -> StepError {
    StepError::Unlocked {
        address: address.to_owned(),
        file: file.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_what_was_written() {
        let mut lock = Lock::default();
        let reference: Reference = "python:3.8".parse().unwrap();
        let digest = Digest::from_sha256([7; 32]);
        lock.pin(
            &reference,
            &Platform::new("linux", "amd64", ""),
            Pin::Digest(digest),
        );
        lock.pin(&reference, &Platform::new("linux", "arm64", ""), Pin::Id(digest));
        assert!(!lock.text().contains("urls"), "{}", lock.text());
        lock.pin_source("https://example.com/f", SourcePin::File(digest));
        lock.pin_source(
            "https://example.com/x.git#main",
            SourcePin::Commit("12ab".repeat(10)),
        );
        let text = lock.text();
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        assert_eq!(lock.url("https://example.com/f"), Some(&digest));
        assert_eq!(lock.url("https://example.com/g"), None);
        assert_eq!(
            lock.commit("https://example.com/x.git#main"),
            Some(&*"12ab".repeat(10))
        );
        assert!(
            text.contains("\"docker.io/library/python:3.8 linux/amd64\""),
            "{text}"
        );
        assert_eq!(
            lock.image(&reference, &Platform::new("linux", "arm64", "")),
            Some(Pin::Id(digest))
        );
        for bad in ["", "{}", "{\"version\":2}", "{\"version\":1,\"sources\":{}}"] {
            assert!(Lock::parse(bad).is_err(), "{bad}");
        }
    }
}
