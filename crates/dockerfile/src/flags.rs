//! The `--flag=value` words between an instruction's keyword and its arguments.

use crate::error::Problem;
use crate::nearest::nearest;

/// The flags of one instruction, taken one by one by whoever knows them.
#[derive(Debug)]
pub(crate) struct Flags {
    found: Vec<(String, Option<String>)>,
}

/// Cuts the flags off the front of `rest`; quotes and escapes in them are taken away. A lone `--` ends them.
pub(crate) fn split(rest: &str, escape: char) -> (Flags, &str) {
    let mut found = Vec::new();
    let mut rest = rest.trim_start();
    while rest.starts_with("--") {
        let mut word = String::new();
        let mut quote = None;
        let mut characters = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, character)) = characters.next() {
            match quote {
                Some(open) if character == open => quote = None,
                Some(open) if character == escape && open != '\'' => {
                    word.extend(characters.next().map(|(_, next)| next));
                }
                None if character.is_whitespace() => {
                    end = at;
                    break;
                }
                None if character == '\'' || character == '"' => quote = Some(character),
                None if character == escape => word.extend(characters.next().map(|(_, next)| next)),
                _ => word.push(character),
            }
        }
        rest = rest[end..].trim_start();
        if word == "--" {
            break;
        }
        let word = word.trim_start_matches("--");
        found.push(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
    }
    (Flags { found }, rest)
}

/// Returns the only instruction that has a flag.
fn elsewhere(flag: &str) -> Option<&'static str> {
    match flag {
        "from" | "parents" => Some("COPY"),
        "checksum" | "keep-git-dir" | "unpack" => Some("ADD"),
        "mount" | "network" | "security" | "device" => Some("RUN"),
        "platform" => Some("FROM"),
        "interval" | "timeout" | "start-period" | "start-interval" | "retries" => Some("HEALTHCHECK"),
        _ => None,
    }
}

impl Flags {
    /// Refuses flags that are not in `known`, or stand twice without being in `repeatable`.
    pub(crate) fn check(&self, known: &[&str], repeatable: &[&str]) -> Result<(), Problem> {
        for (at, (name, _)) in self.found.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let near = nearest(name, known.iter().copied());
                return Err(Problem::UnknownFlag {
                    flag: name.clone(),
                    nearest: near.map(|name| format!("--{name}")),
                    elsewhere: elsewhere(name).filter(|_| near.is_none()),
                });
            }
            if !repeatable.contains(&name.as_str()) && self.found[..at].iter().any(|(other, _)| other == name)
            {
                return Err(Problem::FlagTwice(name.clone()));
            }
        }
        Ok(())
    }

    /// Returns all values of a flag that may stand there several times.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<String>, Problem> {
        self.found
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.clone().ok_or_else(|| Problem::FlagValue(name.to_owned())))
            .collect()
    }

    /// Says whether a flag stands there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found.iter().any(|(found, _)| found == name)
    }

    /// Returns the value of a flag that needs one.
    pub(crate) fn value(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.found.iter().find(|(found, _)| found == name) {
            None => Ok(None),
            Some((_, Some(value))) => Ok(Some(value.clone())),
            Some((_, None)) => Err(Problem::FlagValue(name.to_owned())),
        }
    }

    /// Returns the value of a flag that is `true` when it stands alone.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.found.iter().find(|(found, _)| found == name) {
            None => Ok(None),
            Some((_, None)) => Ok(Some(true)),
            Some((_, Some(value))) => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(Problem::Boolean {
                    flag: name.to_owned(),
                    value: value.clone(),
                }),
            },
        }
    }
}
