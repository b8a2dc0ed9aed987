//! The flags of `build`, and what is read from the context before the builder begins.

use super::{Invalid, environment, extra_host, invalid, label};
use crate::failure::Failure;
use clap::Args;
use engine::builder::{Build, RunNetwork};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Flags of `build`.
#[derive(Debug, Args)]
pub(crate) struct BuildFlags {
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_parser = extra_host::parse, value_name = "list")]
    add_host: Vec<(String, String)>,
    /// Set build-time variables
    #[arg(long, value_name = "list")]
    build_arg: Vec<String>,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short, long, value_name = "string")]
    pub file: Option<PathBuf>,
    /// Write the image ID to a file
    #[arg(long, value_name = "string")]
    pub iidfile: Option<PathBuf>,
    /// Set metadata for an image
    #[arg(long, value_parser = label::parse, value_name = "list")]
    label: Vec<(String, String)>,
    /// Keep the result in the local image store (always done)
    #[arg(long)]
    load: bool,
    /// Set the networking mode for the "RUN" instructions during build (default "default")
    #[arg(long, value_name = "string")]
    network: Option<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Set target platforms for build
    #[arg(long, value_name = "list")]
    platform: Vec<String>,
    /// Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty") (default "auto")
    #[arg(long, value_name = "string")]
    pub progress: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pull: bool,
    /// Bring what "RUN" makes into a form that is the same each time (--reproducible=false: as it is)
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = super::boolean::parse, action = clap::ArgAction::Set)]
    reproducible: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    pub quiet: bool,
    /// Remove intermediate containers after a successful build (there are none)
    #[arg(long)]
    rm: bool,
    /// Always remove intermediate containers (there are none)
    #[arg(long)]
    force_rm: bool,
    /// Image identifier (format: "[registry/]repository[:tag]")
    #[arg(short, long, value_name = "list")]
    tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// External cache sources (e.g., "type=local,src=path/to/dir")
    #[arg(long, value_name = "list")]
    pub cache_from: Vec<String>,
    /// Cache export destinations (e.g., "type=local,dest=path/to/dir")
    #[arg(long, value_name = "list")]
    pub cache_to: Vec<String>,
    /// Additional build contexts (e.g., name=path)
    #[arg(long, value_name = "list")]
    build_context: Vec<String>,
    /// Output destination (format: "type=local,dest=path")
    #[arg(short, long, value_name = "list")]
    pub output: Vec<String>,
    /// Push the result
    #[arg(long)]
    pub push: bool,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "list")]
    secret: Vec<String>,
    /// SSH agent socket or keys to expose to the build
    #[arg(long, value_name = "list")]
    ssh: Vec<String>,
    /// Shorthand for "--attest=type=provenance"
    #[arg(long, value_name = "string")]
    provenance: Option<String>,
    /// Shorthand for "--attest=type=sbom"
    #[arg(long, value_name = "string")]
    sbom: Option<String>,
    /// Attestation parameters (format: "type=sbom,generator=image")
    #[arg(long, value_name = "list")]
    attest: Vec<String>,
    /// Override the configured builder instance (ignored: there is one)
    #[arg(long, value_name = "string")]
    builder: Option<String>,
    /// Memory limit for "RUN"
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Size of /dev/shm for "RUN"
    #[arg(long, value_name = "bytes")]
    shm_size: Option<String>,
    /// Ulimit options for "RUN"
    #[arg(long, value_name = "ulimit")]
    ulimit: Vec<String>,
    /// Skip image verification
    #[arg(long)]
    disable_content_trust: bool,
}

/// A build, and what of its flags was ignored.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The request.
    pub build: Build,
    /// What was ignored.
    pub warnings: Vec<String>,
}

/// No Dockerfile and no ignore file is larger.
const LARGEST: u64 = 4 << 20;

impl BuildFlags {
    /// Makes the request for a context directory.
    pub(crate) fn prepare(self, context: &str, proxy: BTreeMap<String, String>) -> Result<Prepared, Failure> {
        let warnings = self.judge()?;
        let context = directory(context)?;
        let dockerfile = self.dockerfile(&context)?;
        let ignore = ignore_file(&context, &dockerfile.0)?;
        let arguments = self.arguments();
        let epoch = arguments
            .get("SOURCE_DATE_EPOCH")
            .cloned()
            .or_else(|| std::env::var("SOURCE_DATE_EPOCH").ok())
            .filter(|text| !text.is_empty());
        let source_date_epoch = match epoch.map(|text| (text.parse::<i64>(), text)) {
            None => None,
            Some((Ok(seconds), _)) => Some(seconds),
            Some((Err(_), text)) => {
                return Err(Failure::new(format!("invalid SOURCE_DATE_EPOCH: {text}")));
            }
        };
        let tags = self
            .tag
            .iter()
            .map(|tag| reference(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let platform = self.platforms()?.into_iter().next();
        let build = Build {
            context,
            dockerfile,
            ignore,
            arguments,
            target: self.target.filter(|target| !target.is_empty()),
            tags,
            labels: self.label.into_iter().collect(),
            no_cache: self.no_cache,
            pull: self.pull,
            network: network(self.network.as_deref())?,
            platform: platform.unwrap_or_else(oci::Platform::host),
            source_date_epoch,
            reproducible: self.reproducible,
            lock: None,
            proxy,
            extra_hosts: self.add_host,
        };
        Ok(Prepared { build, warnings })
    }

    /// Returns the platforms to build for, at least one.
    pub(crate) fn platforms(&self) -> Result<Vec<oci::Platform>, Invalid> {
        let given: Vec<&str> = self.platform.iter().flat_map(|text| text.split(',')).collect();
        if given.is_empty() {
            let preset = super::container::platform(None)?;
            return Ok(vec![preset.unwrap_or_else(oci::Platform::host)]);
        }
        let mut platforms = Vec::new();
        for text in given {
            // Docker's builder has this word for the machine that it runs on.
            let platform = match text.trim() {
                "local" => Some(oci::Platform::host()),
                text => super::container::platform(Some(text))?,
            };
            let platform = platform.unwrap_or_else(oci::Platform::host);
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        Ok(platforms)
    }

    fn judge(&self) -> Result<Vec<String>, Invalid> {
        for (given, flag, instead) in [
            (
                !self.build_context.is_empty(),
                "--build-context",
                "copy the files into the context",
            ),
            (!self.secret.is_empty(), "--secret", "secrets come later"),
            (!self.ssh.is_empty(), "--ssh", "agents come later"),
        ] {
            if given {
                return invalid(format!("'{flag}' is not there yet: {instead}"));
            }
        }
        if let Some(progress) = self.progress.as_deref() {
            match progress {
                "auto" | "plain" | "tty" | "quiet" | "none" | "" => {}
                "rawjson" => return invalid("'--progress=rawjson' is not there yet: use plain"),
                other => {
                    return invalid(format!(
                        "invalid progress type: {other:?}; use auto, plain, tty or quiet"
                    ));
                }
            }
        }
        let off = |value: &Option<String>| value.as_deref().is_none_or(|value| value == "false");
        Ok([
            (
                !off(&self.provenance) || !off(&self.sbom) || !self.attest.is_empty(),
                "attestations",
            ),
            (self.memory.is_some(), "--memory"),
            (self.shm_size.is_some(), "--shm-size"),
            (!self.ulimit.is_empty(), "--ulimit"),
        ]
        .iter()
        .filter(|(given, _)| *given)
        .map(|(_, name)| format!("{name}: not there yet and ignored"))
        .collect())
    }

    /// Resolves build arguments; one without a value takes that of our environment, and is not set without one there.
    fn arguments(&self) -> BTreeMap<String, String> {
        let mut arguments = BTreeMap::new();
        for argument in &self.build_arg {
            match argument.split_once('=') {
                Some((name, value)) => {
                    arguments.insert(name.to_owned(), value.to_owned());
                }
                None => {
                    if let Some(value) = std::env::var_os(argument) {
                        arguments.insert(argument.clone(), value.to_string_lossy().into_owned());
                    }
                }
            }
        }
        arguments
    }

    fn dockerfile(&self, context: &Path) -> Result<(PathBuf, String), Failure> {
        let (name, path) = match self.file.as_deref() {
            Some(path) if path == Path::new("-") => {
                let standard_input = Path::new("standard input");
                let text = read_all(std::io::stdin())
                    .map_err(|error| unreadable(standard_input, &environment::reason(&error)))?
                    .map_err(|line| unreadable(standard_input, &format!("line {line} is not UTF-8 text")))?;
                return Ok(("Dockerfile".into(), text));
            }
            Some(path) => (path.to_owned(), path.to_owned()),
            None => {
                let upper = context.join("Dockerfile");
                let lower = context.join("dockerfile");
                let path = if !upper.exists() && lower.exists() {
                    lower
                } else {
                    upper
                };
                (PathBuf::from("Dockerfile"), path)
            }
        };
        let text = read(&path).map_err(|error| {
            let failure = unreadable(&name, &environment::reason(&error));
            if self.file.is_none() && error.kind() == std::io::ErrorKind::NotFound {
                let context = context.display();
                return failure.with_hint(format!(
                    "there is no Dockerfile in {context}; -f names one that lies elsewhere"
                ));
            }
            failure
        })?;
        let text = text.map_err(|line| unreadable(&name, &format!("line {line} is not UTF-8 text")))?;
        Ok((name, text))
    }
}

fn unreadable(name: &Path, why: &str) -> Failure {
    Failure::bare(format!(
        "ERROR: failed to solve: failed to read dockerfile: open {}: {why}",
        name.display()
    ))
}

/// Reads a text; the inner error is the number of the first line that is none.
fn read(path: &Path) -> std::io::Result<Result<String, usize>> {
    read_all(std::fs::File::open(path)?)
}

fn read_all(source: impl std::io::Read) -> std::io::Result<Result<String, usize>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    }
    Ok(String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        good.split(|byte| *byte == b'\n').count()
    }))
}

/// Finds the ignore file: the Dockerfile's own before the context's.
fn ignore_file(context: &Path, dockerfile: &Path) -> Result<Option<(PathBuf, String)>, Failure> {
    let mut own = if dockerfile
        .parent()
        .is_none_or(|parent| parent.as_os_str().is_empty())
    {
        context.join(dockerfile).into_os_string()
    } else {
        dockerfile.as_os_str().to_owned()
    };
    own.push(".dockerignore");
    let unread = |path: &Path, why: &str| {
        Failure::bare(format!(
            "ERROR: failed to solve: failed to read dockerignore: open {}: {why}",
            path.display()
        ))
    };
    for path in [PathBuf::from(own), context.join(".dockerignore")] {
        match read(&path) {
            Ok(Ok(text)) => return Ok(Some((path, text))),
            Ok(Err(line)) => return Err(unread(&path, &format!("line {line} is not UTF-8 text"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unread(&path, &environment::reason(&error))),
        }
    }
    Ok(None)
}

fn directory(context: &str) -> Result<PathBuf, Failure> {
    if context == "-" {
        return Err(Failure::new("a context from standard input is not there yet")
            .with_hint("unpack it into a directory and name that"));
    }
    let remote = ["http://", "https://", "git://", "git@", "github.com/", "ssh://"];
    if remote.iter().any(|prefix| context.starts_with(prefix)) {
        return Err(
            Failure::new(format!("a remote context ('{context}') is not there yet"))
                .with_hint("clone or download it into a directory and name that"),
        );
    }
    let path = Path::new(context);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            std::path::absolute(path).map_err(|error| unprepared(&environment::reason(&error)))
        }
        Ok(_) => Err(unprepared(&format!("path {context:?} is not a directory"))
            .with_hint("give the directory that the build's files lie in; -f names the Dockerfile")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(unprepared(&format!("path {context:?} not found")))
        }
        Err(error) => Err(unprepared(&format!(
            "path {context:?}: {}",
            environment::reason(&error)
        ))),
    }
}

fn unprepared(why: &str) -> Failure {
    Failure::bare(format!("ERROR: unable to prepare context: {why}"))
}

fn reference(text: &str) -> Result<oci::Reference, Failure> {
    text.parse()
        .map_err(|error: oci::ReferenceError| Failure::new(format!("invalid tag {text:?}: {error}")))
}

fn network(text: Option<&str>) -> Result<RunNetwork, Invalid> {
    match text {
        None | Some("" | "default" | "bridge") => Ok(RunNetwork::Default),
        Some("host") => Ok(RunNetwork::Host),
        Some("none") => Ok(RunNetwork::None),
        Some(other) => invalid(format!(
            "network mode {other:?} cannot be used in a build: use default, host or none"
        )),
    }
}
