//! What became of each step that makes a layer, for those who want to know more than progress shows.

use oci::Digest;
use serde_json::Value;
use store::Layer;

/// A step that was done, or whose result was in the cache.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The instruction.
    pub summary: String,
    /// What it was looked up by.
    pub key: Digest,
    /// Whether its result was in the cache.
    pub cached: bool,
    /// What it took, now or when it was done.
    pub seconds: f64,
    /// What it made; it may have made nothing.
    pub layer: Option<Layer>,
    /// What went into the key.
    pub inputs: Value,
}

/// Says why two documents of inputs are not the same: the first input that differs, for people.
pub fn first_difference(before: &Value, now: &Value) -> Option<String> {
    let field = |document: &Value, name: &str| document.get(name).cloned().unwrap_or(Value::Null);
    for (name, shown) in [
        ("below", "what it stands on: the base image, or a step before it"),
        ("operation", "the instruction"),
        ("from", "the stage or image that it copies from"),
    ] {
        if field(before, name) != field(now, name) {
            return Some(shown.to_owned());
        }
    }
    if let Some(variable) = variable(&field(before, "environment"), &field(now, "environment")) {
        return Some(format!("the variable {variable}"));
    }
    for (name, shown) in [
        ("directory", "the working directory"),
        ("user", "the user"),
        ("network", "the network"),
        ("time", "SOURCE_DATE_EPOCH"),
    ] {
        let (old, new) = (field(before, name), field(now, name));
        if old != new {
            return Some(format!("{shown} (it was {old}, now {new})"));
        }
    }
    if let Some(path) = entry(&field(before, "contents"), &field(now, "contents")) {
        return Some(path);
    }
    (field(before, "files") != field(now, "files")).then(|| "the files that it copies".to_owned())
}

/// Finds the first variable that is not the same in both lists of `NAME=value`.
fn variable(before: &Value, now: &Value) -> Option<String> {
    let list = |value: &Value| -> Vec<String> {
        let values = value.as_array().into_iter().flatten();
        values
            .filter_map(|entry| entry.as_str().map(str::to_owned))
            .collect()
    };
    let (before, now) = (list(before), list(now));
    let other = |entry: &&String, list: &[String]| !list.contains(entry);
    let entry = now
        .iter()
        .find(|entry| other(entry, &before))
        .or_else(|| before.iter().find(|entry| other(entry, &now)))?;
    Some(entry.split('=').next().unwrap_or_default().to_owned())
}

/// Finds the first path that is not the same in both maps of paths to digests.
fn entry(before: &Value, now: &Value) -> Option<String> {
    let (before, now) = (before.as_object()?, now.as_object()?);
    for (path, digest) in now {
        match before.get(path) {
            None => return Some(format!("{path} (new)")),
            Some(old) if old != digest => return Some(format!("{path} (changed)")),
            Some(_) => {}
        }
    }
    let gone = before.keys().find(|path| !now.contains_key(*path))?;
    Some(format!("{gone} (gone)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_the_one_that_says_most() {
        let before = json!({
            "operation": "COPY . /", "below": "sha256:1", "environment": ["A=1", "B=2"], "time": 5,
            "files": "sha256:2", "contents": {"a": "1", "b": "2"},
        });
        let with = |name: &str, value: Value| {
            let mut now = before.clone();
            now[name] = value;
            first_difference(&before, &now)
        };
        assert_eq!(first_difference(&before, &before), None);
        for (name, value, expected) in [
            ("below", json!("x"), "what it stands on"),
            ("environment", json!(["A=1", "B=3"]), "the variable B"),
            ("environment", json!(["B=2"]), "the variable A"),
            ("contents", json!({"a": "1", "b": "3"}), "b (changed)"),
            ("contents", json!({"a": "1", "b": "2", "c": "3"}), "c (new)"),
            ("contents", json!({"a": "1"}), "b (gone)"),
            ("files", json!("sha256:3"), "the files"),
            ("time", json!(6), "SOURCE_DATE_EPOCH (it was 5, now 6)"),
        ] {
            let found = with(name, value).unwrap();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
