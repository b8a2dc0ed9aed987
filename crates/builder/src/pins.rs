//! What a Dockerfile fetches from the web, and what is there now, for the lock file.

use crate::arguments::Globals;
use crate::error::{BuildError, Failure, StepError};
use crate::fetched::context_error;
use crate::git::{self, Fetch};
use crate::graph::Graph;
use crate::lock::SourcePin;
use crate::scratch::Scratch;
use crate::steps::remote::{git_authorization, web_authorization};
use crate::{Build, Services, digests};
use dockerfile::{Dockerfile, Instruction, Operation, expand_word, is_remote_source, parse_trigger};
use oci::{Digest, Platform, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use sys::path::Tree;

/// The variables of a stage, as far as its instructions are read.
#[derive(Debug, Clone, Default)]
struct Variables {
    arguments: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.environment.get(name).or_else(|| self.arguments.get(name));
        found.cloned()
    }
}

/// Returns what the `ADD`s of a Dockerfile fetch from the web, over all of its stages, but for what says by itself what
/// it must be. `image` finds the image of a base, whose variables and triggers count.
pub fn sources(
    build: &Build,
    image: &dyn Fn(&Reference, &Platform) -> Option<store::Image>,
) -> Result<BTreeSet<String>, BuildError> {
    let (path, text) = &build.dockerfile;
    let dockerfile = dockerfile::parse(&path.display().to_string(), text)?;
    let globals = Globals::new(build, &dockerfile, "default")
        .map_err(|(index, source)| crate::build::at(path, &dockerfile.arguments[index], source))?;
    let graph = Graph::new(&dockerfile, &globals, dockerfile.stages.len() - 1, build);
    let reading = Reading {
        build,
        dockerfile: &dockerfile,
        globals: &globals,
        graph: &graph,
        image,
    };
    let mut found = BTreeSet::new();
    let mut stages: Vec<Variables> = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let fail = |instruction: &Instruction, source| crate::build::at(path, instruction, source);
        let (mut variables, triggers) = reading
            .base(index, &stages)
            .map_err(|source| fail(&stage.instruction, source))?;
        for instruction in triggers.iter().chain(&stage.instructions) {
            reading
                .instruction(instruction, &mut variables, &mut found)
                .map_err(|source| fail(instruction, source))?;
        }
        stages.push(variables);
    }
    Ok(found)
}

struct Reading<'a> {
    build: &'a Build,
    dockerfile: &'a Dockerfile,
    globals: &'a Globals,
    graph: &'a Graph,
    image: &'a dyn Fn(&Reference, &Platform) -> Option<store::Image>,
}

impl Reading<'_> {
    /// Returns the variables that a stage begins with, and the triggers that it runs first.
    fn base(&self, index: usize, stages: &[Variables]) -> Result<(Variables, Vec<Instruction>), StepError> {
        let stage = &self.dockerfile.stages[index];
        let expand = |text: &str| expand_word(text, self.dockerfile.escape, &|name| self.globals.get(name));
        let name = expand(&stage.from.base)?;
        let nothing = (Variables::default(), Vec::new());
        let known = self.build.contexts.keys();
        let reference = match crate::build::named_image(self.build, &name) {
            Some(reference) => reference,
            None if known.into_iter().any(|known| known.eq_ignore_ascii_case(&name)) => return Ok(nothing),
            None => match self.graph.named_before(index, &name) {
                Some(below) => return Ok((stages[below].clone(), Vec::new())),
                None if name == "scratch" => return Ok(nothing),
                None => name.parse()?,
            },
        };
        let platform = match &stage.from.platform {
            Some(text) => expand(text)?.parse()?,
            None => self.build.platform.clone(),
        };
        let Some(image) = (self.image)(&reference, &platform) else {
            return Ok(nothing);
        };
        let config = &image.config.config;
        let environment = config
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let triggers = config
            .on_build
            .iter()
            .map(|text| parse_trigger(&name, text, &stage.instruction).map_err(StepError::from))
            .collect::<Result<_, _>>()?;
        let variables = Variables {
            environment,
            arguments: BTreeMap::new(),
        };
        Ok((variables, triggers))
    }

    fn instruction(
        &self,
        instruction: &Instruction,
        variables: &mut Variables,
        found: &mut BTreeSet<String>,
    ) -> Result<(), StepError> {
        let escape = self.dockerfile.escape;
        match &instruction.operation {
            Operation::Arg(declared) => {
                for argument in declared {
                    let value = self.globals.value(argument, |text| {
                        expand_word(text, escape, &|name| variables.get(name))
                    })?;
                    if let Some(value) = value {
                        variables.arguments.insert(argument.name.clone(), value);
                    }
                }
            }
            Operation::Env(pairs) => {
                // All values are those from before the instruction.
                let before = variables.clone();
                for (name, value) in pairs {
                    let expand = |text: &str| expand_word(text, escape, &|name| before.get(name));
                    variables.environment.insert(expand(name)?, expand(value)?);
                }
            }
            Operation::Add(files, flags) if flags.checksum.is_none() => {
                for source in &files.sources {
                    let address = expand_word(source, escape, &|name| variables.get(name))?;
                    if is_remote_source(&address) && !is_pinned(&address)? {
                        found.insert(address);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Says whether an address is a repository's that names its commit.
fn is_pinned(address: &str) -> Result<bool, StepError> {
    let source = git::parse(address).map_err(|message| StepError::Git {
        remote: address.to_owned(),
        message,
    })?;
    Ok(source.is_some_and(|source| source.is_pinned()))
}

/// Finds out what is at an address now. One that says so by itself is not pinned.
pub fn pin_source(
    store: &Store,
    services: &dyn Services,
    build: &Build,
    address: &str,
) -> Result<Option<SourcePin>, BuildError> {
    let wrong = |message: String| {
        context_error(StepError::Git {
            remote: address.to_owned(),
            message,
        })
    };
    let lease = Arc::new(store.lease()?);
    let scratch = Scratch::new(store, &lease).map_err(context_error)?;
    if let Some(source) = git::parse(address).map_err(wrong)? {
        if source.is_pinned() {
            return Ok(None);
        }
        let authorization = git_authorization(&build.secrets, &source.remote).map_err(context_error)?;
        let fetch = Fetch {
            source: &source,
            into: scratch.directory(),
            aside: scratch.aside(),
            authorization: authorization.as_deref(),
            cancelled: &|| services.cancelled(),
        };
        let (_, commit) = fetch.run().map_err(stopped)?;
        return Ok(Some(SourcePin::Commit(commit)));
    }
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Err(context_error(StepError::Scheme(address.to_owned())));
    }
    let path = scratch.aside().join("download");
    let file = File::create(&path)
        .map_err(|error| context_error(sys::SysError::io("make", &path, &error).into()))?;
    let authorization = web_authorization(&build.secrets, address).map_err(context_error)?;
    let downloaded = services.download(address, authorization.as_deref(), file);
    if services.cancelled() {
        return Err(BuildError::Cancelled);
    }
    downloaded.map_err(|error| context_error(error.into()))?;
    let digest = of_download(&scratch, "download", &|| services.cancelled())?;
    Ok(Some(SourcePin::File(digest)))
}

/// Returns the digest of a file that lies in a scratch directory.
pub(crate) fn of_download(
    scratch: &Scratch<'_>,
    name: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Digest, BuildError> {
    let tree = Tree::open(scratch.aside()).map_err(BuildError::Context)?;
    let digest = digests::of_file(&tree, Path::new(name), cancelled).map_err(stopped)?;
    Ok(Digest::from_sha256(digest))
}

fn stopped(failure: Failure) -> BuildError {
    match failure {
        Failure::Step(error) => context_error(error),
        _ => BuildError::Cancelled,
    }
}
