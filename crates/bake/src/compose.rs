//! Compose files: services that are built, as targets.

use crate::definition::{Definition, File, Surroundings, directory, rebase};
use crate::entries::{Entry, Secret, Ssh};
use crate::error::{BakeError, Place};
use crate::interpolate;
use crate::resolve::Group;
use crate::target::Target;
use crate::value::Value;
use crate::world::check_name;
use crate::yaml;
use std::collections::BTreeMap;

type Fields = BTreeMap<String, Value>;

/// Says whether a text without a telling name is a Compose file.
pub(crate) fn is_one(text: &str) -> bool {
    matches!(yaml::parse(text), Ok(Value::Map(fields)) if matches!(fields.get("services"), Some(Value::Map(_))))
}

/// Reads all Compose files of a definition, later ones over earlier ones.
pub(crate) fn read(
    files: &[&File],
    surroundings: &Surroundings,
    definition: &mut Definition,
) -> Result<(), BakeError> {
    let mut environment = if surroundings.reads_environment {
        surroundings.environment.clone()
    } else {
        BTreeMap::new()
    };
    for (name, value) in &surroundings.env_file {
        environment.entry(name.clone()).or_insert_with(|| value.clone());
    }
    environment.extend(surroundings.given.clone());
    let mut all = Value::Map(Fields::new());
    let (mut first, mut last) = (String::new(), String::new());
    for file in files {
        if first.is_empty() {
            first.clone_from(&file.name);
        }
        last.clone_from(&file.name);
        let model = one(file, &environment).map_err(|why| wrong(&file.name, why))?;
        merge(&mut all, model);
    }
    let Value::Map(mut model) = all else {
        return Ok(());
    };
    let Some(Value::Map(services)) = model.remove("services") else {
        return Err(wrong(&last, "there are no services in it".to_owned()));
    };
    let secrets = map(model.remove("secrets"));
    let mut group = Group::default();
    for (service, fields) in services {
        let name = service.replace('.', "_");
        let at = |why: String| wrong(&last, format!("service \"{service}\": {why}"));
        let Value::Map(mut fields) = fields else {
            continue;
        };
        let Some(Value::Map(build)) = fields.remove("build") else {
            continue;
        };
        check_name(&name).map_err(at)?;
        let own = map(fields.remove("environment"));
        let image = fields.remove("image").and_then(|image| image.text());
        let service = Service {
            build,
            own,
            environment: &environment,
            secrets: &secrets,
        };
        let mut target = service.target(image).map_err(at)?;
        if surroundings.file_relative {
            rebase(&mut target, directory(&first));
        }
        group.targets.push(name.clone());
        definition.add_target(&name, target);
    }
    definition.set_group("default", group);
    Ok(())
}

fn wrong(file: &str, message: String) -> BakeError {
    BakeError::At {
        place: Box::new(Place {
            file: file.to_owned(),
            lines: None,
            columns: (0, 0),
        }),
        message,
    }
}

/// Reads one file and brings what has several forms into one.
fn one(file: &File, environment: &BTreeMap<String, String>) -> Result<Value, String> {
    let Value::Map(mut model) = yaml::parse(&file.text)? else {
        return Err("a Compose file is a map".to_owned());
    };
    if model.contains_key("include") {
        return Err("include is not supported by bake: give each file with -f".to_owned());
    }
    model.retain(|name, _| name == "services" || name == "secrets");
    let mut model = interpolate::all(Value::Map(model), environment)?;
    let Value::Map(parts) = &mut model else {
        return Ok(model);
    };
    if let Some(Value::Map(services)) = parts.get_mut("services") {
        for (name, service) in services {
            let Value::Map(service) = service else { continue };
            if service.contains_key("extends") {
                return Err(format!(
                    "service \"{name}\": extends is not supported by bake: write its build section out"
                ));
            }
            service.retain(|field, _| matches!(field.as_str(), "build" | "image" | "environment"));
            if let Some(environment) = service.get_mut("environment") {
                *environment = pairs(environment.clone(), '=')?;
            }
            match service.get_mut("build") {
                Some(build @ Value::Text(_)) => {
                    *build = Value::Map(Fields::from([("context".to_owned(), build.clone())]));
                }
                Some(Value::Map(build)) => {
                    for field in ["args", "labels", "additional_contexts"] {
                        if let Some(value) = build.get_mut(field) {
                            *value = pairs(value.clone(), '=')
                                .map_err(|why| format!("service \"{name}\": {field}: {why}"))?;
                        }
                    }
                    if let Some(hosts) = build.get_mut("extra_hosts") {
                        *hosts = extra_hosts(hosts.clone())?;
                    }
                }
                Some(Value::Null) | None => {}
                Some(other) => {
                    return Err(format!(
                        "service \"{name}\": build is a directory or a map, not {}",
                        other.kind()
                    ));
                }
            }
        }
    }
    Ok(model)
}

/// Makes a map of `[NAME=VALUE, NAME]`.
fn pairs(value: Value, sign: char) -> Result<Value, String> {
    let Value::List(values) = value else {
        return Ok(value);
    };
    let mut fields = Fields::new();
    for value in values {
        let text = value
            .text()
            .ok_or_else(|| format!("NAME=VALUE expected, not {}", value.kind()))?;
        match text.split_once(sign) {
            Some((name, value)) => fields.insert(name.to_owned(), value.into()),
            None => fields.insert(text, Value::Null),
        };
    }
    Ok(Value::Map(fields))
}

/// Hosts are `NAME=ADDRESS` or `NAME:ADDRESS`; an address may have colons.
fn extra_hosts(value: Value) -> Result<Value, String> {
    let Value::List(values) = value else {
        return Ok(value);
    };
    let mut fields = Fields::new();
    for value in values {
        let text = value.text().unwrap_or_default();
        let Some((name, address)) = text.split_once('=').or_else(|| text.split_once(':')) else {
            return Err(format!("extra_hosts: {text:?} is not NAME=ADDRESS"));
        };
        fields.insert(name.to_owned(), address.into());
    }
    Ok(Value::Map(fields))
}

/// Lays one model over another: maps are merged, lists grow, scalars are replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Map(into), Value::Map(from)) => {
            for (name, value) in from {
                match into.get_mut(&name) {
                    Some(known) => merge(known, value),
                    None => drop(into.insert(name, value)),
                }
            }
        }
        (Value::List(into), Value::List(from)) => {
            for value in from {
                if !into.contains(&value) {
                    into.push(value);
                }
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from,
    }
}

fn map(value: Option<Value>) -> Fields {
    match value {
        Some(Value::Map(fields)) => fields,
        _ => Fields::new(),
    }
}

struct Service<'a> {
    build: Fields,
    own: Fields,
    environment: &'a BTreeMap<String, String>,
    secrets: &'a Fields,
}

/// The fields of `build` that are known. Those of the second are for other programs.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "additional_contexts", "args", "cache_from", "cache_to", "context", "dockerfile", "dockerfile_inline",
    "entitlements", "extra_hosts", "labels", "network", "no_cache", "platforms", "provenance", "pull", "sbom", "secrets",
    "shm_size", "ssh", "tags", "target", "ulimits",
];
const OTHERS: &[&str] = &["isolation", "privileged"];

impl Service<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.build.get(name)?.text().filter(|text| !text.is_empty())
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.build.get(name)? {
            Value::List(values) => Some(values.iter().filter_map(Value::text).collect()),
            value => value.text().map(|text| vec![text]),
        }
    }

    fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.build.get(name) {
            Some(Value::Map(fields)) => fields
                .iter()
                .map(|(name, value)| {
                    let text = match value {
                        Value::List(values) => {
                            let texts: Vec<String> = values.iter().filter_map(Value::text).collect();
                            texts.join(",")
                        }
                        value => value.text().unwrap_or_default(),
                    };
                    (name.clone(), text)
                })
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// An argument without a value takes the service's or the environment's.
    fn arguments(&self) -> BTreeMap<String, String> {
        let Some(Value::Map(fields)) = self.build.get("args") else {
            return BTreeMap::new();
        };
        fields
            .iter()
            .filter_map(|(name, value)| {
                let value = value.text().or_else(|| {
                    let own = self.own.get(name).and_then(Value::text);
                    own.or_else(|| self.environment.get(name).cloned())
                });
                Some((name.clone(), value?))
            })
            .collect()
    }

    fn target(&self, image: Option<String>) -> Result<Target, String> {
        let unknown = |name: &&String| {
            !FIELDS.contains(&name.as_str()) && !OTHERS.contains(&name.as_str()) && !name.starts_with("x-")
        };
        if let Some(name) = self.build.keys().find(unknown) {
            return Err(format!(
                "build has no field \"{name}\"; there are {}",
                FIELDS.join(", ")
            ));
        }
        let mut target = Target {
            context: self.text("context"),
            contexts: linked(self.map("additional_contexts")),
            dockerfile: self.text("dockerfile"),
            dockerfile_inline: self.text("dockerfile_inline"),
            args: self.arguments(),
            labels: self.map("labels"),
            tags: self.texts("tags"),
            target: self.text("target"),
            platforms: self.texts("platforms"),
            network: self.text("network"),
            shm_size: self.text("shm_size"),
            extra_hosts: self.map("extra_hosts"),
            entitlements: self.texts("entitlements"),
            no_cache: self
                .build
                .get("no_cache")
                .and_then(Value::bool)
                .filter(|value| *value),
            pull: self
                .build
                .get("pull")
                .and_then(Value::bool)
                .filter(|value| *value),
            ..Target::default()
        };
        for (name, list) in [
            ("cache_from", &mut target.cache_from),
            ("cache_to", &mut target.cache_to),
        ] {
            if let Some(texts) = self.texts(name) {
                *list = Some(all(&texts, Entry::cache)?);
            }
        }
        if let Some(Value::Map(limits)) = self.build.get("ulimits") {
            let limits = limits.iter().map(|(name, limit)| match limit {
                Value::Map(limit) => {
                    let part = |part: &str| limit.get(part).and_then(Value::text).unwrap_or_default();
                    format!("{name}={}:{}", part("soft"), part("hard"))
                }
                limit => {
                    let limit = limit.text().unwrap_or_default();
                    format!("{name}={limit}:{limit}")
                }
            });
            target.ulimits = Some(limits.collect());
        }
        target.ssh = self.agents();
        target.secret = self.secrets()?;
        let mut attestations = Vec::new();
        for kind in ["sbom", "provenance"] {
            match self.text(kind).as_deref() {
                None => {}
                Some("true") => attestations.extend(Entry::attestation(&format!("type={kind}"))?),
                Some("false") => {
                    attestations.extend(Entry::attestation(&format!("type={kind},disabled=true"))?);
                }
                Some(rest) => attestations.extend(Entry::attestation(&format!("type={kind},{rest}"))?),
            }
        }
        target.attest = Some(attestations).filter(|list| !list.is_empty());
        if let Some(Value::Map(extension)) = self.build.get("x-bake") {
            extend(&mut target, extension)?;
        }
        if target.tags.as_ref().is_none_or(Vec::is_empty) {
            target.tags = image.filter(|image| !image.is_empty()).map(|image| vec![image]);
        }
        Ok(target)
    }

    fn agents(&self) -> Option<Vec<Ssh>> {
        let mut agents: Vec<Ssh> = match self.build.get("ssh")? {
            Value::Map(fields) => fields
                .iter()
                .map(|(id, path)| Ssh {
                    id: id.clone(),
                    paths: path.text().into_iter().collect(),
                })
                .collect(),
            value => value
                .elements()
                .unwrap_or(std::slice::from_ref(value))
                .iter()
                .filter_map(Value::text)
                .flat_map(|text| Ssh::line(&text))
                .collect(),
        };
        agents.sort();
        Some(agents)
    }

    fn secrets(&self) -> Result<Option<Vec<Secret>>, String> {
        let Some(Value::List(uses)) = self.build.get("secrets") else {
            return Ok(None);
        };
        let mut secrets = Vec::new();
        for used in uses {
            let id = match used {
                Value::Map(fields) => fields.get("source").and_then(Value::text),
                value => value.text(),
            };
            let id = id.ok_or("a secret is the name of one, or a map with its source")?;
            let Some(Value::Map(secret)) = self.secrets.get(&id) else {
                return Err(format!("the secret \"{id}\" is not among the file's secrets"));
            };
            if secret.get("external").and_then(Value::bool) == Some(true) {
                return Err(format!("unsupported external secret {id}"));
            }
            let part = |name: &str| secret.get(name).and_then(Value::text).unwrap_or_default();
            secrets.push(Secret {
                source: part("file"),
                variable: part("environment"),
                id,
            });
        }
        Ok(Some(secrets))
    }
}

fn all<T>(texts: &[String], read: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, String> {
    let mut entries = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        entries.extend(read(text)?);
    }
    Ok(entries)
}

/// A context that is another service's result is a target's.
fn linked(contexts: BTreeMap<String, String>) -> BTreeMap<String, String> {
    contexts
        .into_iter()
        .map(|(name, value)| {
            let service = value
                .strip_prefix("service:")
                .or_else(|| value.strip_prefix("target:"));
            let value = match service {
                Some(service) => format!("target:{}", service.replace('.', "_")),
                None => value,
            };
            (name, value)
        })
        .collect()
}

/// `x-bake`: what the Compose file's own language has no words for.
fn extend(target: &mut Target, extension: &Fields) -> Result<(), String> {
    for (name, value) in extension {
        // One text may hold several words.
        let texts: Vec<String> = match value {
            Value::List(values) => values.iter().filter_map(Value::text).collect(),
            value => {
                let text = value.text().unwrap_or_default();
                text.split_whitespace().map(str::to_owned).collect()
            }
        };
        let mut add = Target::default();
        match name.as_str() {
            "tags" => target.tags.get_or_insert_default().extend(texts),
            "platforms" => target.platforms.get_or_insert_default().extend(texts),
            "no-cache-filter" => add.no_cache_filter = Some(texts),
            "cache-from" => add.cache_from = Some(all(&texts, Entry::cache)?),
            "cache-to" => target
                .cache_to
                .get_or_insert_default()
                .extend(all(&texts, Entry::cache)?),
            "secret" => add.secret = Some(all(&texts, Secret::line)?),
            "ssh" => add.ssh = Some(all(&texts, |text| Ok(Ssh::line(text)))?),
            "output" => target
                .output
                .get_or_insert_default()
                .extend(all(&texts, Entry::output)?),
            "pull" => add.pull = value.bool(),
            "no-cache" => add.no_cache = value.bool(),
            "contexts" => {
                if let Value::Map(fields) = value {
                    let contexts = fields
                        .iter()
                        .map(|(name, value)| (name.clone(), value.text().unwrap_or_default()));
                    for (name, context) in linked(contexts.collect()) {
                        target.contexts.entry(name).or_insert(context);
                    }
                }
            }
            other => return Err(format!("x-bake has no field \"{other}\"")),
        }
        target.merge(add);
    }
    Ok(())
}
