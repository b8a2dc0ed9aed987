//! `--set TARGETS.KEY=VALUE`: attributes of targets laid over what the files say.

use crate::entries::{Entry, Secret, Ssh};
use crate::error::BakeError;
use crate::pattern;
use crate::target::Target;
use std::collections::BTreeMap;

/// The keys, for messages.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "annotations", "args", "attest", "cache-from", "cache-to", "call", "context", "contexts", "dockerfile",
    "entitlements", "extra-hosts", "labels", "load", "network", "no-cache", "no-cache-filter", "output", "platform",
    "policy", "pull", "push", "resources", "secret", "secrets", "shm-size", "ssh", "tags", "target", "ulimits",
];

/// What is said of one key.
#[derive(Debug, Default)]
struct Change {
    key: String,
    name: String,
    adds: bool,
    values: Vec<String>,
}

/// Everything that is said, by target.
#[derive(Debug, Default)]
pub(crate) struct Overrides(BTreeMap<String, Vec<Change>>);

impl Overrides {
    pub(crate) fn parse(given: &[String], targets: &[(String, Target)]) -> Result<Self, BakeError> {
        let mut all = Self::default();
        for text in given {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text.as_str(), None),
            };
            let adds = key.ends_with('+');
            let key = key.trim_end_matches('+');
            let mut words = key.splitn(3, '.');
            let (Some(of), Some(attribute)) = (words.next(), words.next()) else {
                return Err(BakeError::request(format!(
                    "invalid override key {key}, expected target.name"
                )));
            };
            let name = words.next().unwrap_or_default();
            if !KEYS.contains(&attribute) {
                return Err(BakeError::Unknown {
                    place: None,
                    kind: "key for --set",
                    name: attribute.to_owned(),
                    known: KEYS.iter().map(|key| (*key).to_owned()).collect(),
                });
            }
            let needs_name = ["args", "contexts", "labels", "extra-hosts", "resources", "secret"];
            if needs_name.contains(&attribute) && name.is_empty() {
                return Err(BakeError::request(format!(
                    "invalid key {key}, {attribute} requires name: {of}.{attribute}.NAME=VALUE"
                )));
            }
            let Some(value) = value else {
                return Err(BakeError::request(format!(
                    "invalid override {text}, expected target.name=value"
                )));
            };
            for target in matching(of, targets)? {
                let changes = all.0.entry(target).or_default();
                match changes
                    .iter_mut()
                    .find(|change| change.key == attribute && change.name == name)
                {
                    Some(change) => {
                        change.adds = adds;
                        change.values.push(value.to_owned());
                    }
                    None => changes.push(Change {
                        key: attribute.to_owned(),
                        name: name.to_owned(),
                        adds,
                        values: vec![value.to_owned()],
                    }),
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn apply(&self, name: &str, target: &mut Target) -> Result<(), BakeError> {
        for change in self.0.get(name).into_iter().flatten() {
            change.apply(target).map_err(|why| {
                let dot = if change.name.is_empty() { "" } else { "." };
                BakeError::request(format!("--set {name}.{}{dot}{}: {why}", change.key, change.name))
            })?;
        }
        Ok(())
    }
}

fn matching(wanted: &str, targets: &[(String, Target)]) -> Result<Vec<String>, BakeError> {
    let names = targets.iter().map(|(name, _)| name);
    let found: Vec<String> = names
        .filter(|name| *name == wanted || pattern::matches(wanted, name))
        .cloned()
        .collect();
    if found.is_empty() {
        return Err(if pattern::is_pattern(wanted) {
            BakeError::request(format!("could not find any target matching '{wanted}'"))
        } else {
            BakeError::Unknown {
                place: None,
                kind: "target",
                name: wanted.to_owned(),
                known: targets.iter().map(|(name, _)| name.clone()).collect(),
            }
        });
    }
    Ok(found)
}

impl Change {
    fn apply(&self, target: &mut Target) -> Result<(), String> {
        let value = self.values.last().cloned().unwrap_or_default();
        let name = self.name.clone();
        match self.key.as_str() {
            "context" => target.context = Some(value),
            "dockerfile" => target.dockerfile = Some(value),
            "target" => target.target = Some(value),
            "call" => target.call = Some(value),
            "network" => target.network = Some(value),
            "shm-size" => target.shm_size = Some(value),
            "args" => drop(target.args.insert(name, value)),
            "contexts" => drop(target.contexts.insert(name, value)),
            "labels" => drop(target.labels.insert(name, value)),
            "extra-hosts" => drop(target.extra_hosts.insert(name, value)),
            "resources" => drop(target.resources.insert(name, value)),
            "tags" => self.list(&mut target.tags, self.values.clone()),
            "platform" => self.list(&mut target.platforms, self.values.clone()),
            "no-cache-filter" => self.list(&mut target.no_cache_filter, self.values.clone()),
            "ulimits" => self.list(&mut target.ulimits, self.values.clone()),
            "entitlements" => target
                .entitlements
                .get_or_insert_default()
                .extend(self.values.clone()),
            "annotations" => target
                .annotations
                .get_or_insert_default()
                .extend(self.values.clone()),
            "attest" => {
                let entries = self.entries(Entry::attestation)?;
                target.attest.get_or_insert_default().extend(entries);
            }
            "cache-from" => self.list(&mut target.cache_from, self.entries(Entry::cache)?),
            "cache-to" => self.list(&mut target.cache_to, self.entries(Entry::cache)?),
            "output" => self.list(&mut target.output, self.entries(Entry::output)?),
            "policy" => {
                let policies = self
                    .values
                    .iter()
                    .map(|value| Entry(BTreeMap::from([("filename".to_owned(), value.clone())])));
                self.list(&mut target.policy, policies.collect());
            }
            "secrets" => self.list(&mut target.secret, self.entries(Secret::line)?),
            "ssh" => self.list(&mut target.ssh, self.entries(|text| Ok(Ssh::line(text)))?),
            "secret" => {
                let secrets = target.secret.get_or_insert_default();
                let Some(known) = secrets.iter_mut().find(|secret| secret.id == name) else {
                    return Err(format!(
                        "secret \"{name}\" must be declared before it can be overridden"
                    ));
                };
                let new = Secret::line(&value)?.into_iter().next().unwrap_or_default();
                if !new.id.is_empty() && new.id != name {
                    return Err(format!("the id {:?} is not {name:?}", new.id));
                }
                known.source = new.source;
                known.variable = new.variable;
            }
            "no-cache" => target.no_cache = Some(boolean(&value)?),
            "pull" => target.pull = Some(boolean(&value)?),
            "push" => push(target.output.get_or_insert_default(), boolean(&value)?),
            "load" if boolean(&value)? => load(target.output.get_or_insert_default()),
            // `parse` has looked at the keys.
            _ => {}
        }
        Ok(())
    }

    fn list<T>(&self, list: &mut Option<Vec<T>>, values: Vec<T>) {
        if self.adds {
            list.get_or_insert_default().extend(values);
        } else {
            *list = Some(values);
        }
    }

    fn entries<T>(&self, read: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, String> {
        let mut entries = Vec::new();
        for value in self.values.iter().filter(|value| !value.is_empty()) {
            entries.extend(read(value)?);
        }
        Ok(entries)
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

/// Has images pushed, or nothing. An output that makes files is left alone.
fn push(outputs: &mut Vec<Entry>, wanted: bool) {
    if !wanted {
        outputs.retain(|output| output.kind() != "registry");
    }
    for output in outputs.iter_mut().filter(|output| output.kind() == "image") {
        output.0.insert("push".to_owned(), wanted.to_string());
    }
    if wanted && outputs.iter().all(|output| output.kind() == "docker") {
        let mut output = Entry::of("image");
        output.0.insert("push".to_owned(), "true".to_owned());
        outputs.push(output);
    }
}

/// Has the image kept in the store, unless the target makes files.
fn load(outputs: &mut Vec<Entry>) {
    for output in outputs.iter() {
        match output.kind() {
            "docker" if output.get("dest").is_none() => return,
            "docker" | "image" | "registry" | "oci" => {}
            _ => return,
        }
    }
    outputs.push(Entry::of("docker"));
}
