//! `images`.

use crate::args::{Invalid, filter, invalid, timestamp};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::table::{self, Layout, Row};
use crate::output::{time, units};
use clap::Args;
use engine::images::{Artifact, Entry, Image, Images};
use oci::Reference;
use std::process::ExitCode;

/// Flags of `images`.
#[derive(Debug, Args)]
pub(super) struct ListImages {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_parser = filter::parse, value_name = "filter")]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// List multi-platform images as a tree
    #[arg(long)]
    tree: bool,
}

/// Columns.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
];

/// What stands where there is nothing to say.
const NONE: &str = "<none>";

impl Verb for ListImages {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        filter::check(
            &self.filter,
            &["before", "dangling", "label", "reference", "since", "until"],
        )?;
        if self.tree {
            self.check_tree()?;
        }
        let images = cli.engine()?.images();
        let all = images.list()?;
        let mut filters = self.filter.clone();
        filters.extend(words.into_iter().map(|pattern| ("reference".to_owned(), pattern)));
        let mut conditions = Vec::new();
        for (key, value) in filters {
            conditions.push(match key.as_str() {
                "before" => Condition::Before(created(&images.find(&value)?)),
                "since" => Condition::Since(created(&images.find(&value)?)),
                _ => Condition::new(&key, value)?,
            });
        }
        if self.tree {
            let keep = |image: &Image, tags: &[Reference]| {
                names_of(tags, &image.repository_digests, false)
                    .iter()
                    .any(|name| satisfies(image, name, &conditions))
            };
            return print_tree(images, &keep, &conditions);
        }
        let format = self
            .format
            .as_deref()
            .or(cli.client().images_format.as_deref().filter(|_| !self.quiet));
        let shows_digest =
            self.digests || format.is_some_and(|format| format.contains(".Digest") || format == "json");
        let mut rows = Vec::new();
        let now = time::now();
        for image in &all {
            if image.tags.is_empty() && !image.variant_of.is_empty() {
                // A name leads to it for another platform; --tree shows it there.
                continue;
            }
            let is_intermediate =
                image.tags.is_empty() && all.iter().any(|other| other.parent.as_ref() == Some(&image.id));
            let asks_dangling = conditions
                .iter()
                .any(|condition| matches!(condition, Condition::Dangling(true)));
            if is_intermediate && !self.all && !asks_dangling {
                continue;
            }
            for name in names(image, shows_digest) {
                if satisfies(image, &name, &conditions) {
                    rows.push(row(image, &name, now, !self.no_trunc));
                }
            }
        }
        let mut artifacts = images.artifacts()?;
        artifacts.retain(|artifact| conditions.iter().all(|condition| condition.holds_of(artifact)));
        for artifact in &artifacts {
            let id = artifact.digest.to_string();
            for name in names_of(&artifact.tags, &artifact.repository_digests, shows_digest) {
                if name.satisfies(&conditions) {
                    let size = units::human_size(artifact.size);
                    rows.push(cells(
                        (id.as_str(), artifact.created, size),
                        &name,
                        now,
                        !self.no_trunc,
                    ));
                }
            }
        }
        if self.quiet && format.is_none() {
            // One id a line, however many references lead to it.
            rows.dedup_by(|one, other| one.fields.get("ID") == other.fields.get("ID"));
        }
        let default = if self.digests {
            "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        } else {
            "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        };
        let layout = Layout {
            kind: "*formatter.imageContext",
            headers: HEADERS,
            default,
            quiet: "{{.ID}}",
        };
        table::print(&layout, &rows, format, self.quiet)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ListImages {
    /// Refuses, in Docker's words, what does not go with `--tree`.
    fn check_tree(&self) -> Result<(), Failure> {
        let given = [
            (self.quiet, "--quiet"),
            (self.no_trunc, "--no-trunc"),
            (self.digests, "--show-digest"),
            (self.format.is_some(), "--format"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Failure::new(format!("{flag} is not yet supported with --tree"))),
            None => Ok(()),
        }
    }
}

fn print_tree(
    images: Images<'_>,
    keep: &dyn Fn(&Image, &[Reference]) -> bool,
    conditions: &[Condition],
) -> Result<ExitCode, Failure> {
    let mut entries = images.tree(keep)?;
    let mut artifacts = images.artifacts()?;
    artifacts.retain(|artifact| {
        conditions.iter().all(|condition| condition.holds_of(artifact))
            && names_of(&artifact.tags, &artifact.repository_digests, false)
                .iter()
                .any(|name| name.satisfies(conditions))
    });
    entries.extend(artifacts.into_iter().map(|artifact| Entry {
        names: artifact.tags,
        id: artifact.digest,
        disk_usage: artifact.size,
        content_size: artifact.size,
        in_use: false,
        created: artifact.created,
        branches: Vec::new(),
    }));
    super::image_tree::print(&entries)?;
    Ok(ExitCode::SUCCESS)
}

enum Condition {
    Before(i64),
    Dangling(bool),
    Label(String),
    Reference(String),
    Since(i64),
    Until(i64),
}

impl Condition {
    /// Says whether an artifact is meant, whatever its names.
    fn holds_of(&self, artifact: &Artifact) -> bool {
        match self {
            Self::Before(moment) | Self::Until(moment) => artifact.created < *moment,
            Self::Since(moment) => artifact.created > *moment,
            Self::Dangling(wanted) => artifact.tags.is_empty() == *wanted,
            // It has annotations, but no labels.
            Self::Label(_) => false,
            Self::Reference(_) => true,
        }
    }

    fn new(key: &str, value: String) -> Result<Self, Invalid> {
        Ok(match key {
            "dangling" => match crate::args::boolean::parse(&value) {
                Ok(value) => Self::Dangling(value),
                Err(_) => return invalid(format!("invalid filter 'dangling={value}'")),
            },
            "label" => Self::Label(value),
            "until" => Self::Until(timestamp::nanoseconds(&value, jiff::Timestamp::now())?),
            _ => Self::Reference(value),
        })
    }
}

/// One row's name.
#[derive(Debug)]
pub(super) struct Name {
    repository: String,
    tag: String,
    digest: String,
}

impl Name {
    /// Says whether it is among the references that are asked for, if any are.
    fn satisfies(&self, conditions: &[Condition]) -> bool {
        let whole = match (self.tag.as_str(), self.digest.as_str()) {
            // What has no name is none of those that are asked for.
            (NONE, NONE) => None,
            (NONE, digest) => Some(format!("{}@{digest}", self.repository)),
            (tag, _) => Some(format!("{}:{tag}", self.repository)),
        };
        let mut patterns = conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Reference(pattern) => Some(pattern),
                _ => None,
            })
            .peekable();
        patterns.peek().is_none()
            || whole.is_some_and(|whole| {
                patterns
                    .any(|pattern| matches_glob(pattern, &whole) || matches_glob(pattern, &self.repository))
            })
    }
}

/// The names under which an image is listed, each on a row of its own.
pub(super) fn names(image: &Image, shows_digest: bool) -> Vec<Name> {
    names_of(&image.tags, &image.repository_digests, shows_digest)
}

fn names_of(tags: &[Reference], repository_digests: &[Reference], shows_digest: bool) -> Vec<Name> {
    let digest_of = |repository: &str| {
        let found = repository_digests
            .iter()
            .find(|reference| reference.familiar_name() == repository);
        found
            .and_then(|reference| reference.digest())
            .map_or_else(|| NONE.to_owned(), ToString::to_string)
    };
    let mut names: Vec<Name> = tags
        .iter()
        .map(|reference| {
            let repository = reference.familiar_name();
            Name {
                digest: digest_of(&repository),
                repository,
                tag: reference.tag().unwrap_or(NONE).to_owned(),
            }
        })
        .collect();
    // A repository that is only known by digest has a row of its own where digests are shown, or nothing else is.
    for reference in repository_digests {
        let repository = reference.familiar_name();
        let has_tag = names.iter().any(|name| name.repository == repository);
        if !has_tag && (shows_digest || tags.is_empty()) {
            names.push(Name {
                digest: reference
                    .digest()
                    .map_or_else(|| NONE.to_owned(), ToString::to_string),
                repository,
                tag: NONE.to_owned(),
            });
        }
    }
    if names.is_empty() {
        names.push(Name {
            repository: NONE.to_owned(),
            tag: NONE.to_owned(),
            digest: NONE.to_owned(),
        });
    }
    names
}

fn satisfies(image: &Image, name: &Name, conditions: &[Condition]) -> bool {
    let labels = &image.config.config.labels;
    conditions.iter().all(|condition| match condition {
        Condition::Before(moment) | Condition::Until(moment) => created(image) < *moment,
        Condition::Since(moment) => created(image) > *moment,
        Condition::Dangling(wanted) => (image.tags.is_empty() && image.variant_of.is_empty()) == *wanted,
        Condition::Label(wanted) => filter::label_matches(labels, wanted),
        Condition::Reference(_) => true,
    }) && name.satisfies(conditions)
}

/// Go's `path.Match`: `*` and `?` stop at a slash, `[a-z]` is a class, a backslash takes away a meaning.
fn matches_glob(pattern: &str, text: &str) -> bool {
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

/// When an image was made. One whose times were taken out for the sake of reproducibility is as old as its stay here.
fn created(image: &Image) -> i64 {
    let made = image.config.created.as_deref().and_then(time::parse);
    let epoch = engine::builder::FIXED_EPOCH * 1_000_000_000;
    made.filter(|moment| *moment > epoch).unwrap_or(image.created)
}

/// A row of the table.
pub(super) fn row(image: &Image, name: &Name, now: i64, truncate: bool) -> Row {
    let size = units::human_size(image.size);
    cells((&image.id.to_string(), created(image), size), name, now, truncate)
}

fn cells((id, created, size): (&str, i64, String), name: &Name, now: i64, truncate: bool) -> Row {
    let id = match id.strip_prefix("sha256:") {
        Some(hex) if truncate => hex.chars().take(12).collect(),
        _ => id.to_owned(),
    };
    Row::new([
        ("Containers", "N/A".to_owned()),
        ("CreatedAt", time::go_string(created)),
        ("CreatedSince", time::ago(created, now)),
        ("Digest", name.digest.clone()),
        ("ID", id),
        ("Repository", name.repository.clone()),
        ("SharedSize", "N/A".to_owned()),
        ("Size", size.clone()),
        ("Tag", name.tag.clone()),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", size),
    ])
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
