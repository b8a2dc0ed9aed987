//! `ARG`: what is declared where, and what value it has there.

use crate::Build;
use crate::error::StepError;
use dockerfile::{Argument, Dockerfile, Operation, expand_word};
use oci::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// Variables that need no declaration to reach a `RUN`, and are not part of the image or of cache keys.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];
/// Arguments to the builder itself that are heeded, here or by whoever asks for a build.
const HEEDED: [&str; 5] = [
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_SYNTAX",
];
/// The variable that gives a build its time.
pub(crate) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The values that are there before any stage begins.
#[derive(Debug)]
pub(crate) struct Globals {
    /// `ARG`s before the first `FROM`, and the platforms' names.
    values: BTreeMap<String, String>,
    /// What the user gave.
    given: BTreeMap<String, String>,
    proxy: BTreeMap<String, String>,
}

/// A name that a stage has declared, and its value if it has one.
pub(crate) type Declared = (String, Option<String>);

impl Globals {
    pub(crate) fn new(
        build: &Build,
        dockerfile: &Dockerfile,
        target: &str,
    ) -> Result<Self, (usize, StepError)> {
        let mut given = build.arguments.clone();
        if let Some(epoch) = build.source_date_epoch {
            given.entry(EPOCH.to_owned()).or_insert_with(|| epoch.to_string());
        }
        let mut proxy = build.proxy.clone();
        for name in PROXIES {
            if let Some(value) = given.get(name) {
                proxy.insert(name.to_owned(), value.clone());
            }
        }
        let mut values = platform_values("BUILD", &Platform::host());
        values.append(&mut platform_values("TARGET", &build.platform));
        values.insert("TARGETSTAGE".to_owned(), target.to_owned());
        for name in values.keys().cloned().collect::<Vec<_>>() {
            if let Some(value) = given.get(&name) {
                values.insert(name, value.clone());
            }
        }
        let mut globals = Self { values, given, proxy };
        for (index, instruction) in dockerfile.arguments.iter().enumerate() {
            let Operation::Arg(declared) = &instruction.operation else {
                continue;
            };
            let mut new = BTreeMap::new();
            for argument in declared {
                let value = globals.value(argument, |text| {
                    expand_word(text, dockerfile.escape, &|name| globals.get(name))
                });
                if let Some(value) = value.map_err(|error| (index, StepError::Expand(error)))? {
                    new.insert(argument.name.clone(), value);
                }
            }
            globals.values.append(&mut new);
        }
        Ok(globals)
    }

    /// Returns a value that `FROM` may use.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// Returns a value that was given on the command line.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// Returns all that `FROM` may use, and all that was given.
    pub(crate) fn all(&self) -> (&BTreeMap<String, String>, &BTreeMap<String, String>) {
        (&self.values, &self.given)
    }

    /// Returns the value of a declaration: what the user gave, else its default, else the value from before the
    /// first `FROM`.
    pub(crate) fn value<E>(
        &self,
        argument: &Argument,
        expand: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Option<String>, E> {
        if let Some(given) = self.given.get(&argument.name) {
            return Ok(Some(given.clone()));
        }
        match &argument.default {
            Some(default) => expand(default).map(Some),
            None => Ok(self
                .values
                .get(&argument.name)
                .or_else(|| self.proxy.get(&argument.name))
                .cloned()),
        }
    }

    /// Returns the proxy variables for a `RUN`.
    pub(crate) fn proxy(&self) -> &BTreeMap<String, String> {
        &self.proxy
    }

    /// Returns the given names that no instruction declares and that mean nothing by themselves.
    pub(crate) fn unused(&self, dockerfile: &Dockerfile) -> Vec<String> {
        let all = dockerfile
            .arguments
            .iter()
            .chain(dockerfile.stages.iter().flat_map(|stage| &stage.instructions));
        let declared: BTreeSet<&str> = all
            .filter_map(|instruction| match &instruction.operation {
                Operation::Arg(declared) => Some(declared),
                _ => None,
            })
            .flatten()
            .map(|argument| argument.name.as_str())
            .collect();
        self.given
            .keys()
            .filter(|name| {
                !declared.contains(name.as_str())
                    && !PROXIES.contains(&name.as_str())
                    && !HEEDED.contains(&name.as_str())
                    && *name != EPOCH
                    && !self.values.contains_key(*name)
            })
            .cloned()
            .collect()
    }
}

fn platform_values(prefix: &str, platform: &Platform) -> BTreeMap<String, String> {
    [
        ("PLATFORM", platform.to_string()),
        ("OS", platform.os.clone()),
        ("ARCH", platform.architecture.clone()),
        ("VARIANT", platform.variant.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{prefix}{name}"), value))
    .collect()
}
