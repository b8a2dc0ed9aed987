//! Names in filters: Docker takes a regular expression that matches anywhere.

use regex_lite::Regex;

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
