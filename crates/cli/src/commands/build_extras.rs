//! What `build` does besides building: outputs, `--verify`, `--explain`, lock files.

use super::save::to_file;
use crate::args::build_cache::CacheTarget;
use crate::args::build_output::Output;
use crate::attach::{Conversation, talk};
use crate::failure::Failure;
use crate::output::build::Shown;
use crate::output::{self, table, time, units};
use crate::signals::Signals;
use crate::terminal;
use clap::Args;
use engine::Engine;
use engine::builder::{Build, FailedStep, Lock, StepReport};
use engine::builds::{Builds, Verification};
use engine::containers::keys::DetachKeys;
use engine::containers::session::Session;
use engine::images::PushEvent;
use oci::{Digest, Platform};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `build` that Docker has not.
#[derive(Debug, Args)]
pub(super) struct Extras {
    /// Build twice in different surroundings and print what differs
    #[arg(long)]
    pub(super) verify: bool,
    /// Open a shell in the first step that fails, with all that it saw
    #[arg(long)]
    pub(super) debug_shell: bool,
    /// Print for each step whether it was cached, why not, and what it cost
    #[arg(long)]
    pub(super) explain: bool,
    /// Take the images that the lock file names, and no others
    #[arg(long)]
    locked: bool,
    /// Name of the lock file (default: the Dockerfile's name with ".lock")
    #[arg(long, value_name = "string")]
    lock_file: Option<PathBuf>,
}

impl Extras {
    /// Refuses what cannot be done before anything is built.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if !self.debug_shell {
            return Ok(());
        }
        if self.verify {
            return Err(Failure::new("--debug-shell cannot be used with --verify")
                .with_hint("--verify judges a build that works"));
        }
        if !(terminal::stdin_is_terminal() && output::stderr_is_terminal()) {
            return Err(Failure::new(
                "--debug-shell needs a terminal for the shell: standard input and standard error must be one",
            )
            .with_hint("leave it out where nobody sits at the terminal"));
        }
        Ok(())
    }

    /// Reads the lock file if the build is to keep to it.
    pub(super) fn lock(
        &self,
        dockerfile: Option<&Path>,
        context: &Path,
    ) -> Result<Option<(PathBuf, Lock)>, Failure> {
        if !self.locked && self.lock_file.is_none() {
            return Ok(None);
        }
        let path = lock_path(self.lock_file.as_deref(), dockerfile, context);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let failure = Failure::file("read the lock file", &path, &error);
            match error.kind() {
                std::io::ErrorKind::NotFound => failure.with_hint("'lock update' makes it"),
                _ => failure,
            }
        })?;
        let lock = Lock::parse(&text).map_err(|error| {
            Failure::new(format!("{}: {}", path.display(), crate::failure::chain(&error)))
        })?;
        Ok(Some((path, lock)))
    }
}

/// Returns where the lock file is: beside the Dockerfile, unless the user says where.
pub(super) fn lock_path(given: Option<&Path>, dockerfile: Option<&Path>, context: &Path) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    let mut name = match dockerfile {
        Some(path) if path != Path::new("-") => path.as_os_str().to_owned(),
        _ => context.join("Dockerfile").into_os_string(),
    };
    name.push(".lock");
    name.into()
}

/// Refuses what cannot be written before anything is built. `is_named` says whether the image has a tag.
pub(super) fn check(outputs: &[Output], platforms: &[Platform], is_named: bool) -> Result<(), Failure> {
    let nameless = |output: &Output| matches!(output, Output::Store { names, push: true } if names.is_empty() && !is_named);
    if outputs.iter().any(nameless) {
        return Err(Failure::new("tag is needed when pushing to registry")
            .with_hint("give the image a name with its registry: -t registry.example/name:tag"));
    }
    if outputs.iter().any(Output::is_standard_output) && output::stdout_is_terminal() {
        return Err(Failure::new(
            "dest file is required for this output: refusing to write it to a terminal",
        )
        .with_hint("give dest=FILE, or redirect standard output"));
    }
    for output in outputs {
        if let Output::Archive(Some(path), _) | Output::FilesTar(Some(path)) = output
            && path.is_dir()
        {
            return Err(Failure::new(format!(
                "destination file {} is a directory",
                path.display()
            )));
        }
    }
    if platforms.len() > 1 && outputs.iter().any(|output| matches!(output, Output::FilesTar(_))) {
        return Err(
            Failure::new("the files of several platforms cannot go into one tar")
                .with_hint("use type=local, which makes a directory for each"),
        );
    }
    Ok(())
}

/// Writes what was built to where it is to go. The images are one for each of the platforms.
pub(super) fn write(
    engine: &Engine,
    outputs: &[Output],
    images: &[(Platform, Digest)],
    tags: &[oci::Reference],
    tell: &dyn Fn(&str),
) -> Result<(), Failure> {
    let builds = engine.builds();
    let digests: Vec<Digest> = images.iter().map(|(_, digest)| *digest).collect();
    let named = |options: &engine::builds::LayoutOptions| {
        let mut options = options.clone();
        if options.references.is_empty() {
            options.references = tags.to_vec();
        }
        options
    };
    for output in outputs {
        match output {
            Output::CacheOnly | Output::Store { push: false, .. } => {}
            Output::Store { names, push: true } => {
                let mut all: Vec<_> = tags.iter().chain(names).collect();
                all.sort();
                all.dedup();
                for reference in all {
                    engine.images().push(reference, None, &|event| {
                        if let PushEvent::Status { message } = event {
                            tell(&message);
                        }
                    })?;
                }
            }
            Output::Files(directory) => {
                for (platform, digest) in images {
                    let own = if images.len() == 1 {
                        directory.clone()
                    } else {
                        directory.join(platform.to_string().replace('/', "_"))
                    };
                    builds.write_files(digest, &own)?;
                }
            }
            Output::FilesTar(path) => {
                if let [digest, ..] = digests[..] {
                    to_file(path.as_deref(), "write", |into| {
                        Ok(builds.write_files_tar(&digest, into)?)
                    })?;
                }
            }
            Output::Archive(path, options) => {
                let options = named(options);
                to_file(path.as_deref(), "write", |into| {
                    Ok(builds.write_layout(&digests, &options, into)?)
                })?;
            }
            Output::Layout(path, options) => {
                builds.write_layout_directory(&digests, &named(options), path)?;
            }
        }
    }
    Ok(())
}

/// Writes the steps of a build that began at `since` into caches.
pub(super) fn export(
    builds: Builds<'_>,
    targets: &[CacheTarget],
    reports: &[StepReport],
    images: &[(Platform, Digest)],
    since: i64,
    tell: &dyn Fn(&str),
) -> Result<(), Failure> {
    for CacheTarget { export, ignore_error } in targets {
        // Of several platforms the first one's image says which layers are wanted, unless all are.
        let mut export = export.clone();
        export.all |= images.len() > 1;
        let Some((_, image)) = images.first() else {
            return Ok(());
        };
        let place = &export.place;
        match builds.export_cache(reports, image, since, &export) {
            Ok(steps) => tell(&format!("exported the cache of {steps} steps to {place}")),
            Err(error) if *ignore_error => output::warning(&format!(
                "the cache was not exported to {place}: {}",
                crate::failure::chain(&error)
            )),
            Err(error) => {
                return Err(Failure::bare(format!(
                    "ERROR: exporting the cache to {place}: {}",
                    crate::failure::chain(&error)
                )));
            }
        }
    }
    Ok(())
}

/// Talks with a shell in a step that has failed, on the terminal that `shown` leaves for so long.
pub(super) fn shell(shown: &Shown<'_>, failed: &FailedStep<'_>, mut session: Session) {
    shown.aside(|| {
        output::note(&format!(
            "\n{} failed with exit code {}.\nThis is a shell in its snapshot; when you leave it, the build fails.\n",
            shortened(failed.instruction),
            failed.code
        ));
        let talked = Signals::catch().map_err(Failure::from).and_then(|mut signals| {
            if let Some((rows, columns)) = terminal::size() {
                session.resize(rows, columns)?;
            }
            let conversation = Conversation {
                stdin: true,
                terminal: true,
                stdout: true,
                stderr: true,
                // Whoever is to end ends; a shell that is a container's first process does not heed what it is sent.
                signals: false,
                detach_keys: DetachKeys::none(),
            };
            talk(session, &mut signals, &conversation, &|_| Ok(()))
        });
        if let Err(failure) = talked {
            output::warning(&format!("the shell has ended: {}", failure.message));
        }
    });
}

/// Prints what there is to say of each step.
pub(super) fn explain(
    builds: Builds<'_>,
    build: &Build,
    reports: &[StepReport],
    since: i64,
) -> Result<(), Failure> {
    let mut lines = vec!["STEP\tRESULT\tSECONDS\tSIZE\tWHY".to_owned()];
    for step in builds.explain(build, reports, since)? {
        let result = if step.cached { "cached" } else { "built" };
        lines.push(format!(
            "{}\t{result}\t{:.1}\t{}\t{}",
            shortened(&step.instruction),
            step.seconds,
            units::human_size(step.bytes),
            shortened(&step.reason),
        ));
    }
    output::note(&format!("\n{}", table::columns(&lines).trim_end()));
    Ok(())
}

/// Prints the verdict on two builds.
pub(super) fn verdict(verification: &Verification) -> Result<ExitCode, Failure> {
    if verification.first == verification.second {
        output::line(&format!("both builds gave {}", verification.first))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "the first build gave {}, the second {}",
        verification.first, verification.second
    ))?;
    for step in &verification.unequal {
        let after = if step.follows {
            " (what it began with was not the same either)"
        } else {
            ""
        };
        output::line(&format!("{}{after}", shortened(&step.instruction)))?;
        for file in step.files.iter().take(SHOWN) {
            let aspects: Vec<&str> = file.aspects.iter().map(|aspect| aspect.name()).collect();
            output::line(&format!("  {}: {}", file.path.display(), aspects.join(", ")))?;
        }
        if step.files.len() > SHOWN {
            output::line(&format!("  and {} more", step.files.len() - SHOWN))?;
        }
    }
    Ok(ExitCode::FAILURE)
}

/// So many files of a step are named.
const SHOWN: usize = 50;
const LONGEST: usize = 100;

fn shortened(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Returns the moment before a build.
pub(super) fn moment() -> i64 {
    time::now()
}
