//! Tables: rows of named fields, printed in columns, as JSON lines or through a template.

use super::template::{Labels, Template};
use super::{json, text};
use crate::failure::Failure;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Narrowest column, and what stands between columns, as Docker sets its tabwriter.
const NARROWEST: usize = 10;
const BETWEEN: usize = 3;

/// One row: its fields by the names that templates use, and its labels for `.Label "name"`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// Field names and texts.
    pub fields: Map<String, Value>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Row {
    /// Makes a row of fields.
    pub(crate) fn new<const N: usize>(fields: [(&str, String); N]) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)));
        Self {
            fields: fields.collect(),
            labels: BTreeMap::new(),
        }
    }

    /// Replaces a field.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: String) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds labels, and the field `Labels` that shows them all.
    #[must_use]
    pub(crate) fn with_labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        let all: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.fields.insert("Labels".into(), all.join(",").into());
        self.labels.clone_from(labels);
        self
    }
}

/// What a kind of row looks like.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// The type that Docker's messages call it: `*formatter.ContainerContext`.
    pub kind: &'a str,
    /// Field names and column headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The template of the table without `--format`.
    pub default: &'a str,
    /// The template of `--quiet`.
    pub quiet: &'a str,
}

/// Prints rows as `--format` and `--quiet` say.
pub(crate) fn print(
    layout: &Layout<'_>,
    rows: &[Row],
    format: Option<&str>,
    quiet: bool,
) -> Result<(), Failure> {
    text(&render(layout, rows, format, quiet)?)
}

/// Writes rows as `--format` and `--quiet` say.
pub(crate) fn render(
    layout: &Layout<'_>,
    rows: &[Row],
    format: Option<&str>,
    quiet: bool,
) -> Result<String, Failure> {
    let format = format.filter(|format| !format.is_empty());
    let (template, table) = match format {
        None | Some("table") if quiet => (layout.quiet.to_owned(), false),
        None | Some("table") => (layout.default.to_owned(), true),
        Some("json") => return Ok(json_lines(rows)),
        Some(format) => match format.strip_prefix("table") {
            Some(rest) if rest.starts_with([' ', '\t', '{']) => (rest.trim_matches(' ').to_owned(), true),
            _ => (format.to_owned(), false),
        },
    };
    let template = template.replace("\\t", "\t").replace("\\n", "\n");
    let parsed = Template::parse(&template)
        .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
    let execute = |data: &Value, labels: Labels<'_>| {
        parsed
            .execute(data, labels, Some(layout.kind))
            .map_err(|error| Failure::new(format!("failed to execute template: {error}")))
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for row in rows {
        lines.push(execute(
            &Value::Object(row.fields.clone()),
            Labels::Of(&row.labels),
        )?);
    }
    if table {
        let headers = layout
            .headers
            .iter()
            .map(|(name, header)| ((*name).to_owned(), Value::from(*header)));
        let headers = Value::Object(headers.collect());
        lines.insert(0, execute(&headers, Labels::Headers)?);
        return Ok(columns(&lines));
    }
    let mut text = lines.join("\n");
    if !lines.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

fn json_lines(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&json::compact(&Value::Object(row.fields.clone())));
        text.push('\n');
    }
    text
}

/// Aligns lines at their tabs: each column as wide as its widest cell and three spaces. The last cell of a line takes
/// no part in it.
pub(crate) fn columns(lines: &[String]) -> String {
    columns_of_at_least(NARROWEST, lines)
}

/// Likewise, with another narrowest column.
pub(crate) fn columns_of_at_least(narrowest: usize, lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().flat_map(|line| line.split('\n')).collect();
    let cells: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let count = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let ended = cells.iter().filter(|row| row.len() > column + 1);
        let widest = ended.map(|row| row[column].chars().count()).max().unwrap_or(0);
        (widest + BETWEEN).max(narrowest)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let padding = widths[column] - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout<'_> = Layout {
        kind: "*formatter.ContainerContext",
        headers: &[("ID", "CONTAINER ID"), ("Names", "NAMES")],
        default: "table {{.ID}}\t{{.Names}}",
        quiet: "{{.ID}}",
    };

    fn rows() -> Vec<Row> {
        let labels = [("com.example.tier".to_owned(), "db".to_owned())].into();
        vec![
            Row::new([("ID", "0123456789ab".into()), ("Names", "pg".into())]).with_labels(&labels),
            Row::new([("ID", "ab".into()), ("Names", "x".into())]).with_labels(&BTreeMap::new()),
        ]
    }

    #[test]
    fn every_way_to_print() {
        let layout = Layout {
            default: "{{.ID}}\t{{.Names}}",
            ..LAYOUT
        };
        for (format, quiet, expected) in [
            (
                None,
                false,
                "CONTAINER ID   NAMES\n0123456789ab   pg\nab             x\n",
            ),
            (None, true, "0123456789ab\nab\n"),
            (Some("{{.Names}}"), false, "pg\nx\n"),
            (Some("{{.Names}}"), true, "pg\nx\n"),
            (
                Some(r#"table {{.Names}}\t{{.Label "com.example.tier"}}"#),
                false,
                "NAMES     tier\npg        db\nx         \n",
            ),
            (
                Some("json"),
                false,
                concat!(
                    r#"{"ID":"0123456789ab","Labels":"com.example.tier=db","Names":"pg"}"#,
                    "\n",
                    r#"{"ID":"ab","Labels":"","Names":"x"}"#,
                    "\n"
                ),
            ),
        ] {
            assert_eq!(
                render(&layout, &rows(), format, quiet).unwrap(),
                expected,
                "{format:?}"
            );
        }
    }

    #[test]
    fn mistakes_in_dockers_words() {
        for (format, message) in [
            (
                "{{.Foo}}",
                "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext",
            ),
            ("{{", "failed to parse template: template: :1: unclosed action"),
        ] {
            let error = render(&LAYOUT, &rows(), Some(format), false).unwrap_err();
            assert_eq!(error.message, message);
        }
    }
}
