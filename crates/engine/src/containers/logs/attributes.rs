//! What stands beside every line of a log: labels and variables that `--log-opt` names, and a tag.

use regex_lite::Regex;
use std::collections::BTreeMap;

/// Reads one of the options that are regular expressions.
pub(super) fn expression(option: &str, text: &str) -> Result<Option<Regex>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Regex::new(text)
        .map(Some)
        .map_err(|error| format!("invalid value for log opt '{option}': {error}"))
}

/// Picks labels and variables: `labels` and `env` name them, `labels-regex` and `env-regex` describe their names.
pub(super) fn pick(
    options: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
    environment: &[String],
) -> Result<BTreeMap<String, String>, String> {
    let variables: BTreeMap<&str, &str> = environment
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let labels: BTreeMap<&str, &str> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut picked = BTreeMap::new();
    // A variable wins over a label of the same name.
    for (by_name, by_expression, from) in [
        ("labels", "labels-regex", &labels),
        ("env", "env-regex", &variables),
    ] {
        let option = |name: &str| options.get(name).map(String::as_str).unwrap_or_default();
        let wanted: Vec<&str> = option(by_name).split(',').collect();
        let expression = expression(by_expression, option(by_expression))?;
        for (name, value) in from {
            let described = expression.as_ref().is_some_and(|it| it.is_match(name));
            if described || wanted.contains(name) {
                picked.insert((*name).to_owned(), (*value).to_owned());
            }
        }
    }
    Ok(picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_and_expressions() {
        let labels = map(&[("com.example.a", "1"), ("com.example.b", "2"), ("other", "3")]);
        let environment = ["ONE=x", "TWO=y=z", "other=4", "BARE"].map(str::to_owned);
        for (options, expected) in [
            (map(&[]), map(&[])),
            (map(&[("labels", "other,absent")]), map(&[("other", "3")])),
            (
                map(&[("labels-regex", "^com\\.example\\.")]),
                map(&[("com.example.a", "1"), ("com.example.b", "2")]),
            ),
            (
                map(&[("env", "TWO,BARE"), ("env-regex", "^O")]),
                map(&[("ONE", "x"), ("TWO", "y=z")]),
            ),
            (
                map(&[("labels", "other"), ("env", "other")]),
                map(&[("other", "4")]),
            ),
        ] {
            assert_eq!(pick(&options, &labels, &environment), Ok(expected), "{options:?}");
        }
        let error = pick(&map(&[("env-regex", "(")]), &labels, &environment).unwrap_err();
        assert!(
            error.starts_with("invalid value for log opt 'env-regex': "),
            "{error}"
        );
    }
}
