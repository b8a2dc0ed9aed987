//! From texts to a definition: targets and groups without expressions.

use crate::blocks::{Kind, Parts, Sheet};
use crate::compose;
use crate::error::BakeError;
use crate::fields;
use crate::functions::clean_path;
use crate::resolve::Group;
use crate::target::Target;
use crate::world::World;
use crate::{json, native};
use std::collections::BTreeMap;

/// A file of a definition.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name. The ending says what it is written in; without one that is found out.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What a definition may ask for besides its own text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Surroundings {
    /// Variables that are given with the command.
    pub given: BTreeMap<String, String>,
    /// The environment's variables.
    pub environment: BTreeMap<String, String>,
    /// Whether a variable of a definition takes the environment's value of its name.
    pub reads_environment: bool,
    /// The variables of `.env`, which count in Compose files.
    pub env_file: BTreeMap<String, String>,
    /// Variables that are there in any case.
    pub builtins: BTreeMap<String, String>,
    /// Whether paths of contexts are relative to the file that they stand in.
    pub file_relative: bool,
    /// Seconds since 1970.
    pub now: i64,
    /// Gives random bytes.
    pub random: fn() -> [u8; 16],
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            given: BTreeMap::new(),
            environment: BTreeMap::new(),
            reads_environment: true,
            env_file: BTreeMap::new(),
            builtins: BTreeMap::new(),
            file_relative: false,
            now: 0,
            random: || [0; 16],
        }
    }
}

impl Surroundings {
    /// Returns what a variable is set to from outside.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        let given = self.given.get(name).cloned();
        given.or_else(|| self.lookup_environment(name).filter(|_| self.reads_environment))
    }

    pub(crate) fn lookup_environment(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }
}

/// What `--list=variables` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its type, empty without one.
    pub kind: String,
    /// Its value, nothing for null.
    pub value: Option<String>,
}

/// Targets and groups.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    pub(crate) targets: Vec<(String, Target)>,
    pub(crate) groups: Vec<(String, Group)>,
    variables: Vec<VariableReport>,
}

/// Reads the files of a definition, later ones over earlier ones; Compose files count as the first.
pub fn parse(files: &[File], surroundings: &Surroundings) -> Result<Definition, BakeError> {
    let mut definition = Definition::default();
    let mut compose_files = Vec::new();
    let mut parts = Parts::default();
    let mut sheets = Vec::new();
    for file in files {
        match language(file) {
            Language::Compose => compose_files.push(file),
            language => {
                sheets.push(Sheet {
                    name: file.name.clone(),
                    text: file.text.clone(),
                    has_places: language == Language::Native,
                });
                let index = sheets.len() - 1;
                if language == Language::Native {
                    native::read(&mut parts, &sheets, index)?;
                } else {
                    json::read(&mut parts, &sheets, index)?;
                }
            }
        }
    }
    if !compose_files.is_empty() {
        compose::read(&compose_files, surroundings, &mut definition)?;
    }
    let world = World::new(&parts, &sheets, surroundings);
    definition.variables = world.variables()?;
    world.name_blocks()?;
    definition.take(&world)?;
    Ok(definition)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Compose,
    Json,
    Native,
}

fn language(file: &File) -> Language {
    let name = file.name.to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "yml" | "yaml" => return Language::Compose,
        "json" => return Language::Json,
        "hcl" => return Language::Native,
        _ => {}
    }
    if compose::is_one(&file.text) {
        return Language::Compose;
    }
    if file.text.trim_start().starts_with('{') {
        return Language::Json;
    }
    Language::Native
}

impl Definition {
    fn take(&mut self, world: &World<'_>) -> Result<(), BakeError> {
        let mut renamed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let variants = world.variants.borrow().clone();
        for (index, block) in world.parts.blocks.iter().enumerate() {
            let known = fields::known(block.kind);
            for (name, attribute) in &block.attributes {
                if !known.contains(&name.as_str()) {
                    return Err(BakeError::Unknown {
                        place: Some(world.place(block.file, attribute.key.clone()).into()),
                        kind: fields::attribute_of(block.kind),
                        name: name.clone(),
                        known: known.iter().map(|name| (*name).to_owned()).collect(),
                    });
                }
            }
            for (place, variant) in variants[index].iter().enumerate() {
                match block.kind {
                    Kind::Group => {
                        let mut group = Group::default();
                        let value = world.attribute(index, place, variant, "targets")?;
                        let names = value.elements().unwrap_or_default();
                        group.targets = names.iter().filter_map(crate::value::Value::text).collect();
                        let description = world.attribute(index, place, variant, "description")?;
                        group.description = description.text().unwrap_or_default();
                        self.set_group(&variant.name, group);
                    }
                    Kind::Target => {
                        let mut target = Target::default();
                        for (name, attribute) in &block.attributes {
                            let value = world.attribute(index, place, variant, name)?;
                            target
                                .set(name, &value)
                                .map_err(|why| world.at(block.file, &attribute.value, why))?;
                        }
                        if world.surroundings.file_relative {
                            rebase(&mut target, directory(&world.sheets[block.file].name));
                        }
                        self.add_target(&variant.name, target);
                        let names = renamed.entry(block.label.clone()).or_default();
                        if !names.contains(&variant.name) {
                            names.push(variant.name.clone());
                        }
                    }
                }
            }
        }
        for (label, names) in renamed {
            if names.len() != 1 || names[0] != label {
                self.set_group(
                    &label,
                    Group {
                        description: String::new(),
                        targets: names,
                    },
                );
            }
        }
        Ok(())
    }

    pub(crate) fn add_target(&mut self, name: &str, target: Target) {
        match self.targets.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.merge(target),
            None => self.targets.push((name.to_owned(), target)),
        }
    }

    pub(crate) fn set_group(&mut self, name: &str, group: Group) {
        match self.groups.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = group,
            None => self.groups.push((name.to_owned(), group)),
        }
    }

    /// Returns the variables by their names.
    pub fn variables(&self) -> &[VariableReport] {
        &self.variables
    }

    /// Returns names and descriptions of targets and groups, sorted, without those that begin with `_`; the last says
    /// whether it is a group.
    pub fn list(&self) -> Vec<(String, String, bool)> {
        let targets = self
            .targets
            .iter()
            .map(|(name, target)| (name.clone(), target.description.clone(), false));
        let groups = self.groups.iter().map(|(name, group)| {
            let mut names = group.targets.clone();
            names.sort();
            let names = names.join(", ");
            let description = match (group.description.as_str(), names.is_empty()) {
                ("", _) => names,
                (description, true) => description.to_owned(),
                (description, false) => format!("{description} ({names})"),
            };
            (name.clone(), description, true)
        });
        let mut all: Vec<_> = targets
            .chain(groups)
            .filter(|(name, ..)| !name.starts_with('_'))
            .collect();
        all.sort();
        all
    }
}

/// Returns the directory that a file's name says it is in.
pub(crate) fn directory(name: &str) -> String {
    match name.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    }
}

/// Makes a target's contexts relative to a directory.
pub(crate) fn rebase(target: &mut Target, base: String) {
    let moved = |path: &str| {
        let special = ["cwd://", "target:", "docker-image:", "oci-layout://"];
        let is_special = special.iter().any(|prefix| path.starts_with(prefix));
        if path.is_empty() || path.starts_with('/') || is_special || is_remote(path) {
            return path.to_owned();
        }
        clean_path(&format!("{base}/{path}"))
    };
    target.context = target.context.as_deref().map(moved);
    for context in target.contexts.values_mut() {
        *context = moved(context);
    }
    target.base = Some(base);
}

/// Says whether a context is an address.
pub(crate) fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "git@", "github.com/", "ssh://"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}
