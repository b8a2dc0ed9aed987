//! Which images a list has: the filters of `images`, and what is left out unless all are wanted.

use super::{Artifact, Image, Images};
use crate::EngineError;
use crate::pattern::{check_keys, has_label, truth};
use oci::Reference;

/// The filters that a list of images has.
pub const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

/// Which images are wanted. All conditions must hold; of several references one.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    conditions: Vec<Condition>,
    references: Vec<String>,
    all: bool,
}

#[derive(Debug, Clone)]
enum Condition {
    Before(i64),
    Dangling(bool),
    Label(String),
    Since(i64),
}

impl Images<'_> {
    /// Reads filters. `all`: images that others were built from, and that have no name, are wanted, too.
    pub fn filter(&self, pairs: &[(String, String)], all: bool) -> Result<Filter, EngineError> {
        check_keys(pairs, FILTERS)?;
        let mut filter = Filter {
            all,
            ..Filter::default()
        };
        for (key, value) in pairs {
            filter.conditions.push(match key.as_str() {
                "before" => Condition::Before(self.find(value)?.created),
                "dangling" => Condition::Dangling(truth(key, value)?),
                "label" => Condition::Label(value.clone()),
                "since" => Condition::Since(self.find(value)?.created),
                "until" => Condition::Before(crate::moment(value)?),
                _ => {
                    filter.references.push(value.clone());
                    continue;
                }
            });
        }
        Ok(filter)
    }
}

impl Filter {
    /// Returns those images of a list that are wanted, each with those of its names that are.
    pub fn choose(&self, images: Vec<Image>) -> Vec<Image> {
        let asks_dangling = self
            .conditions
            .iter()
            .any(|it| matches!(it, Condition::Dangling(true)));
        let parents: Vec<_> = images.iter().filter_map(|image| image.parent).collect();
        let is_shown = |image: &Image| {
            if image.tags.is_empty() && !image.variant_of.is_empty() {
                // A name leads to it for another platform.
                return self.all;
            }
            self.all || asks_dangling || !(image.tags.is_empty() && parents.contains(&image.id))
        };
        let shown = images.into_iter().filter(is_shown);
        shown
            .filter(|image| self.conditions.iter().all(|condition| condition.holds(image)))
            .filter_map(|image| self.named(image))
            .collect()
    }

    /// The same for what is no image.
    pub fn choose_artifacts(&self, mut artifacts: Vec<Artifact>) -> Vec<Artifact> {
        artifacts.retain_mut(|artifact| {
            if !self
                .conditions
                .iter()
                .all(|condition| condition.holds_of(artifact))
            {
                return false;
            }
            if self.references.is_empty() {
                return true;
            }
            artifact.tags.retain(|tag| self.wants(tag));
            artifact.repository_digests.retain(|digest| self.wants(digest));
            !artifact.tags.is_empty() || !artifact.repository_digests.is_empty()
        });
        artifacts
    }

    fn named(&self, mut image: Image) -> Option<Image> {
        if self.references.is_empty() {
            return Some(image);
        }
        image.tags.retain(|tag| self.wants(tag));
        image.repository_digests.retain(|digest| self.wants(digest));
        (!image.tags.is_empty() || !image.repository_digests.is_empty()).then_some(image)
    }

    fn wants(&self, reference: &Reference) -> bool {
        let (whole, name) = (reference.familiar(), reference.familiar_name());
        let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
        self.references.iter().any(|pattern| {
            [&whole, &name, &last(&whole), &last(&name)]
                .iter()
                .any(|text| matches_glob(pattern, text))
        })
    }
}

impl Condition {
    fn holds(&self, image: &Image) -> bool {
        match self {
            Self::Before(moment) => image.created < *moment,
            Self::Dangling(wanted) => image.tags.is_empty() == *wanted,
            Self::Label(wanted) => has_label(&image.config.config.labels, wanted),
            Self::Since(moment) => image.created > *moment,
        }
    }

    fn holds_of(&self, artifact: &Artifact) -> bool {
        match self {
            Self::Before(moment) => artifact.created < *moment,
            Self::Dangling(wanted) => artifact.tags.is_empty() == *wanted,
            // It has annotations, but no labels.
            Self::Label(_) => false,
            Self::Since(moment) => artifact.created > *moment,
        }
    }
}

/// Go's `path.Match`: `*` and `?` stop at a slash, `[a-z]` is a class, a backslash takes away a meaning.
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    fn at(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                at(rest, text) || matches!(text, [c, tail @ ..] if *c != '/' && at(pattern, tail))
            }
            (['?', rest @ ..], [c, tail @ ..]) => *c != '/' && at(rest, tail),
            (['[', rest @ ..], [c, tail @ ..]) => {
                let Some(end) = rest.iter().position(|c| *c == ']') else {
                    return false;
                };
                let (negated, class) = match &rest[..end] {
                    ['^', class @ ..] => (true, class),
                    class => (false, class),
                };
                let mut found = false;
                let mut index = 0;
                while index < class.len() {
                    if index + 2 < class.len() && class[index + 1] == '-' {
                        found |= (class[index]..=class[index + 2]).contains(c);
                        index += 3;
                    } else {
                        found |= class[index] == *c;
                        index += 1;
                    }
                }
                found != negated && at(&rest[end + 1..], tail)
            }
            (['\\', wanted, rest @ ..] | [wanted, rest @ ..], [c, tail @ ..]) => {
                wanted == c && at(rest, tail)
            }
            _ => false,
        }
    }
    at(
        &pattern.chars().collect::<Vec<_>>(),
        &text.chars().collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("busy*", "busy/box", false),
            ("b?sybox", "busybox", true),
            ("[a-c]usybox", "busybox", true),
            ("[^a]usybox", "busybox", true),
            ("*:1.*", "tools:1.2", true),
            ("busybox:*", "busybox", false),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
