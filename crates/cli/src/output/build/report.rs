//! What `build --check` and `build --call` print.

use super::excerpt::excerpt;
use engine::builder::call::{Outline, Target};
use engine::builder::{CHECKS, Warning, rule_url};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// What the checks found, as text.
pub(crate) fn checks(name: &Path, text: &str, warnings: &[Warning]) -> String {
    let mut report = match warnings.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in warnings {
        let lines = warning.lines.first..=warning.lines.last;
        // A string takes all that is written to it.
        let written = writeln!(
            report,
            "\nWARNING: {} - {}\n{}\n{}",
            warning.check,
            rule_url(warning.check),
            warning.message,
            excerpt(name, text, &lines)
        );
        debug_assert!(written.is_ok());
    }
    report
}

/// The same as JSON.
pub(crate) fn checks_json(name: &Path, text: &str, warnings: &[Warning]) -> String {
    let found: Vec<Value> = warnings
        .iter()
        .map(|warning| {
            let description = CHECKS
                .iter()
                .find(|check| check.name == warning.check)
                .map_or("", |check| check.description);
            json!({
                "ruleName": warning.check,
                "description": description,
                "url": rule_url(warning.check),
                "detail": warning.message,
                "location": {"ranges": [{
                    "start": {"line": warning.lines.first},
                    "end": {"line": warning.lines.last},
                }]},
            })
        })
        .collect();
    pretty(&json!({
        "warnings": found,
        "sources": [{"filename": name.display().to_string(), "language": "Dockerfile", "data": text}],
    }))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The stages that can be built, as text or JSON.
pub(crate) fn targets(targets: &[Target], as_json: bool) -> String {
    if as_json {
        let all: Vec<Value> = targets
            .iter()
            .map(|target| {
                json!({
                    "name": target.name,
                    "base": target.base,
                    "description": target.description,
                    "default": target.default,
                })
            })
            .collect();
        return pretty(&json!({"targets": all}));
    }
    let rows = targets.iter().map(|target| {
        let mut name = target.name.clone();
        if target.default {
            name = if name.is_empty() {
                "(default)".to_owned()
            } else {
                format!("{name} (default)")
            };
        }
        vec![name, target.description.clone()]
    });
    columns(&["TARGET", "DESCRIPTION"], rows.collect())
}

/// What a target takes, as text or JSON.
pub(crate) fn outline(outline: &Outline, as_json: bool) -> String {
    if as_json {
        let arguments: Vec<Value> = outline
            .arguments
            .iter()
            .map(|(name, value, description)| json!({"name": name, "value": value, "description": description}))
            .collect();
        let wants = |list: &[(String, bool)]| -> Vec<Value> {
            list.iter()
                .map(|(name, required)| json!({"name": name, "required": required}))
                .collect()
        };
        return pretty(&json!({
            "name": outline.name,
            "description": outline.description,
            "args": arguments,
            "secrets": wants(&outline.secrets),
            "ssh": wants(&outline.agents),
        }));
    }
    let mut text = String::new();
    if !outline.name.is_empty() {
        text.extend(["TARGET:      ", &outline.name, "\n"]);
    }
    if !outline.description.is_empty() {
        text.extend(["DESCRIPTION: ", &outline.description, "\n"]);
    }
    let mut table = |headers: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&columns(headers, rows));
        }
    };
    let arguments = outline.arguments.iter().map(|(name, value, description)| {
        vec![
            name.clone(),
            value.clone().unwrap_or_default(),
            description.clone(),
        ]
    });
    table(&["BUILD ARG", "VALUE", "DESCRIPTION"], arguments.collect());
    let wants = |list: &[(String, bool)]| {
        list.iter()
            .map(|(name, required)| {
                vec![
                    name.clone(),
                    if *required {
                        "true".to_owned()
                    } else {
                        String::new()
                    },
                ]
            })
            .collect()
    };
    table(&["SECRET", "REQUIRED"], wants(&outline.secrets));
    table(&["SSH", "REQUIRED"], wants(&outline.agents));
    text
}

fn columns(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let headers: Vec<String> = headers.iter().map(|&header| header.to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(headers).chain(rows).collect();
    let widths: Vec<usize> = (0..all[0].len())
        .map(|column| {
            all.iter()
                .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in &all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}
