//! What can be said of a Dockerfile without building it: `build --check`, `--call=outline`, `--call=targets`.

use crate::Build;
use crate::arguments::Globals;
use crate::context::BuildContext;
use crate::error::BuildError;
use crate::{checks, graph};
use dockerfile::{Argument, Dockerfile, Instruction, Lines, MountKind, Operation, Warning};
use std::collections::BTreeSet;
use store::Store;

/// What a target takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The stage's name; empty if it has none.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// The build arguments: name, default and description.
    pub arguments: Vec<(String, Option<String>, String)>,
    /// Secrets, and whether each must be there.
    pub secrets: Vec<(String, bool)>,
    /// Agents, and whether each must be there.
    pub agents: Vec<(String, bool)>,
}

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name; empty if it has none.
    pub name: String,
    /// What it stands on, as written.
    pub base: String,
    /// What the comment above it says.
    pub description: String,
    /// Whether it is built if no target is named.
    pub default: bool,
    /// Where its `FROM` is.
    pub lines: Lines,
}

fn parse(build: &Build) -> Result<Dockerfile, BuildError> {
    let (path, text) = &build.dockerfile;
    Ok(dockerfile::parse(&path.display().to_string(), text)?)
}

/// Makes the build checks.
pub fn check(store: &Store, build: &Build) -> Result<Vec<Warning>, BuildError> {
    let dockerfile = parse(build)?;
    let globals = globals(build, &dockerfile)?;
    let context = BuildContext::open(&build.context, "the build context", build.ignore.as_ref())?;
    let options = checks::options(build, &dockerfile)?;
    Ok(checks::find(
        store,
        build,
        &dockerfile,
        &globals,
        &context,
        &options,
    ))
}

fn globals(build: &Build, dockerfile: &Dockerfile) -> Result<Globals, BuildError> {
    let (path, _) = &build.dockerfile;
    Globals::new(build, dockerfile, "default").map_err(|(index, source)| {
        crate::build::step_error(&path.display().to_string(), &dockerfile.arguments[index], source)
    })
}

/// Returns the stages that can be built.
pub fn targets(build: &Build) -> Result<Vec<Target>, BuildError> {
    let dockerfile = parse(build)?;
    let last = dockerfile.stages.len() - 1;
    Ok(dockerfile
        .stages
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let name = stage.from.name.clone().unwrap_or_default();
            Target {
                description: description(&stage.instruction, &name),
                base: stage.from.base.clone(),
                default: index == last,
                lines: stage.instruction.lines,
                name,
            }
        })
        .collect())
}

/// Returns what the target takes, stages that it needs included.
pub fn outline(build: &Build) -> Result<Outline, BuildError> {
    let dockerfile = parse(build)?;
    let target = graph::target(&dockerfile, build.target.as_deref())?;
    let globals = globals(build, &dockerfile)?;
    let graph = graph::Graph::new(&dockerfile, &globals, target, build);
    let stage = &dockerfile.stages[target];
    let name = stage.from.name.clone().unwrap_or_default();
    let mut outline = Outline {
        description: description(&stage.instruction, &name),
        name,
        ..Outline::default()
    };
    let mut seen = BTreeSet::new();
    let instructions = dockerfile.arguments.iter().chain(
        dockerfile
            .stages
            .iter()
            .zip(&graph.needed)
            .filter(|(_, needed)| **needed)
            .flat_map(|(stage, _)| &stage.instructions),
    );
    for instruction in instructions {
        match &instruction.operation {
            Operation::Arg(declared) => {
                for Argument { name, default } in declared {
                    if seen.insert(name.clone()) {
                        let value = build.arguments.get(name).or(default.as_ref()).cloned();
                        let about = description(instruction, name);
                        outline.arguments.push((name.clone(), value, about));
                    }
                }
            }
            Operation::Run(run) => {
                for mount in run.mounts.iter().filter_map(|flag| flag.understand().ok()) {
                    let last = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
                    match mount.kind {
                        MountKind::Secret { id, required, .. } => {
                            let id = id.or_else(|| mount.target.as_ref().map(last)).unwrap_or_default();
                            add(&mut outline.secrets, id, required);
                        }
                        MountKind::Ssh { id, required } => {
                            add(
                                &mut outline.agents,
                                id.unwrap_or_else(|| "default".to_owned()),
                                required,
                            );
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn add(list: &mut Vec<(String, bool)>, id: String, required: bool) {
    match list.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => *known |= required,
        None => list.push((id, required)),
    }
}

/// Returns what the comment right above says of a name: `# name what it is`.
fn description(instruction: &Instruction, name: &str) -> String {
    instruction
        .comments
        .iter()
        .rev()
        .find_map(|comment| {
            let (word, rest) = comment.split_once(char::is_whitespace)?;
            (!name.is_empty() && word.eq_ignore_ascii_case(name)).then(|| rest.trim().to_owned())
        })
        .unwrap_or_default()
}
