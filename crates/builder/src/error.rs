//! Why a build failed, where in the Dockerfile, and what may help.

use dockerfile::Lines;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The user asked to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// The Dockerfile asks for its checks to be errors, or what it says of them makes no sense.
    #[error("lint violation found for rules: {rules}")]
    Checks {
        /// The names of the rules, each once.
        rules: String,
    },
    /// The build argument `BUILDKIT_DOCKERFILE_CHECK` makes no sense.
    #[error("BUILDKIT_DOCKERFILE_CHECK: {0}")]
    CheckOptions(dockerfile::Problem),
    /// The build argument `BUILDKIT_SYNTAX` names another frontend.
    #[error("BUILDKIT_SYNTAX: {0}")]
    Frontend(dockerfile::Problem),
    /// A context that lies elsewhere could not be had.
    #[error("unable to fetch the build context")]
    RemoteContext(#[source] Box<StepError>),
    /// A `RUN` ended with another exit code than 0.
    #[error(transparent)]
    Command(Box<CommandFailure>),
    /// The context is no directory that can be read.
    #[error("cannot read the build context")]
    Context(#[source] sys::SysError),
    /// The Dockerfile cannot be understood.
    #[error(transparent)]
    Dockerfile(#[from] dockerfile::ParseError),
    /// The ignore file cannot be understood.
    #[error("cannot understand {file}")]
    Ignore {
        /// Its name.
        file: String,
        /// Why not.
        #[source]
        source: dockerfile::IgnoreError,
    },
    /// The state database failed.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// A step failed.
    #[error("{}", step.trim())]
    Step {
        /// The instruction, on one line.
        step: String,
        /// Where it stands.
        place: Box<Place>,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
    /// `--target` names no stage.
    #[error("target stage \"{target}\" could not be found{}", nearest.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default())]
    Target {
        /// What was asked for.
        target: String,
        /// The stage that was probably meant.
        nearest: Option<String>,
    },
}

/// Lines of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The lines, from 1.
    pub lines: Lines,
    /// Their text.
    pub text: String,
}

/// A command that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", command_failed(command, *code))]
pub struct CommandFailure {
    /// The step's name, as its events have it.
    pub step: String,
    /// The command, its words joined.
    pub command: String,
    /// Its exit code.
    pub code: i32,
    /// The last lines of its output.
    pub output: Vec<String>,
    /// Where the `RUN` stands.
    pub place: Place,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An archive cannot be unpacked.
    #[error("cannot unpack {archive}")]
    Archive {
        /// The source as written.
        archive: String,
        /// Why not.
        #[source]
        source: store::TarError,
    },
    /// `ADD --checksum=x` of a URL.
    #[error("--checksum={0}: a checksum is sha256: and 64 hexadecimal digits")]
    ChecksumForm(String),
    /// An image of a context is for other platforms.
    #[error("{name} is not there for {platform}, only for {known}")]
    StoredImage {
        /// What it is called.
        name: String,
        /// The platform that was wanted.
        platform: String,
        /// Those that there are.
        known: String,
    },
    /// An archive's member would lie outside.
    #[error("{archive} has the member \"{member}\", whose path leads out of it")]
    ArchivePath {
        /// The source as written.
        archive: String,
        /// The member's path.
        member: String,
    },
    /// A compressed archive cannot be inflated.
    #[error("cannot read {archive}")]
    ArchiveRead {
        /// The source as written.
        archive: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// `FROM` of nothing, after expansion.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// An instruction that changes files, as a `--change`.
    #[error("{0} is not a valid change: only instructions that change the configuration are")]
    NoChange(&'static str),
    /// The base image could not be had, though one by its name is here.
    #[error("{source}")]
    BaseImage {
        /// Why.
        source: crate::ServiceError,
        /// What may help.
        hint: String,
    },
    /// `RUN` in an image for another processor.
    #[error("{0}")]
    ForeignProgram(String),
    /// `RUN --network=host` in a build that may not.
    #[error("the host's network is not allowed in this build")]
    HostNetwork,
    /// `RUN --security=insecure` in a build that may not.
    #[error("security.insecure is not allowed in this build")]
    Insecure,
    /// What came from the web is not what was expected.
    #[error("digest mismatch for {source_text}: expected {expected}, got {found}")]
    Checksum {
        /// The URL.
        source_text: String,
        /// What the Dockerfile says.
        expected: String,
        /// What came.
        found: String,
    },
    /// What came from the web is not what the lock file says.
    #[error("{address} is {found} now, and {file} wants {expected}")]
    Locked {
        /// The URL.
        address: String,
        /// The lock file.
        file: String,
        /// What it says.
        expected: String,
        /// What came.
        found: String,
    },
    /// The lock file does not speak of a source.
    #[error("{file} does not say what {address} is")]
    Unlocked {
        /// The URL.
        address: String,
        /// The lock file.
        file: String,
    },
    /// git failed.
    #[error("cannot fetch {remote}: {message}")]
    Git {
        /// The address.
        remote: String,
        /// What git says, or what is wrong with the address.
        message: String,
    },
    /// The commit is not the one that was expected.
    #[error("expected the commit {expected} of {remote}, got {found}")]
    GitChecksum {
        /// The address.
        remote: String,
        /// What the Dockerfile says.
        expected: String,
        /// What came.
        found: String,
    },
    /// A part of a repository that is none, or lies behind a link.
    #[error("{remote} has no directory '{directory}' (links do not count)")]
    GitDirectory {
        /// The address.
        remote: String,
        /// The part.
        directory: String,
    },
    /// `--keep-git-dir` of something that is no repository.
    #[error("--keep-git-dir is for Git repositories, and {0} is none")]
    KeepGitDirectory(String),
    /// A URL that ends in a slash, into a directory.
    #[error("cannot determine filename for source {0}")]
    NoFileName(String),
    /// git is not there.
    #[error("git is not installed here, and is needed to fetch repositories")]
    NoGit,
    /// A URL with a scheme that nobody speaks.
    #[error("{0} can be fetched by neither http, https nor git")]
    Scheme(String),
    /// A secret that is too large.
    #[error("secret {0} is larger than 500 KiB")]
    LargeSecret(String),
    /// A `--mount` that makes no sense once its variables are expanded.
    #[error(transparent)]
    Mount(#[from] dockerfile::MountProblem),
    /// `--mount=target=/`.
    #[error("the root itself is no place for a mount")]
    MountOnRoot,
    /// `--mount=type=ssh,required` and no `--ssh`.
    #[error("unset ssh forward key {0}")]
    NoAgent(String),
    /// `--mount=type=secret,required` and no `--secret`.
    #[error("secret {0}: not found")]
    NoSecret(String),
    /// A secret's file cannot be read.
    #[error("secret {id} cannot be read")]
    SecretFile {
        /// The secret's id.
        id: String,
        /// Why not.
        #[source]
        source: sys::SysError,
    },
    /// A secret for the environment with bytes that cannot be there.
    #[error("secret {0} is no text, and cannot be a variable: mount it as a file")]
    SecretText(String),
    /// A here-document's name that is no file's name.
    #[error("\"{0}\" cannot be the name of a file")]
    DocumentName(String),
    /// `--exclude` with a pattern that has no sound meaning.
    #[error("--exclude: {0}")]
    Exclude(#[source] dockerfile::IgnoreError),
    /// The base image could not be had, or a command not run.
    #[error(transparent)]
    Service(#[from] crate::ServiceError),
    /// `COPY --from=9`.
    #[error(
        "invalid stage index {index}: {keyword} --from takes the number or name of an earlier stage, or an image"
    )]
    StageIndex {
        /// The instruction.
        keyword: &'static str,
        /// The number.
        index: usize,
    },
    /// `--from=$x`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromExpansion,
    /// The destination is, or lies below, something that is no directory.
    #[error("cannot copy to non-directory: {0}")]
    NotADirectory(String),
    /// `WORKDIR` names a file.
    #[error("{0} is not a directory")]
    WorkingDirectory(String),
    /// A file would replace a directory.
    #[error("cannot replace the directory {0} with a file")]
    ReplacesDirectory(String),
    /// Several files, one destination that is no directory.
    #[error(
        "When using {0} with more than one source file, the destination must be a directory and end with a /"
    )]
    SeveralSources(&'static str),
    /// A source that an ignore rule keeps out of the context.
    #[error("\"{path}\" is not in the build context: excluded by the rule \"{rule}\" in {file}, line {line}")]
    SourceExcluded {
        /// The source, cleaned.
        path: String,
        /// The rule as written.
        rule: String,
        /// The file that it stands in.
        file: String,
        /// Its line there, from 1.
        line: usize,
    },
    /// A source that is not there.
    #[error("\"{path}\" is not in {origin}")]
    SourceMissing {
        /// The source, cleaned.
        path: String,
        /// Where it was looked for: `the build context`, `stage build`, `image x`.
        origin: String,
        /// What may help.
        hint: Option<String>,
    },
    /// A pattern without a sound meaning.
    #[error(transparent)]
    Glob(#[from] dockerfile::GlobError),
    /// Too many names, or a name that is no path.
    #[error("\"{0}\" is no path that can be copied")]
    BadPath(String),
    /// A variable cannot be expanded.
    #[error(transparent)]
    Expand(#[from] dockerfile::ExpandError),
    /// `--chmod=x`.
    #[error(
        "invalid chmod parameter: '{0}': use an octal mode such as 0755, or a symbolic one such as u=rwX,go=rX"
    )]
    Mode(String),
    /// `--chown=nobody-knows`.
    #[error("there is no {kind} \"{name}\" in the image's {file}")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// `--platform=x`.
    #[error(transparent)]
    Platform(#[from] oci::PlatformError),
    /// `EXPOSE x`.
    #[error("invalid containerPort: {0}")]
    Port(String),
    /// `FROM` or `--from` names no image that could be.
    #[error(transparent)]
    Reference(#[from] oci::ReferenceError),
    /// `STOPSIGNAL x`.
    #[error("invalid signal: {0}")]
    Signal(String),
    /// A trigger of the base image.
    #[error(transparent)]
    Trigger(#[from] dockerfile::ParseError),
    /// Not yet.
    #[error("{0} not supported yet")]
    Unsupported(&'static str),
    /// The state database failed.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
}

/// A step's failure on its way to where the step is known.
#[derive(Debug)]
pub(crate) enum Failure {
    Cancelled,
    /// Another stage failed, and its error is the one to be shown.
    Elsewhere,
    Command {
        command: String,
        code: i32,
        output: Vec<String>,
    },
    Step(StepError),
}

impl<E: Into<StepError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Step(error.into())
    }
}

/// Says how a command has failed, as Docker does.
pub(crate) fn command_failed(command: &str, code: i32) -> String {
    format!("process \"{command}\" did not complete successfully: exit code: {code}")
}

/// Joins an error's text with those of its causes; a cause that only repeats is left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl BuildError {
    /// Returns where in the Dockerfile the failure lies: the file, its lines and their text.
    pub fn location(&self) -> Option<(&str, Lines, &str)> {
        match self {
            Self::Command(failure) => Some((&failure.place.file, failure.place.lines, &failure.place.text)),
            Self::Step { place, .. } => Some((&place.file, place.lines, &place.text)),
            Self::Dockerfile(error) => error
                .lines
                .map(|lines| (error.file.as_str(), lines, error.text.as_str())),
            _ => None,
        }
    }

    /// Returns what the user may do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        let Self::Step { source, .. } = self else {
            return None;
        };
        match &**source {
            StepError::SourceMissing { hint, .. } => hint.clone(),
            StepError::SourceExcluded { path, file, .. } => Some(format!(
                "add the line !{path} below that rule in {file}, or take the rule out"
            )),
            StepError::BaseImage { hint, .. } => Some(hint.clone()),
            StepError::Locked { .. } | StepError::Unlocked { .. } => {
                Some("'lock update' takes what is there now".to_owned())
            }
            StepError::HostNetwork => {
                Some("give the build --allow network.host, or --network host, to allow it".to_owned())
            }
            StepError::Insecure => Some("give the build --allow security.insecure to allow it".to_owned()),
            StepError::NoFileName(_) => Some("end the destination with the file's name".to_owned()),
            StepError::NoSecret(id) => Some(format!("give the build --secret id={id},src=FILE")),
            StepError::NoAgent(id) => Some(format!("give the build --ssh {id}")),
            StepError::Port(_) => Some(
                "write a port up to 65535 or a range such as 8000-8010, and perhaps /tcp, /udp or /sctp"
                    .to_owned(),
            ),
            StepError::Signal(name) => Some(match crate::config::nearest_signal(name) {
                Some(near) => format!("did you mean {near}?"),
                None => "write a signal's name such as SIGTERM, or its number from 1 to 64".to_owned(),
            }),
            StepError::SeveralSources(_) => Some("end the destination with a /".to_owned()),
            StepError::NoSuchUser { kind, .. } => Some(format!(
                "make the {kind} in a RUN step before, or write its number"
            )),
            _ => None,
        }
    }
}
