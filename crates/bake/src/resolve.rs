//! From a definition to the targets that somebody asked for: groups taken apart, attributes inherited, overrides laid
//! over, and those targets added that others stand on.

use crate::definition::{Definition, is_remote};
use crate::entries::Entry;
use crate::error::BakeError;
use crate::functions::clean_path;
use crate::overrides::Overrides;
use crate::pattern;
use crate::target::Target;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Several targets or groups under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Their names.
    pub targets: Vec<String>,
}

/// What is to be built.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The groups that were asked for; `default` has the names as they were given.
    #[serde(rename = "group", skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
    /// The targets by their names.
    #[serde(rename = "target")]
    pub targets: BTreeMap<String, Target>,
}

impl Definition {
    /// Works out what is to be built. `wanted` are names and patterns, `overrides` what `--set` takes.
    pub fn resolve(&self, wanted: &[String], overrides: &[String]) -> Result<Plan, BakeError> {
        let mut names: Vec<String> = Vec::new();
        for name in wanted {
            // A service of a Compose file may have a dot in its name, a target must not.
            for name in self.matching(&name.replace('.', "_"))? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let overrides = Overrides::parse(overrides, &self.targets)?;
        let mut plan = Plan::default();
        for name in &names {
            let (targets, groups) = self.group(name, &mut BTreeMap::new());
            for target in targets {
                let resolved = self.target(&target, &overrides)?;
                plan.targets.insert(target, resolved);
            }
            for name in groups {
                if let Some((_, group)) = self.groups.iter().find(|(known, _)| *known == name) {
                    let mut group = group.clone();
                    let mut seen = BTreeSet::new();
                    group.targets.retain(|target| seen.insert(target.clone()));
                    plan.groups.insert(name, group);
                }
            }
        }
        for name in names {
            if name == "default" && plan.groups.contains_key("default") {
                continue;
            }
            let default = plan.groups.entry("default".to_owned()).or_default();
            default.targets.push(name);
        }
        if let Some(default) = plan.groups.get_mut("default") {
            default.targets.sort();
            default.targets.dedup();
        }
        let first: Vec<String> = plan.targets.keys().cloned().collect();
        for name in first {
            self.link(&name, &mut plan, &overrides, &mut Vec::new())?;
        }
        Ok(plan)
    }

    fn matching(&self, wanted: &str) -> Result<Vec<String>, BakeError> {
        if !pattern::is_pattern(wanted) {
            return Ok(vec![wanted.to_owned()]);
        }
        let groups = self.groups.iter().map(|(name, _)| name);
        let all = groups.chain(self.targets.iter().map(|(name, _)| name));
        let names: Vec<String> = all
            .filter(|name| pattern::matches(wanted, name))
            .cloned()
            .collect();
        if names.is_empty() {
            return Err(BakeError::request(format!(
                "could not find any target matching \"{wanted}\""
            )));
        }
        Ok(names)
    }

    /// Takes a group apart; what is no group is a target.
    fn group(
        &self,
        name: &str,
        visited: &mut BTreeMap<String, (Vec<String>, Vec<String>)>,
    ) -> (Vec<String>, Vec<String>) {
        if let Some(known) = visited.get(name) {
            return known.clone();
        }
        let Some((_, group)) = self.groups.iter().find(|(known, _)| known == name) else {
            return (vec![name.to_owned()], Vec::new());
        };
        visited.insert(name.to_owned(), (Vec::new(), Vec::new()));
        let (mut targets, mut groups) = (Vec::new(), vec![name.to_owned()]);
        for inner in &group.targets {
            let (more, inside) = self.group(inner, visited);
            if more.is_empty() {
                targets.push(inner.clone());
            }
            targets.extend(more);
            groups.extend(inside);
        }
        visited.insert(name.to_owned(), (targets.clone(), groups.clone()));
        (targets, groups)
    }

    fn target(&self, name: &str, overrides: &Overrides) -> Result<Target, BakeError> {
        let mut target = self
            .inherited(name, &mut BTreeMap::new(), overrides, None)?
            .unwrap_or_default();
        let base = target.base.clone();
        let context = target.context.take().or(base).unwrap_or_else(|| ".".to_owned());
        target.context = Some(cleaned(&context));
        if target.dockerfile.as_deref().is_none_or(str::is_empty) {
            target.dockerfile = Some("Dockerfile".to_owned());
        }
        for (what, value) in [("context", &target.context), ("dockerfile", &target.dockerfile)] {
            if value.as_deref() == Some("-") {
                return Err(BakeError::request(format!(
                    "target {name}: the {what} cannot come from standard input in bake"
                )));
            }
        }
        Ok(target)
    }

    fn inherited(
        &self,
        name: &str,
        visited: &mut BTreeMap<String, Option<Target>>,
        overrides: &Overrides,
        by: Option<&str>,
    ) -> Result<Option<Target>, BakeError> {
        if let Some(known) = visited.get(name) {
            return Ok(known.clone());
        }
        visited.insert(name.to_owned(), None);
        let Some((_, own)) = self.targets.iter().find(|(known, _)| known == name) else {
            let unknown = BakeError::Unknown {
                place: None,
                kind: "target",
                name: name.to_owned(),
                known: self.names(),
            };
            return Err(match by {
                None => unknown,
                Some(by) => BakeError::request(format!("target {by} inherits from {name}, and {unknown}")),
            });
        };
        let mut target = Target::default();
        for parent in &own.inherits {
            if let Some(parent) = self.inherited(parent, visited, overrides, Some(name))? {
                target.merge(parent);
            }
        }
        target.merge(own.clone());
        target.inherits.clear();
        overrides.apply(name, &mut target)?;
        target.normalize();
        visited.insert(name.to_owned(), Some(target.clone()));
        Ok(Some(target))
    }

    fn names(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|(name, _)| name);
        groups
            .chain(self.targets.iter().map(|(name, _)| name))
            .cloned()
            .collect()
    }

    /// Adds the targets whose results are contexts of one.
    fn link(
        &self,
        name: &str,
        plan: &mut Plan,
        overrides: &Overrides,
        way: &mut Vec<String>,
    ) -> Result<(), BakeError> {
        way.push(name.to_owned());
        let links = links(&plan.targets[name]);
        for other in links {
            if other == name {
                return Err(BakeError::request(format!("target {name} cannot link to itself")));
            }
            if way.contains(&other) {
                return Err(BakeError::request(format!(
                    "infinite loop from {name} to {other}"
                )));
            }
            if !plan.targets.contains_key(&other) {
                let mut linked = self.target(&other, overrides)?;
                linked.output = Some(vec![Entry::of("cacheonly")]);
                linked.linked = true;
                plan.targets.insert(other.clone(), linked);
            }
            self.link(&other, plan, overrides, way)?;
            let below = plan.targets[&other].clone();
            let Some(target) = plan.targets.get_mut(name) else {
                continue;
            };
            for entitlement in below.entitlements.iter().flatten() {
                let own = target.entitlements.get_or_insert_default();
                if !own.contains(entitlement) {
                    own.push(entitlement.clone());
                }
            }
            if let (Some(mine), Some(theirs)) = (&target.platforms, &below.platforms)
                && mine.len() > 1
                && theirs.len() > 1
                && !mine.iter().all(|platform| theirs.contains(platform))
            {
                return Err(BakeError::request(format!(
                    "target {other} can't be used by {name} because its platforms [{}] are not a subset of [{}]",
                    mine.join(" "),
                    theirs.join(" ")
                )));
            }
        }
        way.pop();
        Ok(())
    }
}

fn links(target: &Target) -> Vec<String> {
    let links = target
        .contexts
        .values()
        .filter_map(|context| context.strip_prefix("target:"));
    links.map(str::to_owned).collect()
}

fn cleaned(context: &str) -> String {
    match context.strip_prefix("cwd://") {
        Some(path) => clean_path(path),
        None if is_remote(context) => context.to_owned(),
        None => clean_path(context),
    }
}

impl Plan {
    /// Returns the names of the targets so that each comes behind those that it stands on.
    pub fn order(&self) -> Vec<&str> {
        let mut order = Vec::new();
        for name in self.targets.keys() {
            self.place(name, &mut order);
        }
        order
    }

    fn place<'p>(&'p self, name: &'p str, order: &mut Vec<&'p str>) {
        if order.contains(&name) {
            return;
        }
        let Some(target) = self.targets.get(name) else {
            return;
        };
        for context in target.contexts.values() {
            if let Some(other) = context.strip_prefix("target:") {
                self.place(other, order);
            }
        }
        order.push(name);
    }

    /// Writes it as JSON, which is a definition again: what would be a template is escaped.
    pub fn json(&self) -> String {
        let mut plan = self.clone();
        let escape = |text: &mut String| *text = text.replace("${", "$${").replace("%{", "%%{");
        for target in plan.targets.values_mut() {
            target.annotations.iter_mut().flatten().for_each(escape);
            target.dockerfile_inline.iter_mut().for_each(escape);
            target.labels.values_mut().for_each(escape);
            target.args.values_mut().for_each(escape);
            target.extra_hosts.values_mut().for_each(escape);
        }
        serde_json::to_string_pretty(&plan).unwrap_or_default()
    }
}
