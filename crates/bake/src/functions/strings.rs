//! Strings.

use super::{Arguments, Outcome};
use crate::value::{Number, Value};
use regex_lite::{Captures, Regex};
use std::collections::BTreeMap;

pub(super) fn call(name: &str, arguments: Arguments<'_>) -> Option<Outcome> {
    let text = |change: &dyn Fn(&str) -> String| Ok(Value::Text(change(&arguments.text(0)?)));
    let with = |change: &dyn Fn(&str, &str) -> String| {
        Ok(Value::Text(change(&arguments.text(0)?, &arguments.text(1)?)))
    };
    Some(match name {
        "upper" => text(&str::to_uppercase),
        "lower" => text(&str::to_lowercase),
        "title" => text(&title),
        "trimspace" => text(&|text| text.trim().to_owned()),
        "chomp" => text(&|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        "reverse" => text(&|text| text.chars().rev().collect()),
        "trim" => with(&|text, cut| text.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimprefix" => with(&|text, prefix| text.strip_prefix(prefix).unwrap_or(text).to_owned()),
        "trimsuffix" => with(&|text, suffix| text.strip_suffix(suffix).unwrap_or(text).to_owned()),
        "basename" => text(&base_name),
        "dirname" => text(&directory_name),
        "sanitize" => text(&|text| {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            text.chars().map(|c| if good(c) { c } else { '_' }).collect()
        }),
        "strlen" => arguments.text(0).map(|text| text.chars().count().into()),
        "byteslen" => arguments.text(0).map(|text| text.len().into()),
        "indent" => indent(arguments),
        "join" => join(arguments),
        "split" => split(arguments),
        "replace" => replace(arguments),
        "substr" => substring(arguments),
        "bytesslice" => bytes(arguments),
        "regex" => regex(arguments),
        "regexall" => regex_all(arguments),
        "regex_replace" => regex_replace(arguments),
        _ => return None,
    })
}

/// Makes the first letter of each word large.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        in_word = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    titled
}

/// As Go's `path.Base`.
fn base_name(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "/" } else { name }.to_owned()
}

/// As Go's `path.Dir`.
fn directory_name(path: &str) -> String {
    let Some(end) = path.rfind('/') else {
        return ".".to_owned();
    };
    clean_path(&path[..=end])
}

/// As Go's `path.Clean`: no `.`, no doubled slashes, `..` taken with what stands before it.
pub(crate) fn clean_path(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if is_absolute => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn indent(arguments: Arguments<'_>) -> Outcome {
    let (count, text) = (arguments.number(0)?, arguments.text(1)?);
    let count = count.index().filter(|count| *count <= 1000);
    let count = count.ok_or("the number of spaces is from 0 to 1000")?;
    Ok(Value::Text(
        text.replace('\n', &format!("\n{}", " ".repeat(count))),
    ))
}

fn join(arguments: Arguments<'_>) -> Outcome {
    let separator = arguments.text(0)?;
    let mut all = Vec::new();
    arguments.value(1)?;
    for place in 1..arguments.0.len() {
        all.extend(arguments.texts(place)?);
    }
    Ok(Value::Text(all.join(&separator)))
}

fn split(arguments: Arguments<'_>) -> Outcome {
    let (separator, text) = (arguments.text(0)?, arguments.text(1)?);
    if separator.is_empty() {
        return Ok(Value::List(
            text.chars().map(|c| Value::Text(c.to_string())).collect(),
        ));
    }
    Ok(Value::List(text.split(&separator).map(Value::from).collect()))
}

fn replace(arguments: Arguments<'_>) -> Outcome {
    let (text, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    Ok(Value::Text(text.replace(&from, &to)))
}

/// Finds where a part begins and how long it is; a negative offset counts from the end, a negative length goes to it.
fn part(length: usize, offset: i128, wanted: i128) -> Result<(usize, usize), String> {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let from = if offset < 0 {
        (length + offset).max(0)
    } else {
        offset.min(length)
    };
    let rest = length - from;
    let count = if wanted < 0 { rest } else { wanted.min(rest) };
    match (usize::try_from(from), usize::try_from(count)) {
        (Ok(from), Ok(count)) => Ok((from, count)),
        _ => Err("the offset is too large".to_owned()),
    }
}

fn substring(arguments: Arguments<'_>) -> Outcome {
    let (text, offset, length) = (arguments.text(0)?, arguments.whole(1)?, arguments.whole(2)?);
    let letters: Vec<char> = text.chars().collect();
    let (from, count) = part(letters.len(), offset, length)?;
    Ok(Value::Text(letters[from..from + count].iter().collect()))
}

fn bytes(arguments: Arguments<'_>) -> Outcome {
    let (text, offset, length) = (arguments.text(0)?, arguments.whole(1)?, arguments.whole(2)?);
    let (from, count) = part(text.len(), offset, length)?;
    let bytes = &text.as_bytes()[from..from + count];
    Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned()))
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("{text:?} is no regular expression: {error}"))
}

/// What a match gives: its text, the texts of its groups, or an object if they have names.
fn captured(regex: &Regex, captures: &Captures<'_>) -> Value {
    let group = |index: usize| {
        captures
            .get(index)
            .map_or(Value::Null, |found| found.as_str().into())
    };
    if regex.captures_len() == 1 {
        return group(0);
    }
    let names: Vec<Option<&str>> = regex.capture_names().collect();
    if names.iter().any(Option::is_some) {
        let fields: BTreeMap<String, Value> = names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some(((*name)?.to_owned(), group(index))))
            .collect();
        return Value::Map(fields);
    }
    Value::List((1..regex.captures_len()).map(group).collect())
}

fn regex(arguments: Arguments<'_>) -> Outcome {
    let (regex, text) = (pattern(&arguments.text(0)?)?, arguments.text(1)?);
    match regex.captures(&text) {
        Some(captures) => Ok(captured(&regex, &captures)),
        None => Err(format!("nothing in {text:?} matches {:?}", regex.as_str())),
    }
}

fn regex_all(arguments: Arguments<'_>) -> Outcome {
    let (regex, text) = (pattern(&arguments.text(0)?)?, arguments.text(1)?);
    let all = regex.captures_iter(&text);
    Ok(Value::List(
        all.map(|captures| captured(&regex, &captures)).collect(),
    ))
}

fn regex_replace(arguments: Arguments<'_>) -> Outcome {
    let (text, regex, by) = (
        arguments.text(0)?,
        pattern(&arguments.text(1)?)?,
        arguments.text(2)?,
    );
    Ok(Value::Text(regex.replace_all(&text, by.as_str()).into_owned()))
}

/// Says where an element of a list is.
pub(super) fn place_of(list: &[Value], wanted: &Value) -> Option<Value> {
    let place = list.iter().position(|value| value == wanted)?;
    Some(Value::Number(Number::Whole(i128::try_from(place).ok()?)))
}
