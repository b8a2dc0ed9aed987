//! `$NAME` and `${NAME…}` in the texts of a Compose file.

use crate::value::Value;
use std::collections::BTreeMap;

/// Puts the values of variables into all texts of a value. What is not set is empty.
pub(crate) fn all(value: Value, variables: &BTreeMap<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::Text(text) => Value::Text(one(&text, variables)?),
        Value::List(values) => {
            let values = values.into_iter().map(|value| all(value, variables));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Value::Map(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| all(value, variables).map(|value| (name, value)));
            Value::Map(fields.collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

fn one(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| format!("${{ without its }} in {text:?}"))?;
            result.push_str(&braced(&inner[..end], variables)?);
            rest = &inner[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                return Err(format!(
                    "a $ in {text:?} that names no variable: write $$ for the sign itself"
                ));
            }
            result.push_str(variables.get(&rest[..end]).map_or("", String::as_str));
            rest = &rest[end..];
        }
    }
    result.push_str(rest);
    Ok(result)
}

fn name_end(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = letter;
    }
    None
}

fn braced(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let end = name_end(text);
    let (name, form) = text.split_at(end);
    if name.is_empty() {
        return Err(format!("${{{text}}} names no variable"));
    }
    let value = variables.get(name);
    let filled = value.filter(|value| !value.is_empty());
    let (sign, word) = match form.strip_prefix(':') {
        Some(form) => (
            form.chars().next().map(|sign| (sign, true)),
            form.get(1..).unwrap_or_default(),
        ),
        None => (
            form.chars().next().map(|sign| (sign, false)),
            form.get(1..).unwrap_or_default(),
        ),
    };
    let counts = |colon: bool| if colon { filled } else { value };
    match sign {
        None if form.is_empty() => Ok(value.cloned().unwrap_or_default()),
        Some(('-', colon)) => match counts(colon) {
            Some(value) => Ok(value.clone()),
            None => one(word, variables),
        },
        Some(('+', colon)) => match counts(colon) {
            Some(_) => one(word, variables),
            None => Ok(String::new()),
        },
        Some(('?', colon)) => match counts(colon) {
            Some(value) => Ok(value.clone()),
            None => Err(format!(
                "required variable {name} is missing a value: {}",
                one(word, variables)?
            )),
        },
        _ => Err(format!(
            "${{{text}}} is no form of a variable: write ${{{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        for (text, expected) in [
            ("$A-${A}-$$A", "1-1-$A"),
            ("${B:-x${A}y}", "x1y"),
            ("${E:-x}${E-y}", "x"),
            ("${A:+set}${B+set}", "set"),
            ("$B", ""),
        ] {
            assert_eq!(one(text, &variables).unwrap(), expected, "{text}");
        }
        for (text, why) in [
            ("${B:?give it}", "required variable B is missing a value: give it"),
            ("${A", "without its }"),
            ("$1", "names no variable"),
            ("${A!x}", "no form"),
        ] {
            assert!(one(text, &variables).unwrap_err().contains(why), "{text}");
        }
    }
}
