//! The part of Go's `text/template` that `--format` needs: pipelines, variables, `if`, `range`, `with`, `define`,
//! `template`, `block`, trimming, the built-in functions and Docker's own.

mod eval;
mod functions;
mod lexer;
mod parser;
mod value;

use serde_json::Value;
use std::collections::BTreeMap;

/// Why a template cannot be read or executed, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

/// What `.Label "name"` answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Labels<'a> {
    /// Column headers made of the label's name.
    Headers,
    /// There is no such method.
    None,
    /// Values.
    Of(&'a BTreeMap<String, String>),
}

/// A template, read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parser::Node>,
    definitions: parser::Definitions,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (nodes, definitions) = parser::parse(lexer::tokens(text)?)?;
        Ok(Self { nodes, definitions })
    }

    /// Executes it on a value. `kind` is the type that a message names when a field is not there; without one a
    /// missing field is that of a map.
    pub(crate) fn execute(
        &self,
        data: &Value,
        labels: Labels<'_>,
        kind: Option<&str>,
    ) -> Result<String, TemplateError> {
        eval::execute(&self.nodes, &self.definitions, data, labels, kind)
    }
}

#[cfg(test)]
mod tests;
