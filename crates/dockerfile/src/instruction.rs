//! What a Dockerfile says, instruction by instruction. Values are as written: variables are expanded by whoever knows
//! them, with [`expand_word`](crate::expand_word).

use crate::heredoc::Heredoc;
use crate::mount::MountFlag;

/// Lines of a file, counted from 1, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lines {
    /// The first.
    pub first: usize,
    /// The last.
    pub last: usize,
}

/// A whole Dockerfile. It has at least one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\`, or a backtick where the `escape` directive says so.
    pub escape: char,
    /// The `ARG`s before the first `FROM`.
    pub arguments: Vec<Instruction>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The `check` directive.
    pub checks: CheckOptions,
}

/// What the `check` directive says of the build checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Those that are left out.
    pub skip: Vec<String>,
    /// All are left out.
    pub skip_all: bool,
    /// Those that are made though they are experimental.
    pub experimental: Vec<String>,
    /// All experimental ones are made.
    pub experimental_all: bool,
    /// What they find is an error.
    pub error: bool,
}

/// Something that is allowed but better written otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The check that found it, in Docker's name: `JSONArgsRecommended`.
    pub check: &'static str,
    /// What is the matter.
    pub message: String,
    /// Where.
    pub lines: Lines,
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The `FROM` itself.
    pub from: From,
    /// Where the `FROM` stands.
    pub instruction: Instruction,
    /// What follows it.
    pub instructions: Vec<Instruction>,
}

/// One instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub operation: Operation,
    /// The lines that it stands on.
    pub lines: Lines,
    /// Those lines, byte for byte, without the last newline.
    pub source: String,
    /// The instruction on one line: continuations joined, comments left out.
    pub text: String,
    /// The comments right above it, without their `#`.
    pub comments: Vec<String>,
    /// Whether an empty line lies between its continuations.
    pub empty_continuation: bool,
}

/// What an instruction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `ADD`.
    Add(CopyFiles, AddFlags),
    /// `ARG`.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(CopyFiles),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`, names and values.
    Env(Vec<(String, String)>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `FROM`.
    From(From),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`, names and values.
    Label(Vec<(String, String)>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the instruction to be run by a build on top of this image.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// A command, in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: program and arguments.
    Exec(Vec<String>),
    /// Text for the shell.
    Shell(String),
}

/// `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<String>,
    /// An image, an earlier stage's name or `scratch`.
    pub base: String,
    /// The stage's name, in lower case.
    pub name: Option<String>,
}

/// `COPY`, and what `ADD` shares with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyFiles {
    /// `--from`: a stage by name or number, or an image.
    pub from: Option<String>,
    /// `--chown`.
    pub owner: Option<String>,
    /// `--chmod`.
    pub mode: Option<String>,
    /// `--link`: the layer does not depend on those below it.
    pub link: bool,
    /// `--parents`: the directories above a source are kept.
    pub parents: bool,
    /// `--exclude`: patterns of what is left out.
    pub exclude: Vec<String>,
    /// What to copy; at least one, unless there are documents.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile.
    pub documents: Vec<Heredoc>,
    /// Where to.
    pub destination: String,
}

/// What `ADD` has beyond `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddFlags {
    /// `--checksum`: what a URL's content, or a Git commit, must be.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_directory: Option<bool>,
    /// `--unpack`: whether archives are unpacked; they are unless it says no.
    pub unpack: Option<bool>,
}

/// One name that `ARG` declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Option<String>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: Command,
    /// `--network`, if given.
    pub network: Option<RunNetwork>,
    /// `--security`.
    pub security: RunSecurity,
    /// `--mount`, in their order.
    pub mounts: Vec<MountFlag>,
    /// A script that is a file of its own because it names its interpreter: its name and its text. The command is
    /// its path then.
    pub script: Option<Heredoc>,
}

/// The rights of one `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunSecurity {
    /// All that there are; the build must allow it.
    Insecure,
    /// A container's.
    #[default]
    Sandbox,
}

/// The network of one `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// That of the build.
    Default,
    /// The host's.
    Host,
    /// None but `lo`.
    None,
}

/// `HEALTHCHECK`. Durations are nanoseconds; 0 means the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// The test as the image's configuration has it: `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// `--interval`.
    pub interval: i64,
    /// `--timeout`.
    pub timeout: i64,
    /// `--start-period`.
    pub start_period: i64,
    /// `--start-interval`.
    pub start_interval: i64,
    /// `--retries`.
    pub retries: i64,
}

impl Operation {
    /// Returns the instruction's keyword.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(..) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::From(_) => "FROM",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// Says whether `ADD` would fetch `source` from a network: a URL or a Git repository.
pub fn is_remote_source(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    ["http://", "https://", "git://", "ssh://", "git@", "ftp://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
}
