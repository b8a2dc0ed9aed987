//! Text to logical lines: directives read, comments left out, continuations joined.

use crate::error::Problem;
use crate::heredoc::Heredoc;
use crate::instruction::{CheckOptions, Lines};

/// One instruction's text before it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogicalLine {
    /// Continuations joined, comments left out, trimmed. Never empty.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) lines: Lines,
    /// Whether an empty line lies between its continuations.
    pub(crate) empty_continuation: bool,
    /// The here-documents that follow it.
    pub(crate) documents: Vec<Heredoc>,
    /// The comments right above it.
    pub(crate) comments: Vec<String>,
}

/// What the lines at the very top say about the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) escape: char,
    pub(crate) checks: CheckOptions,
}

/// Splits the text at newlines, without them and without carriage returns, and drops a byte order mark.
pub(crate) fn physical_lines(text: &str) -> Vec<&str> {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().collect()
}

/// Reads the directives: `# name=value` before anything else. The first line that is none ends them.
pub(crate) fn directives(lines: &[&str]) -> Result<Directives, (usize, Problem)> {
    let mut seen: Vec<String> = Vec::new();
    let mut escape = '\\';
    let mut checks = CheckOptions::default();
    for (index, line) in lines.iter().enumerate() {
        if index == 0 && line.starts_with("#!") {
            continue;
        }
        let Some((name, value)) = directive(line) else {
            break;
        };
        if !["syntax", "escape", "check"].contains(&name.as_str()) {
            break;
        }
        if seen.contains(&name) {
            return Err((index + 1, Problem::DirectiveTwice(name)));
        }
        match name.as_str() {
            "escape" => {
                escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    other => return Err((index + 1, Problem::Escape(other.to_owned()))),
                };
            }
            "syntax" if !is_own_syntax(value) => {
                return Err((index + 1, Problem::UnsupportedSyntax(value.to_owned())));
            }
            "check" => checks = check_options(value).map_err(|problem| (index + 1, problem))?,
            _ => {}
        }
        seen.push(name);
    }
    Ok(Directives { escape, checks })
}

/// Reads what configures the build checks: `skip=A,B;error=true`.
pub(crate) fn check_options(value: &str) -> Result<CheckOptions, Problem> {
    let mut options = CheckOptions::default();
    for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || Problem::CheckOption(part.to_owned());
        let (key, value) = part.split_once('=').ok_or_else(wrong)?;
        let names = || {
            value
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
        };
        match key.trim() {
            "skip" if value.trim() == "all" => options.skip_all = true,
            "skip" => options.skip = names().collect(),
            "experimental" if value.trim() == "all" => options.experimental_all = true,
            "experimental" => options.experimental = names().collect(),
            "error" => {
                options.error = match value.trim().to_ascii_lowercase().as_str() {
                    "true" | "1" | "t" => true,
                    "false" | "0" | "f" => false,
                    _ => return Err(wrong()),
                };
            }
            _ => return Err(wrong()),
        }
    }
    Ok(options)
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut bytes = name.bytes();
    let named =
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic()) && bytes.all(|b| b.is_ascii_alphanumeric());
    (named && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// Says whether a `syntax` directive names the language that this crate reads, in any version.
pub fn is_own_syntax(value: &str) -> bool {
    let image = value.split_whitespace().next().unwrap_or(value);
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    matches!(
        name,
        "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0"
    )
}

/// Joins continued lines, leaves out comments and empty lines, and takes here-documents as they are.
pub(crate) fn logical_lines(lines: &[&str], escape: char) -> Result<Vec<LogicalLine>, (Lines, Problem)> {
    let mut result = Vec::new();
    let mut comments: Vec<String> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        at += 1;
        if is_comment(lines[first]) {
            let text = lines[first].trim_start().trim_start_matches('#').trim();
            comments.push(text.to_owned());
            continue;
        }
        let comments = std::mem::take(&mut comments);
        let (mut text, mut continued) = match strip_continuation(lines[first].trim_start(), escape) {
            Some(text) => (text.to_owned(), true),
            None => (lines[first].trim_start().to_owned(), false),
        };
        let mut last = first;
        let mut empty_continuation = false;
        while continued && at < lines.len() {
            let line = lines[at];
            at += 1;
            if is_comment(line) {
                continue;
            }
            if line.trim().is_empty() {
                empty_continuation = true;
                continue;
            }
            last = at - 1;
            if let Some(rest) = strip_continuation(line, escape) {
                text.push_str(rest);
            } else {
                text.push_str(line);
                continued = false;
            }
        }
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let mut documents = if may_have_documents(text) {
            Heredoc::opened_by(text, escape)
        } else {
            Vec::new()
        };
        for document in &mut documents {
            loop {
                let Some(line) = lines.get(at) else {
                    let place = Lines {
                        first: first + 1,
                        last: last + 1,
                    };
                    return Err((place, Problem::UnterminatedHeredoc(document.name.clone())));
                };
                at += 1;
                if document.is_ended_by(line) {
                    break;
                }
                document.content.push_str(line);
                document.content.push('\n');
            }
            last = at - 1;
        }
        result.push(LogicalLine {
            text: text.to_owned(),
            lines: Lines {
                first: first + 1,
                last: last + 1,
            },
            empty_continuation,
            documents,
            comments,
        });
    }
    Ok(result)
}

/// Says whether an instruction is one of those that here-documents may follow.
fn may_have_documents(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let mut keyword = words.next().unwrap_or_default();
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        keyword = words.next().unwrap_or_default();
    }
    ["ADD", "COPY", "RUN"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(keyword))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Returns the line without the escape character that ends it, if one does. A doubled one is itself escaped.
fn strip_continuation(line: &str, escape: char) -> Option<&str> {
    let rest = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!rest.ends_with(escape)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str, escape: char) -> Vec<(String, usize, usize)> {
        logical_lines(&physical_lines(text), escape)
            .unwrap()
            .into_iter()
            .map(|line| (line.text, line.lines.first, line.lines.last))
            .collect()
    }

    #[test]
    fn continuations_are_joined_and_comments_left_out() {
        for (text, expected) in [
            ("FROM a\nRUN b\n", vec![("FROM a", 1, 1), ("RUN b", 2, 2)]),
            (
                "\u{feff}FROM a\r\nRUN b\r\n",
                vec![("FROM a", 1, 1), ("RUN b", 2, 2)],
            ),
            ("RUN a \\\n  b", vec![("RUN a   b", 1, 2)]),
            ("RUN a \\  \n  b", vec![("RUN a   b", 1, 2)]),
            (
                "RUN a \\\n# no\n  # no\n b\nX",
                vec![("RUN a  b", 1, 4), ("X", 5, 5)],
            ),
            ("RUN a \\\n\n b", vec![("RUN a  b", 1, 3)]),
            ("RUN a \\\\\nB", vec![(r"RUN a \\", 1, 1), ("B", 2, 2)]),
            ("RUN a \\", vec![("RUN a", 1, 1)]),
            ("\n\n  # c\n   FROM a", vec![("FROM a", 4, 4)]),
            (
                "RUN echo # not a comment",
                vec![("RUN echo # not a comment", 1, 1)],
            ),
            ("\\\nFROM a", vec![("FROM a", 1, 2)]),
            ("RUN a \\\r\n b\r\n", vec![("RUN a  b", 1, 2)]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(text, first, last)| (text.to_owned(), first, last))
                .collect();
            assert_eq!(joined(text, '\\'), expected, "{text:?}");
        }
        assert_eq!(
            joined("RUN dir c:\\\nRUN a `\n b", '`'),
            [("RUN dir c:\\".to_owned(), 1, 1), ("RUN a  b".to_owned(), 2, 3)]
        );
    }

    #[test]
    fn directives_stand_at_the_top_only() {
        let escape = |text: &str| directives(&physical_lines(text)).map(|found| found.escape);
        for (text, expected) in [
            ("# escape=`\n", Ok('`')),
            ("#escape = `\n", Ok('`')),
            ("# ESCAPE=`", Ok('`')),
            ("# syntax=docker/dockerfile:1\n# escape=`", Ok('`')),
            ("# a comment\n# escape=`", Ok('\\')),
            ("\n# escape=`", Ok('\\')),
            ("FROM a\n# escape=`", Ok('\\')),
            ("# unknown=1\n# escape=`", Ok('\\')),
            ("#!/usr/bin/env x\n# escape=`", Ok('`')),
            ("# check=skip=all;error=true\n# escape=`", Ok('`')),
            ("# escape=x", Err((1, Problem::Escape("x".into())))),
            (
                "# escape=`\n# escape=`",
                Err((2, Problem::DirectiveTwice("escape".into()))),
            ),
            (
                "# syntax=me/mine:1",
                Err((1, Problem::UnsupportedSyntax("me/mine:1".into()))),
            ),
        ] {
            assert_eq!(escape(text), expected, "{text:?}");
        }
        for syntax in [
            "docker/dockerfile",
            "docker/dockerfile:1.7-labs",
            "docker.io/docker/dockerfile:1",
            "docker/dockerfile-upstream:master",
            "docker/dockerfile:1@sha256:aa",
        ] {
            assert!(escape(&format!("# syntax={syntax}")).is_ok(), "{syntax}");
        }
    }
}
