//! `build`.

use super::build_extras::{self, Extras};
use super::key_agent::KeyAgent;
use crate::args::build::input::StandardInput;
use crate::args::build::{BuildFlags, Call, Context, Prepared, is_remote};
use crate::args::build_output::Output;
use crate::args::{build_cache, build_output};
use crate::dispatch::Verb;
use crate::failure::{Failure, INTERRUPTED};
use crate::front::Cli;
use crate::output::build::{BuildProgress, Part, Shown, Style, report};
use crate::{output, signals};
use clap::Args;
use engine::EngineError;
use engine::builder::{BuildEvent, StepReport};
use engine::builds::DebugShell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `build`.
#[derive(Debug, Args)]
pub(super) struct BuildCommand {
    #[command(flatten)]
    pub(super) flags: BuildFlags,
    #[command(flatten)]
    extras: Extras,
}

/// What came of a build.
#[derive(Debug)]
pub(super) struct Built {
    /// How the command is to end.
    pub code: ExitCode,
    /// The images, one for each platform; none if nothing was built.
    pub images: Vec<(oci::Platform, oci::Digest)>,
    /// What there is to tell programs.
    pub metadata: serde_json::Value,
}

impl Built {
    fn nothing(code: ExitCode) -> Self {
        Self {
            code,
            images: Vec::new(),
            metadata: serde_json::Value::Null,
        }
    }
}

/// The other builds that one is run with.
pub(super) struct Company<'c> {
    /// Where it is shown.
    pub(super) part: &'c Part<'c>,
    /// Set when all are to stop.
    pub(super) cancelled: &'c Arc<AtomicBool>,
}

impl Verb for BuildCommand {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        Ok(self.build(cli, &words)?.code)
    }
}

impl BuildCommand {
    /// Builds the context that the first word names.
    pub(super) fn build(self, cli: &Cli, words: &[String]) -> Result<Built, Failure> {
        self.build_among(cli, words, None)
    }

    /// Like [`BuildCommand::build`], as one of several builds that run side by side.
    pub(super) fn build_among(
        self,
        cli: &Cli,
        words: &[String],
        company: Option<&Company<'_>>,
    ) -> Result<Built, Failure> {
        let quiet = self.flags.quiet;
        let progress = self.flags.progress.clone();
        let iidfile = self.flags.iidfile.clone();
        let metadata_file = self.flags.metadata_file.clone();
        let style = style(progress.as_deref(), quiet)?;
        self.extras.check()?;
        let platforms = self.flags.platforms()?;
        let outputs = build_output::parse(&self.flags.output, self.flags.push, &self.flags.annotation)?;
        let is_written = |output: &Output| matches!(output, Output::Archive(..) | Output::Layout(..));
        if !self.flags.annotation.is_empty() && !outputs.iter().any(is_written) {
            output::warning(
                "--annotation has no effect here: annotations are in manifests, and those of built images are written by -o type=oci and -o type=docker,dest=FILE alone",
            );
        }
        build_extras::check(&outputs, &platforms, !self.flags.tag.is_empty())?;
        let cache_from = build_cache::sources(&self.flags.cache_from)?;
        let cache_to = build_cache::targets(&self.flags.cache_to)?;
        let dockerfile = self.flags.file.clone();
        self.flags.judge_context(&words[0])?;
        let engine = cli.engine()?;
        let cancelled = match company {
            Some(company) => Arc::clone(company.cancelled),
            None => signals::cancellation()?,
        };
        let warn = |text: &str| match company {
            Some(company) => company
                .part
                .note(&format!("WARNING: target {}: {text}", company.part.name())),
            None => output::warning(text),
        };
        let interrupted = || {
            Failure::bare("ERROR: failed to solve: canceled: the build was interrupted")
                .with_code(INTERRUPTED)
        };
        let keep = self.flags.keeps_git_directory();
        let fetched = match words[0].as_str() {
            "-" => Some(
                engine
                    .builds()
                    .context_from_stream(&mut StandardInput::new(&cancelled)),
            ),
            address if is_remote(address) => Some(
                engine
                    .builds()
                    .context_from_address(address, keep, None, &cancelled),
            ),
            _ => None,
        };
        let fetched = match fetched.transpose() {
            Ok(fetched) => fetched,
            Err(_) if cancelled.load(Ordering::SeqCst) => return Err(interrupted()),
            Err(error) => {
                return Err(Failure::bare(format!("ERROR: {}", crate::failure::chain(&error))));
            }
        };
        let context = match &fetched {
            Some(fetched) => Context::Fetched(fetched),
            None => Context::Directory(&words[0]),
        };
        let place = match &fetched {
            Some(fetched) => fetched.path(),
            None => PathBuf::from(&words[0]),
        };
        let lock = self.extras.lock(dockerfile.as_deref(), &place)?;
        let mut named = BTreeMap::new();
        for (name, address) in self.flags.addresses() {
            match engine
                .builds()
                .context_from_address(&address, keep, lock.as_ref(), &cancelled)
            {
                Ok(fetched) => named.insert(name, fetched),
                Err(_) if cancelled.load(Ordering::SeqCst) => return Err(interrupted()),
                Err(error) => {
                    let why = crate::failure::chain(&error);
                    return Err(Failure::bare(format!("ERROR: --build-context {name}: {why}")));
                }
            };
        }
        let directories = named
            .iter()
            .map(|(name, fetched)| (name.clone(), fetched.path()))
            .collect();
        let layouts = self.flags.layouts()?;
        let prepared = self
            .flags
            .prepare(context, &directories, cli.client().proxy_variables())?;
        for warning in &prepared.warnings {
            warn(warning);
        }
        if prepared.call != Call::Build {
            return describe(engine, &prepared).map(Built::nothing);
        }
        let mut build = prepared.build;
        build.lock = lock;
        let mut key_agents = Vec::new();
        for (id, keys) in &prepared.keys {
            let agent = KeyAgent::start(&cli.locations().run_root, keys)?;
            build.agents.insert(id.clone(), agent.socket());
            key_agents.push(agent);
        }
        let mut lent = Lent::new(engine);
        for layout in &layouts {
            let images = engine
                .builds()
                .context_from_layout(&layout.directory, &layout.choice);
            let images = images.map_err(|error| {
                let why = crate::failure::chain(&error);
                Failure::bare(format!("ERROR: --build-context {}: {why}", layout.name))
            })?;
            lent.images.extend(images.iter().map(|(_, image)| *image));
            build
                .contexts
                .insert(layout.name.clone(), layout.context(images)?);
        }
        let tags = build.tags.clone();
        let keep_image = outputs.is_empty() || outputs.iter().any(Output::keeps_image);
        if keep_image {
            build.tags.extend(outputs.iter().flat_map(Output::names).cloned());
        } else {
            // The names are for what is written, and not for the store.
            build.tags.clear();
        }
        for warning in &cache_to.warnings {
            warn(warning);
        }
        build.cache_from = cache_from;
        build.inline_cache = cache_to.inline;
        build.debug_shell = self.extras.debug_shell;
        let builds = engine.builds();
        let began = build_extras::moment();
        let reporting = self.extras.explain || !cache_to.exports.is_empty();
        // Of several platforms the names lead to all images at once, when all are built.
        let many = platforms.len() > 1;
        let joint_names = if many {
            std::mem::take(&mut build.tags)
        } else {
            Vec::new()
        };
        let mut images = Vec::new();
        let mut all_reports = Vec::new();
        let view = || match company {
            Some(company) => Shown::Part(company.part),
            None => Shown::Alone(Box::new(BuildProgress::new(style))),
        };
        for platform in platforms {
            let shown = view();
            build.platform = platform.clone();
            let reports = Mutex::new(Vec::new());
            let since = build_extras::moment();
            let result = shown.while_it_runs(|events| {
                let collect = |event: BuildEvent| {
                    if let (BuildEvent::Report(report), true) = (&event, reporting) {
                        let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                        reports.push(StepReport::clone(report));
                    }
                    events(event);
                };
                if self.extras.verify {
                    let verification = builds.verify(&build, &collect, &cancelled)?;
                    return Ok((verification.first, Some(verification)));
                }
                let shell: &DebugShell<'_> = &|failed, session| build_extras::shell(&shown, failed, session);
                Ok((
                    builds.build_with(&build, &collect, &cancelled, Some(shell))?,
                    None,
                ))
            });
            shown.finish(result.is_ok());
            let (digest, verification) = match result {
                Ok(built) => built,
                Err(_) if cancelled.load(Ordering::SeqCst) => return Err(interrupted()),
                Err(error) => return Err(failed(&shown, &error, &build.dockerfile)),
            };
            let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
            all_reports.extend(reports.iter().cloned());
            if self.extras.explain {
                build_extras::explain(builds, &build, &reports, since)?;
            }
            if let Some(verification) = verification {
                let verdict = build_extras::verdict(&verification)?;
                if verdict != ExitCode::SUCCESS {
                    return Ok(Built::nothing(verdict));
                }
            }
            images.push((platform, digest));
        }
        if many && keep_image && !joint_names.is_empty() {
            let digests: Vec<_> = images.iter().map(|(_, digest)| *digest).collect();
            engine.images().make_index(&digests, &joint_names)?;
            build.tags = joint_names;
        }
        // What stands on them has their layers by now, and keeps them.
        drop(lent);
        let shown = view();
        let written = build_extras::write(engine, &outputs, &images, &tags, &|line| shown.note(line))
            .and_then(|()| {
                let tell = |line: &str| {
                    if style != Style::Quiet {
                        shown.note(line);
                    }
                };
                build_extras::export(builds, &cache_to.exports, &all_reports, &images, began, &tell)
            });
        if !keep_image {
            for (_, digest) in &images {
                builds.forget(digest)?;
            }
        }
        written?;
        let Some((_, digest)) = images.first() else {
            return Ok(Built::nothing(ExitCode::SUCCESS));
        };
        if let Some(path) = &iidfile {
            std::fs::write(path, digest.to_string()).map_err(|error| Failure::file("write", path, &error))?;
        }
        let metadata = metadata(&digest.to_string(), &build.tags);
        if let Some(path) = &metadata_file {
            std::fs::write(path, format!("{metadata:#}\n"))
                .map_err(|error| Failure::file("write", path, &error))?;
        }
        let out_is_taken = outputs.iter().any(Output::is_standard_output);
        if (quiet || style == Style::Quiet) && !out_is_taken {
            output::line(&digest.to_string())?;
        }
        Ok(Built {
            code: ExitCode::SUCCESS,
            metadata,
            images,
        })
    }
}

/// Images that are in the store for a build alone.
struct Lent<'e> {
    engine: &'e engine::Engine,
    images: Vec<oci::Digest>,
}

impl<'e> Lent<'e> {
    fn new(engine: &'e engine::Engine) -> Self {
        Self {
            engine,
            images: Vec::new(),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for image in &self.images {
            if let Err(error) = self.engine.builds().forget(image) {
                output::warning(&format!("an image of a context stays: {error}"));
            }
        }
    }
}

/// What `--metadata-file` says. There is no manifest before an image is pushed, so there is no digest of one.
fn metadata(digest: &str, tags: &[oci::Reference]) -> serde_json::Value {
    let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
    let mut value = serde_json::json!({
        "buildx.build.ref": "default/default",
        "containerimage.config.digest": digest,
    });
    if !names.is_empty() {
        value["image.name"] = names.join(",").into();
    }
    value
}

/// Returns how progress is to be shown.
pub(super) fn style(progress: Option<&str>, quiet: bool) -> Result<Style, Failure> {
    let from_environment = std::env::var("BUILDKIT_PROGRESS").ok();
    Ok(match progress.or(from_environment.as_deref()) {
        _ if quiet => Style::Quiet,
        Some("quiet" | "none") => Style::Quiet,
        Some("plain") => Style::Plain,
        Some("rawjson") => Style::Json,
        Some("tty") if !output::stderr_is_terminal() => {
            return Err(
                Failure::new("failed to get console: standard error is not a terminal")
                    .with_hint("leave --progress=tty out"),
            );
        }
        Some("tty") => Style::Terminal,
        _ if output::stderr_is_terminal() => Style::Terminal,
        _ => Style::Plain,
    })
}

/// Says something of the Dockerfile instead of building it.
fn describe(engine: &engine::Engine, prepared: &Prepared) -> Result<ExitCode, Failure> {
    let build = &prepared.build;
    let (name, text) = &build.dockerfile;
    let failed = |error: engine::builder::BuildError| {
        let shown = Shown::Alone(Box::new(BuildProgress::new(Style::Plain)));
        failed(&shown, &EngineError::Build(Box::new(error)), &build.dockerfile)
    };
    match prepared.call {
        Call::Build => {}
        Call::Check { json } => {
            let warnings = engine.builds().check(build).map_err(|error| {
                let shown = Shown::Alone(Box::new(BuildProgress::new(Style::Plain)));
                self::failed(&shown, &error, &build.dockerfile)
            })?;
            output::text(&if json {
                report::checks_json(name, text, &warnings)
            } else {
                report::checks(name, text, &warnings)
            })?;
            return Ok(if warnings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Call::Outline { json } => {
            let outline = engine::builder::call::outline(build).map_err(failed)?;
            output::text(&report::outline(&outline, json))?;
        }
        Call::Targets { json } => {
            let targets = engine::builder::call::targets(build).map_err(failed)?;
            output::text(&report::targets(&targets, json))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(shown: &Shown<'_>, error: &EngineError, (name, text): &(PathBuf, String)) -> Failure {
    let place = output::build::place(error);
    shown.explain(place.map(|lines| (name.as_path(), text.as_str(), lines)));
    let hint = match error {
        EngineError::Build(error) => error.hint(),
        error => error.hint().map(str::to_owned),
    };
    let failure = Failure::bare(format!(
        "ERROR: failed to solve: {}",
        crate::failure::chain(error)
    ));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
