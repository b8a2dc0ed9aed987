//! What clients ask of a Dockerfile without building it (`--check`, `--call=outline`, `--call=targets`): BuildKit's
//! subrequests, answered in the metadata of a result that has nothing else.

use super::SolveError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Engine;
use engine::builder::call::{Outline, Target};
use engine::builder::{Build, CHECKS, Warning, rule_url};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write;

/// What a result says of itself, by name.
pub(super) type Metadata = HashMap<String, Vec<u8>>;

/// The version of all these requests: clients print what they know in their own way.
const VERSION: &str = "1.0.0";
const DESCRIBE: &str = "frontend.subrequests.describe";
const OUTLINE: &str = "frontend.outline";
const TARGETS: &str = "frontend.targets";
const LINT: &str = "frontend.lint";

/// Answers one of these requests.
pub(super) fn answer(engine: &Engine, build: &Build, request: &str) -> Result<Metadata, SolveError> {
    let failed = |error: engine::builder::BuildError| SolveError::Build {
        error: Box::new(Box::new(error).into()),
        dockerfile: Box::new((
            build.dockerfile.0.display().to_string(),
            build.dockerfile.1.clone(),
        )),
    };
    let (document, text, findings) = match request {
        DESCRIBE => (describe(), described(), None),
        OUTLINE => {
            let found = engine::builder::call::outline(build).map_err(failed)?;
            (outline(build, &found), outlined(&found), None)
        }
        TARGETS => {
            let found = engine::builder::call::targets(build).map_err(failed)?;
            (targets(build, &found), listed(&found), None)
        }
        LINT => {
            let found = engine.builds().check(build).map_err(|error| SolveError::Build {
                error: Box::new(error),
                dockerfile: Box::new((
                    build.dockerfile.0.display().to_string(),
                    build.dockerfile.1.clone(),
                )),
            })?;
            (lint(build, &found), said(&found), Some(found.len()))
        }
        other => {
            return Err(SolveError::Unsupported(format!(
                "the request {other} (there are {OUTLINE}, {TARGETS}, {LINT} and {DESCRIBE})"
            )));
        }
    };
    let mut metadata = Metadata::from([
        ("version".to_owned(), VERSION.into()),
        ("result.json".to_owned(), format!("{document:#}").into_bytes()),
        ("result.txt".to_owned(), text.into_bytes()),
    ]);
    if let Some(findings) = findings {
        let code = if findings == 0 { "0" } else { "1" };
        metadata.insert("result.statuscode".to_owned(), code.into());
    }
    Ok(metadata)
}

fn source(build: &Build) -> String {
    STANDARD.encode(&build.dockerfile.1)
}

fn place(first: usize, last: usize) -> Value {
    json!({ "ranges": [{ "start": { "line": first }, "end": { "line": last } }] })
}

/// Adds what is not empty, as Go leaves the rest out.
fn add(into: &mut Map<String, Value>, name: &str, value: &str) {
    if !value.is_empty() {
        into.insert(name.to_owned(), value.into());
    }
}

fn lint(build: &Build, warnings: &[Warning]) -> Value {
    let found: Vec<Value> = warnings
        .iter()
        .map(|warning| {
            let known = CHECKS.iter().find(|check| check.name == warning.check);
            json!({
                "ruleName": warning.check,
                "description": known.map_or("", |check| check.description),
                "url": rule_url(warning.check),
                "detail": warning.message,
                "location": place(warning.lines.first, warning.lines.last),
            })
        })
        .collect();
    json!({
        "warnings": found,
        "sources": [{
            "filename": build.dockerfile.0.display().to_string(),
            "language": "Dockerfile",
            "data": source(build),
        }],
    })
}

fn said(warnings: &[Warning]) -> String {
    warnings.iter().fold(String::new(), |mut text, warning| {
        // A string takes all that is written to it.
        write!(
            text,
            "{} - {}\n{} (line {})\n\n",
            warning.check,
            rule_url(warning.check),
            warning.message,
            warning.lines.first
        )
        .unwrap_or_default();
        text
    })
}

fn targets(build: &Build, targets: &[Target]) -> Value {
    let all: Vec<Value> = targets
        .iter()
        .map(|target| {
            let mut entry = Map::new();
            add(&mut entry, "name", &target.name);
            if target.default {
                entry.insert("default".to_owned(), true.into());
            }
            add(&mut entry, "description", &target.description);
            add(&mut entry, "base", &target.base);
            entry.insert(
                "location".to_owned(),
                place(target.lines.first, target.lines.last),
            );
            entry.into()
        })
        .collect();
    json!({ "targets": all, "sources": [source(build)] })
}

fn listed(targets: &[Target]) -> String {
    let lines = targets.iter().map(|target| {
        let mark = if target.default { " (default)" } else { "" };
        format!("{}{mark}\t{}\n", target.name, target.description)
    });
    std::iter::once("TARGET\tDESCRIPTION\n".to_owned())
        .chain(lines)
        .collect()
}

fn outline(build: &Build, outline: &Outline) -> Value {
    let mut document = Map::new();
    add(&mut document, "name", &outline.name);
    add(&mut document, "description", &outline.description);
    let mut list = |name: &str, entries: Vec<Value>| {
        if !entries.is_empty() {
            document.insert(name.to_owned(), entries.into());
        }
    };
    let arguments = outline.arguments.iter().map(|(name, value, description)| {
        let mut entry = Map::new();
        add(&mut entry, "name", name);
        add(&mut entry, "description", description);
        add(&mut entry, "value", value.as_deref().unwrap_or_default());
        entry.into()
    });
    list("args", arguments.collect());
    let wanted = |(name, required): &(String, bool)| {
        let mut entry = Map::new();
        add(&mut entry, "name", name);
        if *required {
            entry.insert("required".to_owned(), true.into());
        }
        entry.into()
    };
    list("secrets", outline.secrets.iter().map(wanted).collect());
    list("ssh", outline.agents.iter().map(wanted).collect());
    document.insert("sources".to_owned(), json!([source(build)]));
    document.into()
}

fn outlined(outline: &Outline) -> String {
    let mut text = String::new();
    if !outline.name.is_empty() {
        text.extend(["TARGET:\t", &outline.name, "\n"]);
    }
    for (name, value, description) in &outline.arguments {
        let value = value.as_deref().unwrap_or_default();
        text.extend(["ARG\t", name, "\t", value, "\t", description, "\n"]);
    }
    for (kind, list) in [("SECRET\t", &outline.secrets), ("SSH\t", &outline.agents)] {
        for (name, required) in list {
            text.extend([kind, name, if *required { "\trequired\n" } else { "\n" }]);
        }
    }
    text
}

/// The requests, and what they are for.
const REQUESTS: [(&str, &str); 4] = [
    (OUTLINE, "List all parameters current build target supports"),
    (TARGETS, "List all targets current build supports"),
    (LINT, "Lint a Dockerfile"),
    (DESCRIBE, "List available subrequest types"),
];

fn describe() -> Value {
    let named = ["result.json", "result.txt"].map(|name| json!({ "name": name, "description": "" }));
    REQUESTS
        .iter()
        .map(|(name, description)| {
            json!({
                "name": name,
                "version": VERSION,
                "type": "rpc",
                "description": description,
                "opts": [],
                "inputs": [],
                "metadata": named,
                "refs": [],
            })
        })
        .collect()
}

fn described() -> String {
    let lines = REQUESTS.map(|(name, description)| format!("{name}\t{VERSION}\t{description}\n"));
    lines.concat()
}
