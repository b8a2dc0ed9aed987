//! What outputs, caches, attestations, secrets and agents are described by: names and values, written as a line or as an
//! object.

use crate::csv;
use crate::value::Value;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Names and values of an output, a cache or an attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(pub BTreeMap<String, String>);

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.iter().map(|(name, value)| {
            let value = match (name.as_str(), value.as_str()) {
                ("disabled", "true") => true.into(),
                (_, value) => serde_json::Value::from(value),
            };
            (name, value)
        });
        serializer.collect_map(fields)
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        // People look for the type first.
        fields.sort_by_key(|field| !field.starts_with("type="));
        f.write_str(&csv::line(fields.iter().map(String::as_str)))
    }
}

impl Entry {
    /// Makes one of a type alone.
    pub(crate) fn of(kind: &str) -> Self {
        Self(BTreeMap::from([("type".to_owned(), kind.to_owned())]))
    }

    /// Returns its type.
    pub fn kind(&self) -> &str {
        self.0.get("type").map_or("", String::as_str)
    }

    /// Returns one of its values.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Reads a line `type=…,name=value`.
    fn line(text: &str) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for field in csv::fields(text, ',')? {
            let Some((name, value)) = field.split_once('=') else {
                return Err(format!("invalid value {field:?} in {text:?}: write name=value"));
            };
            fields.insert(name.trim().to_lowercase(), value.to_owned());
        }
        Self(fields).checked(text)
    }

    fn checked(self, text: &str) -> Result<Self, String> {
        if self.kind().is_empty() {
            return Err(format!("a type is required in {text:?}"));
        }
        Ok(self)
    }

    /// Reads what `--output` takes.
    pub(crate) fn output(text: &str) -> Result<Vec<Self>, String> {
        if !text.contains(['=', ',']) {
            let kind = if text == "-" { "tar" } else { "local" };
            let mut entry = Self::of(kind);
            entry.0.insert("dest".to_owned(), text.to_owned());
            return Ok(vec![entry]);
        }
        Self::line(text).map(|entry| vec![entry])
    }

    /// Reads what `--cache-from` and `--cache-to` take: names of images alone, too.
    pub(crate) fn cache(text: &str) -> Result<Vec<Self>, String> {
        if text.contains('=') {
            return Self::line(text).map(|entry| vec![entry]);
        }
        let names = csv::fields(text, ',')?;
        Ok(names
            .into_iter()
            .map(|name| {
                let mut entry = Self::of("registry");
                entry.0.insert("ref".to_owned(), name);
                entry
            })
            .collect())
    }

    /// Reads what `--attest` takes.
    pub(crate) fn attestation(text: &str) -> Result<Vec<Self>, String> {
        let mut entry = Self::line(text)?;
        if entry
            .get("disabled")
            .is_some_and(|value| matches!(value, "false" | "0"))
        {
            entry.0.remove("disabled");
        }
        Ok(vec![entry])
    }

    fn object(fields: &BTreeMap<String, Value>) -> Result<Self, String> {
        let entry = Self(texts(fields)?);
        let shown = entry.to_string();
        entry.checked(&shown)
    }
}

fn texts(fields: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, String> {
    fields
        .iter()
        .filter(|(_, value)| !matches!(value, Value::Null))
        .map(|(name, value)| match value.text() {
            Some(text) => Ok((name.clone(), text)),
            None => Err(format!("{name} is a string, not {}", value.kind())),
        })
        .collect()
}

/// What a build's commands may see and its image never has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Secret {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The file that it is in.
    #[serde(rename = "src", skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The variable that it is in.
    #[serde(rename = "env", skip_serializing_if = "String::is_empty")]
    pub variable: String,
}

impl Secret {
    pub(crate) fn line(text: &str) -> Result<Vec<Self>, String> {
        let mut fields = BTreeMap::new();
        for field in csv::fields(text, ',')? {
            let Some((name, value)) = field.split_once('=') else {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            };
            fields.insert(name.to_lowercase(), value.to_owned());
        }
        Self::object(fields).map(|secret| vec![secret])
    }

    fn object(mut fields: BTreeMap<String, String>) -> Result<Self, String> {
        let kind = fields.remove("type").unwrap_or_default();
        let source = fields.remove("source");
        let mut secret = Self {
            id: fields.remove("id").unwrap_or_default(),
            source: fields.remove("src").or(source).unwrap_or_default(),
            variable: fields.remove("env").unwrap_or_default(),
        };
        if let Some(unknown) = fields.keys().next() {
            return Err(format!(
                "unexpected key '{unknown}' of a secret: there are id, src and env"
            ));
        }
        match kind.as_str() {
            "env" if secret.variable.is_empty() => secret.variable = std::mem::take(&mut secret.source),
            "" | "file" | "env" => {}
            other => return Err(format!("unsupported secret type {other:?}")),
        }
        Ok(secret)
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = [("id", &self.id), ("src", &self.source), ("env", &self.variable)];
        let fields: Vec<String> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        f.write_str(&csv::line(fields.iter().map(String::as_str)))
    }
}

/// An agent or keys for SSH.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Ssh {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// A socket, or files of keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Ssh {
    pub(crate) fn line(text: &str) -> Vec<Self> {
        let (id, paths) = match text.split_once('=') {
            Some((id, paths)) => (id, paths.split(',').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        vec![Self {
            id: id.to_owned(),
            paths,
        }]
    }
}

impl std::fmt::Display for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.paths.is_empty() {
            return f.write_str(&self.id);
        }
        write!(f, "{}={}", self.id, self.paths.join(","))
    }
}

fn items(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Null => Ok(&[]),
        value => value
            .elements()
            .ok_or_else(|| format!("a list expected, not {}", value.kind())),
    }
}

/// Reads a list of lines and objects.
pub(crate) fn entries(
    value: &Value,
    line: fn(&str) -> Result<Vec<Entry>, String>,
) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for item in items(value)? {
        match item {
            Value::Map(fields) => entries.push(Entry::object(fields)?),
            Value::Text(text) if text.is_empty() => {}
            Value::Text(text) => entries.extend(line(text)?),
            other => return Err(format!("a string or an object expected, not {}", other.kind())),
        }
    }
    Ok(entries)
}

/// Reads a list of secrets.
pub(crate) fn secrets(value: &Value) -> Result<Vec<Secret>, String> {
    let mut secrets = Vec::new();
    for item in items(value)? {
        match item {
            Value::Map(fields) => secrets.push(Secret::object(texts(fields)?)?),
            Value::Text(text) if text.is_empty() => {}
            Value::Text(text) => secrets.extend(Secret::line(text)?),
            other => return Err(format!("a string or an object expected, not {}", other.kind())),
        }
    }
    Ok(secrets)
}

/// Reads a list of agents.
pub(crate) fn agents(value: &Value) -> Result<Vec<Ssh>, String> {
    let mut agents = Vec::new();
    for item in items(value)? {
        match item {
            Value::Map(fields) => {
                let mut agent = Ssh::default();
                for (name, value) in fields {
                    match name.as_str() {
                        "id" => agent.id = value.text().unwrap_or_default(),
                        "paths" => {
                            let paths = items(value)?.iter();
                            agent.paths = paths.filter_map(Value::text).collect();
                        }
                        other => {
                            return Err(format!("unexpected key '{other}' of ssh: there are id and paths"));
                        }
                    }
                }
                agents.push(agent);
            }
            Value::Text(text) if text.is_empty() => {}
            Value::Text(text) => agents.extend(Ssh::line(text)),
            other => return Err(format!("a string or an object expected, not {}", other.kind())),
        }
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_objects_mean_the_same() {
        let read = |text: &str| Entry::output(text).unwrap()[0].to_string();
        assert_eq!(read("out"), "type=local,dest=out");
        assert_eq!(read("-"), "type=tar,dest=-");
        assert_eq!(read("dest=a.tar,type=oci"), "type=oci,dest=a.tar");
        assert_eq!(
            Entry::cache("a/b:c,d").unwrap()[1].to_string(),
            "type=registry,ref=d"
        );
        assert!(Entry::cache("ref=a").unwrap_err().contains("type is required"));
        assert_eq!(
            Secret::line("type=env,id=a,src=B").unwrap()[0].to_string(),
            "id=a,env=B"
        );
        assert!(Secret::line("id=a,x=y").is_err());
        assert_eq!(Ssh::line("default=a,b")[0].paths, ["a", "b"]);
        assert_eq!(Ssh::line("default")[0].to_string(), "default");
        let attestation = &Entry::attestation("type=sbom,disabled=true").unwrap()[0];
        assert_eq!(
            serde_json::to_string(attestation).unwrap(),
            r#"{"disabled":true,"type":"sbom"}"#
        );
    }
}
