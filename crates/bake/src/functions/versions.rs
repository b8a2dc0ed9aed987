//! Versions and what is asked of them, as <https://semver.org> and the constraints that Go programs take have it.

use super::{Arguments, Outcome};
use crate::value::Value;
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    before: Vec<String>,
}

/// A version of which parts may be missing or stand for any: `1.2`, `1.x`.
struct Partial {
    version: Version,
    /// How many of the three numbers are given.
    given: usize,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, before) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
        let mut version = Version {
            numbers: [0; 3],
            before: before
                .map(|text| text.split('.').map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        let mut given = 0;
        let parts: Vec<&str> = numbers.split('.').collect();
        if parts.len() > 3 || parts[0].is_empty() {
            return None;
        }
        for (place, part) in parts.iter().enumerate() {
            if matches!(*part, "x" | "X" | "*") {
                break;
            }
            version.numbers[place] = part.parse().ok()?;
            given = place + 1;
        }
        Some(Self { version, given })
    }

    /// The first version that is not covered by so many given numbers.
    fn above(&self, kept: usize) -> Version {
        let mut numbers = [0; 3];
        if kept == 0 {
            return Version {
                numbers: [u64::MAX; 3],
                before: Vec::new(),
            };
        }
        numbers[..kept].copy_from_slice(&self.version.numbers[..kept]);
        numbers[kept - 1] += 1;
        Version {
            numbers,
            before: Vec::new(),
        }
    }
}

impl Version {
    fn compare(&self, other: &Self) -> Ordering {
        let by_numbers = self.numbers.cmp(&other.numbers);
        by_numbers.then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.before.iter().zip(&other.before);
                let first = parts.map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => a.cmp(b),
                });
                first
                    .into_iter()
                    .find(|order| order.is_ne())
                    .unwrap_or_else(|| self.before.len().cmp(&other.before.len()))
            }
        })
    }
}

/// `semvercmp(version, constraint)`.
pub(super) fn satisfies(arguments: Arguments<'_>) -> Outcome {
    let (version, constraint) = (arguments.text(0)?, arguments.text(1)?);
    let Some(parsed) = Partial::parse(&version).filter(|parsed| parsed.given > 0) else {
        return Err(format!("{version:?} is no version"));
    };
    let mut holds = false;
    for alternative in constraint.split("||") {
        holds |= all(&parsed.version, alternative)?;
    }
    Ok(Value::Bool(holds))
}

fn all(version: &Version, constraints: &str) -> Result<bool, String> {
    let wrong = || {
        format!(
            "{:?} is no constraint such as \">= 1.2, < 2\"",
            constraints.trim()
        )
    };
    if let Some((from, to)) = constraints.split_once(" - ") {
        let from = Partial::parse(from).ok_or_else(wrong)?;
        let to = Partial::parse(to).ok_or_else(wrong)?;
        let is_below = match to.given {
            3 => version.compare(&to.version).is_le(),
            given => version.compare(&to.above(given)).is_lt(),
        };
        return Ok(version.compare(&from.version).is_ge() && is_below);
    }
    // A sign may stand apart from its version.
    let mut words = Vec::new();
    let mut sign = String::new();
    for word in constraints.split([',', ' ']).filter(|word| !word.is_empty()) {
        if word.chars().all(|c| "=!<>~^".contains(c)) {
            sign.push_str(word);
        } else {
            words.push(format!("{sign}{word}"));
            sign.clear();
        }
    }
    if words.is_empty() || !sign.is_empty() {
        return Err(wrong());
    }
    let mut holds = true;
    for word in &words {
        let end = word.find(|c| !"=!<>~^".contains(c)).unwrap_or(word.len());
        let wanted = Partial::parse(&word[end..]).ok_or_else(wrong)?;
        // A version before a release is wanted only by who names one.
        let is_hidden = !version.before.is_empty() && wanted.version.before.is_empty();
        let order = version.compare(&wanted.version);
        let within = |kept: usize| order.is_ge() && version.compare(&wanted.above(kept)).is_lt();
        let fits = match &word[..end] {
            "" | "=" | "==" if wanted.given == 3 => order.is_eq(),
            "" | "=" | "==" => within(wanted.given),
            "!=" if wanted.given == 3 => order.is_ne(),
            "!=" => !within(wanted.given),
            ">" if wanted.given == 3 => order.is_gt(),
            ">" => version.compare(&wanted.above(wanted.given)).is_ge(),
            ">=" | "=>" => order.is_ge(),
            "<" => order.is_lt(),
            "<=" | "=<" if wanted.given == 3 => order.is_le(),
            "<=" | "=<" => version.compare(&wanted.above(wanted.given)).is_lt(),
            "~" | "~>" => within(wanted.given.min(2)),
            "^" => {
                let first = wanted
                    .version
                    .numbers
                    .iter()
                    .take(wanted.given)
                    .position(|number| *number > 0);
                within(first.map_or(wanted.given, |first| first + 1))
            }
            _ => return Err(wrong()),
        };
        holds &= fits && !is_hidden;
    }
    Ok(holds)
}
