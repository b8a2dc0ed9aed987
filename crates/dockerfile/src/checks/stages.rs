//! Checks of stages and of what is known at each place in them: names, platforms, variables, paths.

use super::{Findings, Surroundings};
use crate::expand::{expand_word, undefined};
use crate::instruction::{CopyFiles, Dockerfile, Instruction, Operation, Stage, is_remote_source};
use crate::nearest::nearest;
use crate::parser::keyword_and_rest;
use std::collections::{BTreeMap, BTreeSet};

const RESERVED: [&str; 2] = ["context", "scratch"];

/// What is known where an instruction stands.
#[derive(Clone, Default)]
struct Known {
    /// Variables with values, and those that were declared without one.
    variables: BTreeMap<String, String>,
    /// The environment of the base is not known, so any variable could be in it.
    open: bool,
    /// There has been an absolute `WORKDIR`.
    directory: bool,
}

pub(super) fn check(dockerfile: &Dockerfile, surroundings: &Surroundings<'_>, findings: &mut Findings) {
    let globals = globals(dockerfile, surroundings);
    let mut stages: Vec<Known> = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        names(dockerfile, index, findings);
        from(dockerfile, stage, &globals, surroundings, findings);
        let before = base(dockerfile, index, &globals, &stages, surroundings);
        stages.push(variables(
            dockerfile,
            stage,
            before,
            &globals,
            surroundings,
            findings,
        ));
    }
}

/// Returns what `FROM` may use: names declared without a value have an empty one.
fn globals(dockerfile: &Dockerfile, surroundings: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut known = surroundings.predefined.clone();
    for instruction in &dockerfile.arguments {
        let Operation::Arg(declared) = &instruction.operation else {
            continue;
        };
        for argument in declared {
            let value = surroundings.given.get(&argument.name).cloned().or_else(|| {
                let default = argument.default.as_ref()?;
                expand_word(default, dockerfile.escape, &|name| known.get(name).cloned()).ok()
            });
            let value = value.unwrap_or_else(|| known.get(&argument.name).cloned().unwrap_or_default());
            known.insert(argument.name.clone(), value);
        }
    }
    known
}

fn names(dockerfile: &Dockerfile, index: usize, findings: &mut Findings) {
    let stage = &dockerfile.stages[index];
    let instruction = &stage.instruction;
    let words: Vec<&str> = instruction.text.split_whitespace().collect();
    let written_from = words.first().copied().unwrap_or_default();
    let [.., keyword, written] = words[..] else { return };
    let Some(name) = &stage.from.name else { return };
    if name != written {
        findings.add(
            "StageNameCasing",
            instruction,
            format!("Stage name '{written}' should be lowercase"),
        );
    }
    let is_upper = |word: &str| word == word.to_ascii_uppercase();
    let is_lower = |word: &str| word == word.to_ascii_lowercase();
    if is_upper(keyword) != is_upper(written_from) || is_lower(keyword) != is_lower(written_from) {
        findings.add(
            "FromAsCasing",
            instruction,
            format!("'{keyword}' and '{written_from}' keywords' casing do not match"),
        );
    }
    if RESERVED.contains(&name.as_str()) {
        findings.add(
            "ReservedStageName",
            instruction,
            format!("Stage name should not use the same name as reserved stage \"{name}\""),
        );
    }
    if dockerfile.stages[..index]
        .iter()
        .any(|other| other.from.name.as_ref() == Some(name))
    {
        findings.add(
            "DuplicateStageName",
            instruction,
            format!("Duplicate stage name \"{name}\", stage names should be unique"),
        );
    }
}

fn from(
    dockerfile: &Dockerfile,
    stage: &Stage,
    globals: &BTreeMap<String, String>,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) {
    let instruction = &stage.instruction;
    let words = [Some(&stage.from.base), stage.from.platform.as_ref()];
    let mut undeclared = BTreeSet::new();
    for word in words.into_iter().flatten() {
        undeclared.extend(undefined(word, dockerfile.escape, true, &|name| {
            globals.get(name).cloned()
        }));
    }
    for name in &undeclared {
        let close = nearest(name, globals.keys().map(String::as_str))
            .map(|name| format!(" (did you mean {name}?)"))
            .unwrap_or_default();
        findings.add(
            "UndefinedArgInFrom",
            instruction,
            format!("FROM argument '{name}' is not declared{close}"),
        );
    }
    if undeclared.is_empty() {
        default_base(dockerfile, stage, surroundings, findings);
    }
    let Some(platform) = &stage.from.platform else {
        return;
    };
    let bare = platform.trim_matches('"');
    if matches!(bare, "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        findings.add(
            "RedundantTargetPlatform",
            instruction,
            format!(
                "Setting platform to predefined {bare} in FROM is redundant as this is the default behavior"
            ),
        );
    }
    // A stage that says in its name which platform it is for may well be for that one alone.
    let named_after = stage.from.name.as_ref().is_some_and(|name| {
        platform
            .split('/')
            .any(|part| !part.is_empty() && name.contains(part))
    });
    if !platform.contains('$') && !named_after {
        findings.add(
            "FromPlatformFlagConstDisallowed",
            instruction,
            format!("FROM --platform flag should not use constant value \"{platform}\""),
        );
    }
}

/// What would the base be if nobody gave the build any arguments?
fn default_base(
    dockerfile: &Dockerfile,
    stage: &Stage,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) {
    if !stage.from.base.contains('$') {
        return;
    }
    let none = BTreeMap::new();
    let without = Surroundings {
        given: &none,
        ..*surroundings
    };
    let defaults = globals(dockerfile, &without);
    let Ok(base) = expand_word(&stage.from.base, dockerfile.escape, &|name| {
        defaults.get(name).cloned()
    }) else {
        return;
    };
    if base.is_empty() || !(surroundings.is_image_name)(&base) {
        findings.add(
            "InvalidDefaultArgInFrom",
            &stage.instruction,
            format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.from.base
            ),
        );
    }
}

fn base(
    dockerfile: &Dockerfile,
    index: usize,
    globals: &BTreeMap<String, String>,
    stages: &[Known],
    surroundings: &Surroundings<'_>,
) -> Known {
    let from = &dockerfile.stages[index].from;
    let Ok(base) = expand_word(&from.base, dockerfile.escape, &|name| globals.get(name).cloned()) else {
        return Known {
            open: true,
            ..Known::default()
        };
    };
    let lower = base.to_lowercase();
    let stage = dockerfile.stages[..index]
        .iter()
        .rposition(|stage| stage.from.name.as_ref() == Some(&lower));
    if let Some(stage) = stage {
        return stages[stage].clone();
    }
    let mut known = Known::default();
    known.variables.insert("PATH".to_owned(), String::new());
    if base == "scratch" {
        return known;
    }
    match (surroundings.environment)(&base) {
        Some(environment) => known.variables.extend(
            environment
                .iter()
                .filter_map(|entry| entry.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        None => known.open = true,
    }
    known
}

fn variables(
    dockerfile: &Dockerfile,
    stage: &Stage,
    mut known: Known,
    globals: &BTreeMap<String, String>,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Known {
    let escape = dockerfile.escape;
    for instruction in &stage.instructions {
        for (word, quotes) in words_of(&instruction.operation) {
            if known.open {
                break;
            }
            let missing = undefined(word, escape, quotes, &|name| known.variables.get(name).cloned());
            for name in missing {
                let close = nearest(&name, known.variables.keys().map(String::as_str))
                    .map(|name| format!(" (did you mean ${name}?)"))
                    .unwrap_or_default();
                findings.add(
                    "UndefinedVar",
                    instruction,
                    format!("Usage of undefined variable '${name}'{close}"),
                );
            }
        }
        let expand = |word: &str, known: &Known| {
            expand_word(word, escape, &|name| known.variables.get(name).cloned()).unwrap_or_default()
        };
        match &instruction.operation {
            Operation::Arg(declared) => {
                for argument in declared {
                    let value = surroundings
                        .given
                        .get(&argument.name)
                        .cloned()
                        .or_else(|| argument.default.as_ref().map(|word| expand(word, &known)))
                        .or_else(|| globals.get(&argument.name).cloned())
                        .unwrap_or_default();
                    known.variables.entry(argument.name.clone()).or_insert(value);
                }
            }
            Operation::Env(pairs) => {
                let values: Vec<(String, String)> = pairs
                    .iter()
                    .map(|(name, value)| (expand(name, &known), expand(value, &known)))
                    .collect();
                known.variables.extend(values);
            }
            Operation::Workdir(path) => directory(instruction, &expand(path, &known), &mut known, findings),
            Operation::Copy(files) if files.from.is_none() => {
                ignored(
                    instruction,
                    files,
                    &|word| expand(word, &known),
                    surroundings,
                    findings,
                );
            }
            Operation::Add(files, _) => {
                ignored(
                    instruction,
                    files,
                    &|word| expand(word, &known),
                    surroundings,
                    findings,
                );
            }
            _ => {}
        }
    }
    known
}

/// Returns the words of an instruction in which variables are expanded, and whether quotes in them mean something.
fn words_of(operation: &Operation) -> Vec<(&str, bool)> {
    match operation {
        Operation::Add(files, _) | Operation::Copy(files) => files
            .sources
            .iter()
            .chain([&files.destination])
            .chain(&files.owner)
            .chain(&files.mode)
            .map(|word| (word.as_str(), true))
            .chain(
                files
                    .documents
                    .iter()
                    .filter(|document| document.expands)
                    .map(|document| (document.content.as_str(), false)),
            )
            .collect(),
        Operation::Env(pairs) | Operation::Label(pairs) => pairs
            .iter()
            .flat_map(|(name, value)| [(name.as_str(), true), (value.as_str(), true)])
            .collect(),
        Operation::Expose(words) | Operation::Volume(words) => {
            words.iter().map(|word| (word.as_str(), true)).collect()
        }
        Operation::Stopsignal(word) | Operation::User(word) | Operation::Workdir(word) => vec![(word, true)],
        _ => Vec::new(),
    }
}

fn directory(instruction: &Instruction, path: &str, known: &mut Known, findings: &mut Findings) {
    if path.starts_with('/') {
        known.directory = true;
    } else if !known.directory {
        known.directory = true;
        let (_, written) = keyword_and_rest(&instruction.text);
        findings.add(
            "WorkdirRelativePath",
            instruction,
            format!("Relative workdir \"{written}\" can have unexpected results if the base image changes"),
        );
    }
}

fn ignored(
    instruction: &Instruction,
    files: &CopyFiles,
    expand: &dyn Fn(&str) -> String,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) {
    for source in &files.sources {
        let source = expand(source);
        let path = source.trim_start_matches("./").trim_matches('/');
        if !path.is_empty()
            && path != "."
            && !is_remote_source(&source)
            && !crate::Glob::is_pattern(&source)
            && (surroundings.is_excluded)(path)
        {
            findings.add(
                "CopyIgnoredFile",
                instruction,
                format!(
                    "Attempting to {} file \"{source}\" that is excluded by .dockerignore",
                    capitalised(instruction.operation.keyword())
                ),
            );
        }
    }
}

fn capitalised(keyword: &str) -> &'static str {
    if keyword == "ADD" { "Add" } else { "Copy" }
}
