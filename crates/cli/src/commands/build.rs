//! `build`.

use super::build_extras::{self, Extras};
use crate::args::build::input::StandardInput;
use crate::args::build::{BuildFlags, Call, Context, Prepared, is_remote};
use crate::args::build_output::Output;
use crate::args::{build_cache, build_output};
use crate::dispatch::Verb;
use crate::failure::{Failure, INTERRUPTED};
use crate::front::Cli;
use crate::output::build::{BuildProgress, Style, report};
use crate::{output, signals};
use clap::Args;
use engine::EngineError;
use engine::builder::{BuildEvent, StepReport};
use engine::builds::DebugShell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// `build`.
#[derive(Debug, Args)]
pub(super) struct BuildCommand {
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    extras: Extras,
}

impl Verb for BuildCommand {
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure> {
        let quiet = self.flags.quiet;
        let progress = self.flags.progress.clone();
        let iidfile = self.flags.iidfile.clone();
        let metadata_file = self.flags.metadata_file.clone();
        let from_environment = std::env::var("BUILDKIT_PROGRESS").ok();
        let style = match progress.as_deref().or(from_environment.as_deref()) {
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
        };
        self.extras.check()?;
        let platforms = self.flags.platforms()?;
        let outputs = build_output::parse(&self.flags.output, self.flags.push, &self.flags.annotation)?;
        build_extras::check(&outputs, &platforms, !self.flags.tag.is_empty())?;
        let cache_from = build_cache::sources(&self.flags.cache_from)?;
        let cache_to = build_cache::targets(&self.flags.cache_to)?;
        let dockerfile = self.flags.file.clone();
        self.flags.judge_context(&words[0])?;
        let engine = cli.engine()?;
        let cancelled = signals::cancellation()?;
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
            address if is_remote(address) => {
                Some(engine.builds().context_from_address(address, keep, &cancelled))
            }
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
        let mut named = BTreeMap::new();
        for (name, address) in self.flags.addresses() {
            match engine.builds().context_from_address(&address, keep, &cancelled) {
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
        let prepared = self
            .flags
            .prepare(context, &directories, cli.client().proxy_variables())?;
        for warning in &prepared.warnings {
            output::warning(warning);
        }
        if prepared.call != Call::Build {
            return describe(engine, &prepared);
        }
        let mut build = prepared.build;
        self.extras.lock(&mut build, dockerfile.as_deref())?;
        let tags = build.tags.clone();
        let keep_image = outputs.is_empty() || outputs.iter().any(Output::keeps_image);
        if keep_image {
            build.tags.extend(outputs.iter().flat_map(Output::names).cloned());
        } else {
            // The names are for what is written, and not for the store.
            build.tags.clear();
        }
        for warning in &cache_to.warnings {
            output::warning(warning);
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
        for platform in platforms {
            build.platform = platform.clone();
            let shown = BuildProgress::new(style);
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
                    return Ok(verdict);
                }
            }
            images.push((platform, digest));
        }
        if many && keep_image && !joint_names.is_empty() {
            let digests: Vec<_> = images.iter().map(|(_, digest)| *digest).collect();
            engine.images().make_index(&digests, &joint_names)?;
            build.tags = joint_names;
        }
        let written = build_extras::write(engine, &outputs, &images, &tags).and_then(|()| {
            let tell = style != Style::Quiet;
            build_extras::export(builds, &cache_to.exports, &all_reports, &images, began, tell)
        });
        if !keep_image {
            for (_, digest) in &images {
                builds.forget(digest)?;
            }
        }
        written?;
        let Some((_, digest)) = images.first() else {
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(path) = &iidfile {
            std::fs::write(path, digest.to_string()).map_err(|error| Failure::file("write", path, &error))?;
        }
        if let Some(path) = &metadata_file {
            let text = metadata(&digest.to_string(), &build.tags);
            std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))?;
        }
        let out_is_taken = outputs.iter().any(Output::is_standard_output);
        if (quiet || style == Style::Quiet) && !out_is_taken {
            output::line(&digest.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What `--metadata-file` says. There is no manifest before an image is pushed, so there is no digest of one.
fn metadata(digest: &str, tags: &[oci::Reference]) -> String {
    let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
    let mut value = serde_json::json!({
        "buildx.build.ref": "default/default",
        "containerimage.config.digest": digest,
    });
    if !names.is_empty() {
        value["image.name"] = names.join(",").into();
    }
    format!("{value:#}\n")
}

/// Says something of the Dockerfile instead of building it.
fn describe(engine: &engine::Engine, prepared: &Prepared) -> Result<ExitCode, Failure> {
    let build = &prepared.build;
    let (name, text) = &build.dockerfile;
    let failed = |error: engine::builder::BuildError| {
        let shown = BuildProgress::new(Style::Plain);
        failed(&shown, &EngineError::Build(Box::new(error)), &build.dockerfile)
    };
    match prepared.call {
        Call::Build => {}
        Call::Check { json } => {
            let warnings = engine.builds().check(build).map_err(|error| {
                let shown = BuildProgress::new(Style::Plain);
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

fn failed(
    shown: &BuildProgress,
    error: &EngineError,
    (name, text): &(std::path::PathBuf, String),
) -> Failure {
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
