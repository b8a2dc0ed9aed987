//! Names in filters: Docker takes a regular expression that matches anywhere.

use crate::EngineError;
use regex_lite::Regex;
use std::collections::BTreeMap;

/// A filter's value, ready to be compared.
#[derive(Debug, Clone)]
pub struct Pattern {
    key: String,
    text: String,
    expression: Option<Regex>,
}

impl Pattern {
    /// Prepares the values of those filters whose keys are among `keys`.
    pub fn all(filters: &[(String, String)], keys: &[&str]) -> Vec<Self> {
        let chosen = filters.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        chosen.map(|(key, text)| Self::new(key, text)).collect()
    }

    /// Prepares one value.
    pub fn new(key: &str, text: &str) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
            // What is no expression matches nothing but itself, as with Docker.
            expression: Regex::new(text).ok(),
        }
    }

    /// Says whether this is what that filter says.
    pub fn is_of(&self, key: &str, text: &str) -> bool {
        self.key == key && self.text == text
    }

    /// Says whether it matches.
    pub fn matches(&self, name: &str) -> bool {
        self.text == name
            || self
                .expression
                .as_ref()
                .is_some_and(|expression| expression.is_match(name))
    }
}

/// Refuses filters that a list does not know, in Docker's words.
pub(crate) fn check_keys(filters: &[(String, String)], known: &[&str]) -> Result<(), EngineError> {
    match filters.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) => Err(EngineError::Invalid {
            message: format!("invalid filter '{key}'"),
            hint: Some(format!("it is filtered by {}", known.join(", "))),
        }),
    }
}

/// Reads a filter that is true or false.
pub(crate) fn truth(key: &str, value: &str) -> Result<bool, EngineError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(EngineError::Invalid {
            message: format!("invalid filter '{key}={value}'"),
            hint: Some(format!("{key} is true or false")),
        }),
    }
}

/// Says whether labels satisfy a `label` filter's value: a name, or `name=value`.
pub(crate) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_anywhere_unless_anchored() {
        for (name, text, expected) in [
            ("web_1", "web", true),
            ("web_1", "^web$", false),
            ("/web", "^/web$", true),
            ("my_web", "^web", false),
            ("my_web", "web$", true),
            ("web_12", "web_[0-9]+$", true),
            ("web_x", "^/?web_[0-9]+$", false),
            ("web", "a|w.b", true),
            ("[", "[", true),
            ("web", "[", false),
        ] {
            assert_eq!(
                Pattern::new("name", text).matches(name),
                expected,
                "{name} {text}"
            );
        }
    }
}
