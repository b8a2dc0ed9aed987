//! A target: what is to be built, and how.

use crate::entries::{self, Entry, Secret, Ssh};
use crate::value::Value;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is to be built. The order of the fields is that in which they are printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Target {
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Those that it takes attributes from.
    #[serde(skip)]
    pub(crate) inherits: Vec<String>,
    /// Annotations, as `--annotation` takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Vec<String>>,
    /// Attestations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attest: Option<Vec<Entry>>,
    /// Where its files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Files and images besides them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The Dockerfile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The Dockerfile itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Names of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Where steps are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_from: Option<Vec<Entry>>,
    /// Where steps are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_to: Option<Vec<Entry>>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Vec<Secret>>,
    /// Agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Vec<Ssh>>,
    /// Platforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
    /// Where the result goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<Entry>>,
    /// Whether images are asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    /// Whether everything is built anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache: Option<bool>,
    /// The network of its commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Stages that are built anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache_filter: Option<Vec<String>>,
    /// The size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// Limits of its commands' processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ulimits: Option<Vec<String>>,
    /// Limits of its commands' cgroups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, String>,
    /// What to do instead of building.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What it asks to be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entitlements: Option<Vec<String>>,
    /// Names and addresses for `/etc/hosts`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// Policies for its sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Vec<Entry>>,
    /// Whether it is built only because another one's context is its result.
    #[serde(skip)]
    pub linked: bool,
    /// The directory that its context is in if it names none.
    #[serde(skip)]
    pub(crate) base: Option<String>,
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let values = value.elements()?;
    Some(values.iter().filter_map(Value::text).collect())
}

/// Null stands for what the Dockerfile says, or nothing.
fn text_map(value: &Value) -> BTreeMap<String, String> {
    match value {
        Value::Map(fields) => fields
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.text()?)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// Appends to a list that may not be there.
fn append<T>(list: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    if let Some(more) = more {
        list.get_or_insert_default().extend(more);
    }
}

/// Replaces what is there by what came.
fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// Leaves each value once, at its first place; nothing for an empty list.
fn once<T: PartialEq>(list: &mut Option<Vec<T>>) {
    let Some(values) = list.take() else { return };
    let mut seen: Vec<T> = Vec::with_capacity(values.len());
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    *list = Some(seen).filter(|seen| !seen.is_empty());
}

/// Leaves one value for each name: the last, at the place of the first.
fn last_by<T, K: PartialEq>(list: &mut Option<Vec<T>>, key: impl Fn(&T) -> K) {
    let Some(values) = list.take() else { return };
    let mut seen: Vec<T> = Vec::with_capacity(values.len());
    for value in values {
        match seen.iter().position(|known| key(known) == key(&value)) {
            Some(place) => seen[place] = value,
            None => seen.push(value),
        }
    }
    *list = Some(seen).filter(|seen| !seen.is_empty());
}

impl Target {
    /// Sets an attribute, which has its form already.
    pub(crate) fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        if matches!(value, Value::Null) {
            return Ok(());
        }
        match name {
            "annotations" => self.annotations = texts(value),
            "args" => self.args = text_map(value),
            "attest" => self.attest = Some(entries::entries(value, Entry::attestation)?),
            "cache-from" => self.cache_from = Some(entries::entries(value, Entry::cache)?),
            "cache-to" => self.cache_to = Some(entries::entries(value, Entry::cache)?),
            "call" => self.call = value.text(),
            "context" => self.context = value.text(),
            "contexts" => self.contexts = text_map(value),
            "description" => self.description = value.text().unwrap_or_default(),
            "dockerfile" => self.dockerfile = value.text(),
            "dockerfile-inline" => self.dockerfile_inline = value.text(),
            "entitlements" => self.entitlements = texts(value),
            "extra-hosts" => self.extra_hosts = text_map(value),
            "inherits" => self.inherits = texts(value).unwrap_or_default(),
            "labels" => self.labels = text_map(value),
            "network" => self.network = value.text(),
            "no-cache" => self.no_cache = value.bool(),
            "no-cache-filter" => self.no_cache_filter = texts(value),
            "output" => self.output = Some(entries::entries(value, Entry::output)?),
            "platforms" => self.platforms = texts(value),
            "policy" => self.policy = Some(policies(value)?),
            "pull" => self.pull = value.bool(),
            "resources" => self.resources = text_map(value),
            "secret" => self.secret = Some(entries::secrets(value)?),
            "shm-size" => self.shm_size = value.text(),
            "ssh" => self.ssh = Some(entries::agents(value)?),
            "tags" => self.tags = texts(value),
            "target" => self.target = value.text(),
            "ulimits" => self.ulimits = texts(value),
            // `name` and `matrix` have made the target what it is.
            _ => {}
        }
        Ok(())
    }

    /// Lays another one over this: lists of things grow, lists of names are replaced.
    pub(crate) fn merge(&mut self, other: Self) {
        if !other.description.is_empty() {
            self.description = other.description;
        }
        self.inherits.extend(other.inherits);
        append(&mut self.annotations, other.annotations);
        append(&mut self.attest, other.attest);
        replace(&mut self.base, other.base);
        replace(&mut self.context, other.context);
        self.contexts.extend(other.contexts);
        replace(&mut self.dockerfile, other.dockerfile);
        replace(&mut self.dockerfile_inline, other.dockerfile_inline);
        self.args.extend(other.args);
        self.labels.extend(other.labels);
        replace(&mut self.tags, other.tags);
        append(&mut self.cache_from, other.cache_from);
        replace(&mut self.cache_to, other.cache_to);
        replace(&mut self.target, other.target);
        append(&mut self.secret, other.secret);
        append(&mut self.ssh, other.ssh);
        replace(&mut self.platforms, other.platforms);
        replace(&mut self.output, other.output);
        replace(&mut self.pull, other.pull);
        replace(&mut self.no_cache, other.no_cache);
        replace(&mut self.network, other.network);
        append(&mut self.no_cache_filter, other.no_cache_filter);
        replace(&mut self.shm_size, other.shm_size);
        append(&mut self.ulimits, other.ulimits);
        self.resources.extend(other.resources);
        replace(&mut self.call, other.call);
        append(&mut self.entitlements, other.entitlements);
        self.extra_hosts.extend(other.extra_hosts);
        append(&mut self.policy, other.policy);
    }

    /// Takes doubles out, and what stands for nothing.
    pub(crate) fn normalize(&mut self) {
        once(&mut self.annotations);
        last_by(&mut self.attest, |entry| entry.kind().to_owned());
        once(&mut self.tags);
        last_by(&mut self.secret, |secret| secret.id.clone());
        last_by(&mut self.ssh, |agent| agent.id.clone());
        once(&mut self.platforms);
        once(&mut self.cache_from);
        once(&mut self.cache_to);
        once(&mut self.output);
        once(&mut self.no_cache_filter);
        once(&mut self.ulimits);
        if self.network.as_deref() == Some("host") {
            append(&mut self.entitlements, Some(vec!["network.host".to_owned()]));
        }
        once(&mut self.entitlements);
        self.contexts.retain(|_, context| !context.is_empty());
    }
}

/// A policy needs no type.
fn policies(value: &Value) -> Result<Vec<Entry>, String> {
    let mut policies = Vec::new();
    for item in value.elements().unwrap_or_default() {
        match item {
            Value::Map(_) => policies.push(Entry(text_map(item))),
            Value::Text(text) => {
                policies.push(Entry(BTreeMap::from([("filename".to_owned(), text.clone())])));
            }
            other => return Err(format!("a policy is a string or an object, not {}", other.kind())),
        }
    }
    Ok(policies)
}
