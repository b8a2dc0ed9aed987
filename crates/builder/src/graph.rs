//! Which stages there are, which of them a target needs, and what they are called.

use crate::arguments::Globals;
use crate::error::BuildError;
use crate::{Build, NamedContext};
use dockerfile::{Dockerfile, Instruction, MountFlag, Operation, expand_word, nearest};
use std::collections::BTreeSet;

/// The stages of a Dockerfile and how they hang together. A stage can need earlier ones only, so there are no cycles.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Name (lower case), if it has one, per stage.
    names: Vec<Option<String>>,
    /// The stage that is to become the image.
    pub(crate) target: usize,
    /// Whether the target needs it, per stage.
    pub(crate) needed: Vec<bool>,
    /// The images that it needs, as written.
    images: BTreeSet<String>,
    /// How many of the stages that it needs stand on an image.
    on_images: usize,
}

/// Picks the stage that `--target` means: a name, or a number; the last one without it.
pub(crate) fn target(dockerfile: &Dockerfile, target: Option<&str>) -> Result<usize, BuildError> {
    let last = dockerfile.stages.len() - 1;
    let Some(target) = target.filter(|target| !target.is_empty()) else {
        return Ok(last);
    };
    let names = || dockerfile.stages.iter().map(|stage| stage.from.name.as_deref());
    let lower = target.to_lowercase();
    let by_name = names().position(|name| name == Some(&lower));
    let by_number = || target.parse().ok().filter(|number| *number <= last);
    by_name.or_else(by_number).ok_or_else(|| BuildError::Target {
        target: target.to_owned(),
        nearest: nearest(target, names().flatten()).map(str::to_owned),
    })
}

/// Returns what an instruction's `--from` and `--mount=from=` name.
fn origins(instruction: &Instruction) -> Vec<&str> {
    match &instruction.operation {
        Operation::Copy(files) => files.from.as_deref().into_iter().collect(),
        Operation::Run(run) => run.mounts.iter().filter_map(MountFlag::from).collect(),
        _ => Vec::new(),
    }
}

/// Says whether a context has this name.
fn is_context(build: &Build, name: &str) -> bool {
    build
        .contexts
        .keys()
        .any(|known| known.eq_ignore_ascii_case(name))
}

impl Graph {
    pub(crate) fn new(dockerfile: &Dockerfile, globals: &Globals, target: usize, build: &Build) -> Self {
        let names = dockerfile
            .stages
            .iter()
            .map(|stage| stage.from.name.clone())
            .collect();
        let mut graph = Self {
            names,
            target,
            needed: vec![false; dockerfile.stages.len()],
            images: BTreeSet::new(),
            on_images: 0,
        };
        graph.needed[target] = true;
        // Needs lead to earlier stages only, so one pass backwards finds them all.
        for index in (0..=target).rev().filter(|&index| index <= target) {
            if !graph.needed[index] {
                continue;
            }
            let stage = &dockerfile.stages[index];
            let base = expand_word(&stage.from.base, dockerfile.escape, &|name| globals.get(name));
            let mut needs = Vec::new();
            if let Ok(base) = base {
                // A named context goes before a stage of its name.
                let stage = graph
                    .named_before(index, &base)
                    .filter(|_| !is_context(build, &base));
                if stage.is_none() && base != "scratch" {
                    graph.on_images += 1;
                    graph.images.insert(base);
                }
                needs.extend(stage);
            }
            for from in stage.instructions.iter().flat_map(origins) {
                if build.contexts.iter().any(|(name, context)| {
                    matches!(context, NamedContext::Directory(_)) && name.eq_ignore_ascii_case(from)
                }) {
                    continue;
                }
                let stage = graph
                    .stage_before(index, from)
                    .filter(|_| !is_context(build, from));
                if stage.is_none() {
                    graph.images.insert(from.to_owned());
                }
                needs.extend(stage);
            }
            for need in needs {
                graph.needed[need] = true;
            }
        }
        graph
    }

    /// Returns how many steps the images that are needed make: looking each up, and beginning a stage on one.
    pub(crate) fn image_steps(&self) -> usize {
        self.images.len() + self.on_images
    }

    /// Returns the images that are needed, as written.
    pub(crate) fn images(&self) -> &BTreeSet<String> {
        &self.images
    }

    /// Returns the latest stage before `index` that has this name.
    pub(crate) fn named_before(&self, index: usize, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        self.names[..index]
            .iter()
            .rposition(|other| other.as_ref() == Some(&name))
    }

    /// Returns the stage before `index` that `--from` means, by name or number.
    pub(crate) fn stage_before(&self, index: usize, from: &str) -> Option<usize> {
        self.named_before(index, from)
            .or_else(|| from.parse().ok().filter(|number| *number < index))
    }

    /// Returns what a stage is called in messages and step names.
    pub(crate) fn name(&self, index: usize) -> String {
        self.names[index]
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"))
    }

    /// Says whether step names must tell the stage.
    pub(crate) fn has_several(&self) -> bool {
        self.names.len() > 1
    }
}
