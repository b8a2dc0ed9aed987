//! `buildx bake`: builds what a file describes.

mod files;
mod request;
mod rights;

use super::build::{self, BuildCommand, Built, Company};
use crate::dispatch::Verb;
use crate::failure::Failure;
use crate::front::Cli;
use crate::output::build::Joint;
use crate::output::{self, table};
use crate::signals;
use bake::{BakeError, Definition, File, Plan, Surroundings};
use clap::Args;
use engine::builder::NamedContext;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

/// Flags of `buildx bake`.
#[derive(Debug, Args)]
pub(super) struct Bake {
    /// Allow build to access specified resources
    #[arg(long, value_name = "stringArray")]
    allow: Vec<String>,
    /// Override the configured builder instance (ignored: there is one)
    #[arg(long, value_name = "string")]
    builder: Option<String>,
    /// Set method for evaluating build ("check", "outline", "targets") (default "build")
    #[arg(long, value_name = "string")]
    call: Option<String>,
    /// Shorthand for "--call=check"
    #[arg(long)]
    check: bool,
    /// Build definition file
    #[arg(short, long, value_name = "stringArray")]
    file: Vec<String>,
    /// List targets or variables
    #[arg(long, value_name = "string")]
    list: Option<String>,
    /// Shorthand for "--set=*.output=type=docker". Conditional.
    #[arg(long)]
    load: bool,
    /// Write build result metadata to a file
    #[arg(long, value_name = "string")]
    metadata_file: Option<PathBuf>,
    /// Do not use cache when building the image
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::args::boolean::parse)]
    no_cache: Option<bool>,
    /// Global policy evaluation options (there are no policies)
    #[arg(long, value_name = "stringArray")]
    policy: Vec<String>,
    /// Print the options without building
    #[arg(long)]
    print: bool,
    /// Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty") (default "auto")
    #[arg(long, value_name = "string")]
    progress: Option<String>,
    /// Shorthand for "--set=*.attest=type=provenance"
    #[arg(long, value_name = "string")]
    provenance: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::args::boolean::parse)]
    pull: Option<bool>,
    /// Shorthand for "--set=*.output=type=registry". Conditional.
    #[arg(long)]
    push: bool,
    /// Shorthand for "--set=*.attest=type=sbom"
    #[arg(long, value_name = "string")]
    sbom: Option<String>,
    /// Override target value (e.g., "targetpattern.key=value")
    #[arg(long, value_name = "stringArray")]
    set: Vec<String>,
    /// Set a variable value (e.g., "name=value")
    #[arg(long, value_name = "stringArray")]
    var: Vec<String>,
}

impl Verb for Bake {
    fn run(self, cli: &Cli, mut words: Vec<String>) -> Result<ExitCode, Failure> {
        if self.print && self.list.is_some() {
            return Err(Failure::new("--print and --list are mutually exclusive"));
        }
        if !self.policy.is_empty() {
            return Err(Failure::new("--policy: there are no policies for sources")
                .with_hint("'lock update' and '--locked' hold a build to what its names meant before"));
        }
        let remote = words
            .first()
            .filter(|word| crate::args::build::is_remote(word))
            .cloned();
        let mut base = None;
        if remote.is_some() {
            words.remove(0);
            base = words
                .first()
                .filter(|word| crate::args::build::is_remote(word))
                .cloned();
            if base.is_some() {
                words.remove(0);
            }
        }
        if words.is_empty() {
            words.push("default".to_owned());
        }
        let files = files::read(cli, remote.as_deref(), &self.file)?;
        let surroundings = files::surroundings(&self.var, base.as_deref())?;
        let definition = bake::parse(&files, &surroundings).map_err(|error| wrong(&files, &error))?;
        if let Some(list) = &self.list {
            return listed(list, &definition);
        }
        let overrides = self.overrides(&surroundings)?;
        let mut plan = definition
            .resolve(&words, &overrides)
            .map_err(|error| wrong(&files, &error))?;
        // As a build argument of each target, it is seen in what is printed.
        if let Some(epoch) = surroundings
            .environment
            .get("SOURCE_DATE_EPOCH")
            .filter(|text| !text.is_empty())
        {
            for target in plan.targets.values_mut() {
                let arguments = &mut target.args;
                arguments
                    .entry("SOURCE_DATE_EPOCH".to_owned())
                    .or_insert_with(|| epoch.clone());
            }
        }
        if let Some(address) = &remote {
            request::move_contexts(&mut plan, address)?;
        }
        if self.print {
            output::line(&plan.json())?;
            return Ok(ExitCode::SUCCESS);
        }
        rights::check(&plan, &self.allow, remote.is_some())?;
        self.all(cli, &plan)
    }
}

/// A mistake in a definition, with the lines that it is about and the name that was probably meant.
fn wrong(files: &[File], error: &BakeError) -> Failure {
    if let Some(place) = error.place()
        && let Some((first, last)) = place.lines
        && let Some(file) = files.iter().find(|file| file.name == place.file)
    {
        output::build::show_lines(&file.name, &file.text, first..=last);
    }
    let failure = Failure::bare(format!("ERROR: {error}"));
    let BakeError::Unknown {
        name, known, kind, ..
    } = error
    else {
        return failure;
    };
    if let Some(near) = engine::builder::nearest(name, known.iter().map(String::as_str)) {
        return failure.with_hint(format!("did you mean \"{near}\"?"));
    }
    let shown: Vec<&str> = known.iter().map(String::as_str).take(SHOWN).collect();
    if shown.is_empty() || known.len() > SHOWN {
        return failure;
    }
    failure.with_hint(format!("names of a {kind}: {}", shown.join(", ")))
}

/// So many names are shown where none is near.
const SHOWN: usize = 40;

/// `--list targets|variables`.
fn listed(what: &str, definition: &Definition) -> Result<ExitCode, Failure> {
    let (mut kind, mut format) = (what.to_owned(), "table".to_owned());
    if what.contains('=') {
        kind.clear();
        for field in crate::args::csv::fields(what)? {
            match field.split_once('=') {
                Some(("type", value)) => value.clone_into(&mut kind),
                Some(("format", value)) => value.clone_into(&mut format),
                _ => return Err(Failure::new(format!("unexpected {field:?} in --list {what:?}"))),
            }
        }
    }
    if !matches!(format.as_str(), "table" | "json") {
        return Err(Failure::new(format!(
            "invalid list format {format:?}: use table or json"
        )));
    }
    let (json, lines) = match kind.as_str() {
        "targets" => targets(definition),
        "variables" => variables(definition),
        other => {
            return Err(Failure::new(format!(
                "invalid list type {other:?}: use targets or variables"
            )));
        }
    };
    if format == "json" {
        output::line(&format!("{json:#}"))?;
    } else {
        output::text(&table::columns(&lines))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn targets(definition: &Definition) -> (serde_json::Value, Vec<String>) {
    let mut lines = vec!["TARGET\tDESCRIPTION".to_owned()];
    let mut all = Vec::new();
    for (name, description, is_group) in definition.list() {
        lines.push(format!("{name}\t{description}"));
        let mut entry = serde_json::json!({ "name": name });
        if !description.is_empty() {
            entry["description"] = description.into();
        }
        if is_group {
            entry["group"] = true.into();
        }
        all.push(entry);
    }
    (all.into(), lines)
}

fn variables(definition: &Definition) -> (serde_json::Value, Vec<String>) {
    let mut lines = vec!["VARIABLE\tTYPE\tVALUE\tDESCRIPTION".to_owned()];
    let mut all = Vec::new();
    for variable in definition.variables() {
        let value = variable.value.as_deref();
        lines.push(format!(
            "{}\t{}\t{}\t{}",
            variable.name,
            variable.kind,
            value.unwrap_or("<null>"),
            variable.description
        ));
        let mut entry = serde_json::json!({ "name": variable.name });
        for (key, text) in [("description", &variable.description), ("type", &variable.kind)] {
            if !text.is_empty() {
                entry[key] = text.as_str().into();
            }
        }
        if let Some(value) = value {
            entry["value"] = value.into();
        }
        all.push(entry);
    }
    (all.into(), lines)
}

impl Bake {
    /// What flags say of all targets, behind what `--set` says.
    fn overrides(&self, surroundings: &Surroundings) -> Result<Vec<String>, Failure> {
        let mut all = Vec::new();
        for text in &self.set {
            if text.contains('=') {
                all.push(text.clone());
                continue;
            }
            // An argument without a value takes that of the environment.
            match text.split('.').collect::<Vec<_>>()[..] {
                [_, "args", name] => {
                    if let Some(value) = surroundings.environment.get(name) {
                        all.push(format!("{text}={value}"));
                    }
                }
                _ => all.push(text.clone()),
            }
        }
        if self.push {
            all.push("*.push=true".to_owned());
        }
        if self.load {
            all.push("*.load=true".to_owned());
        }
        if let Some(method) = self.method()? {
            all.push(format!("*.call={method}"));
        }
        if let Some(value) = self.no_cache {
            all.push(format!("*.no-cache={value}"));
        }
        if let Some(value) = self.pull {
            all.push(format!("*.pull={value}"));
        }
        for (kind, value) in [("sbom", &self.sbom), ("provenance", &self.provenance)] {
            match value.as_deref() {
                None | Some("") => {}
                Some("true" | "1") => all.push(format!("*.attest=type={kind}")),
                Some("false" | "0") => all.push(format!("*.attest=type={kind},disabled=true")),
                Some(rest) => all.push(format!("*.attest=type={kind},{rest}")),
            }
        }
        Ok(all)
    }

    fn method(&self) -> Result<Option<&str>, Failure> {
        let method = match (self.call.as_deref(), self.check) {
            (None | Some("check"), true) => "check",
            (Some(_), true) => return Err(Failure::new("cannot use --check with --call")),
            (Some(call), false) => call,
            (None, false) => return Ok(None),
        };
        match method {
            "build" | "" => Ok(None),
            "check" | "lint" | "outline" | "targets" => Ok(Some(method)),
            other if other.contains("format=json") => {
                Err(Failure::new("--call with format=json tells of one target alone")
                    .with_hint("use 'build --call' for each target, or leave format=json out"))
            }
            other => Err(Failure::new(format!(
                "invalid call method {other:?}: use build, check, outline or targets"
            ))),
        }
    }

    /// Builds the targets, each behind those that it stands on.
    fn all(&self, cli: &Cli, plan: &Plan) -> Result<ExitCode, Failure> {
        let order = plan.order();
        let tells = |name: &&str| {
            let method = plan.targets[*name].call.as_deref();
            method.is_some_and(|method| !matches!(method, "" | "build"))
        };
        let mut done = Done::default();
        let result = if order.len() < 2 || order.iter().any(tells) {
            self.one_by_one(cli, plan, &order, &mut done)
        } else {
            self.side_by_side(cli, plan, &order, &mut done)
        };
        // Nobody asked for these by themselves; their layers stay in the build cache.
        for image in &done.for_others {
            cli.engine()?.builds().forget(image)?;
        }
        result?;
        if let Some(path) = &self.metadata_file {
            let text = format!("{:#}\n", serde_json::Value::Object(done.metadata));
            std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))?;
        }
        Ok(done.worst)
    }

    /// What is told of several targets must not mingle, and one needs no company.
    fn one_by_one(&self, cli: &Cli, plan: &Plan, order: &[&str], done: &mut Done) -> Result<(), Failure> {
        for (number, name) in order.iter().enumerate() {
            let target = &plan.targets[*name];
            let method = target.call.as_deref();
            if method.is_some_and(|method| !matches!(method, "" | "build")) {
                // What is told of several is kept apart by their names.
                let gap = if number > 0 { "\n" } else { "" };
                output::line(&format!("{gap}{name}"))?;
                if !target.description.is_empty() {
                    output::line(&target.description)?;
                }
                output::line("")?;
            }
            let (command, context) = self.command(plan, name, done)?;
            let built = command
                .build(cli, &[context])
                .map_err(|failure| of_target(name, order.len(), failure))?;
            done.take(plan, name, built);
        }
        Ok(())
    }

    /// Builds targets at once as far as they do not stand on each other. The first that fails stops the others.
    fn side_by_side(&self, cli: &Cli, plan: &Plan, order: &[&str], done: &mut Done) -> Result<(), Failure> {
        let joint = Joint::new(build::style(self.progress.as_deref(), false)?);
        let cancelled = signals::cancellation()?;
        let most = std::thread::available_parallelism().map_or(FEWEST, |cores| cores.get().max(FEWEST));
        // Before there are threads, so that none finds it half made.
        cli.engine()?;
        let (joint, cancelled) = (&joint, &cancelled);
        let result = joint.shown().while_it_runs(|_| {
            std::thread::scope(|scope| {
                let (send, receive) = mpsc::channel();
                let mut waiting: Vec<&str> = order.to_vec();
                let mut running = 0;
                let mut first = None;
                loop {
                    let mut place = 0;
                    while first.is_none() && running < most && place < waiting.len() {
                        let name = waiting[place];
                        let target = &plan.targets[name];
                        let mut stands_on = target
                            .contexts
                            .values()
                            .filter_map(|context| context.strip_prefix("target:"));
                        if !stands_on.all(|other| done.built.contains(other)) {
                            place += 1;
                            continue;
                        }
                        let _: &str = waiting.remove(place);
                        let (command, context) = match self.command(plan, name, done) {
                            Ok(command) => command,
                            Err(failure) => {
                                first = Some(failure);
                                break;
                            }
                        };
                        let (send, name) = (send.clone(), name.to_owned());
                        running += 1;
                        scope.spawn(move || {
                            let part = joint.part(&name);
                            let company = Company {
                                part: &part,
                                cancelled,
                            };
                            let built = command.build_among(cli, &[context], Some(&company));
                            // Whoever started this waits for it.
                            send.send((name, built)).unwrap_or_default();
                        });
                    }
                    if first.is_some() {
                        cancelled.store(true, Ordering::SeqCst);
                    }
                    if running == 0 {
                        break;
                    }
                    let Ok((name, built)) = receive.recv() else { break };
                    running -= 1;
                    match built {
                        Ok(built) => done.take(plan, &name, built),
                        Err(failure) if first.is_none() => {
                            first = Some(of_target(&name, order.len(), failure));
                        }
                        // It was stopped because another one failed.
                        Err(_) => {}
                    }
                }
                first.map_or(Ok(()), Err)
            })
        });
        joint.shown().finish(result.is_ok());
        result
    }

    fn command(&self, plan: &Plan, name: &str, done: &Done) -> Result<(BuildCommand, String), Failure> {
        request::command(
            name,
            &plan.targets[name],
            &done.stored,
            self.progress.as_deref(),
            is_stood_on(plan, name),
        )
    }
}

/// So many targets are built at once even where there are fewer processors: much of a build is waiting.
const FEWEST: usize = 4;

/// What came of targets.
#[derive(Debug)]
struct Done {
    /// Those that were built.
    built: BTreeSet<String>,
    /// Their images, for those that stand on them.
    stored: BTreeMap<String, NamedContext>,
    /// Images that nobody asked for by themselves.
    for_others: Vec<oci::Digest>,
    metadata: serde_json::Map<String, serde_json::Value>,
    worst: ExitCode,
}

impl Default for Done {
    fn default() -> Self {
        Self {
            built: BTreeSet::new(),
            stored: BTreeMap::new(),
            for_others: Vec::new(),
            metadata: serde_json::Map::new(),
            worst: ExitCode::SUCCESS,
        }
    }
}

impl Done {
    fn take(&mut self, plan: &Plan, name: &str, built: Built) {
        self.built.insert(name.to_owned());
        if built.code != ExitCode::SUCCESS {
            self.worst = built.code;
        }
        if let Some(context) = request::stored(name, &built.images) {
            self.stored.insert(name.to_owned(), context);
        }
        if is_stood_on(plan, name) && !request::keeps_image(&plan.targets[name]) {
            self.for_others
                .extend(built.images.iter().map(|(_, image)| *image));
        }
        if !built.metadata.is_null() {
            self.metadata.insert(name.to_owned(), built.metadata);
        }
    }
}

fn is_stood_on(plan: &Plan, name: &str) -> bool {
    let link = format!("target:{name}");
    let mut targets = plan.targets.values();
    targets.any(|other| other.contexts.values().any(|context| *context == link))
}

/// Says which of several targets failed.
fn of_target(name: &str, count: usize, failure: Failure) -> Failure {
    if count < 2 || failure.message.is_empty() {
        return failure;
    }
    let message = match failure.message.strip_prefix("ERROR: ") {
        Some(message) => format!("ERROR: target {name}: {message}"),
        None => format!("target {name}: {}", failure.message),
    };
    Failure { message, ..failure }
}
