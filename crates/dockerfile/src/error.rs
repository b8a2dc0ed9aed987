//! What can be wrong with a Dockerfile, in Docker's words where Docker has some.

use crate::Lines;

/// A Dockerfile that cannot be built, and where the fault lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The lines at fault, unless it is the whole file.
    pub lines: Option<Lines>,
    /// The text of those lines.
    pub text: String,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl std::error::Error for ParseError {}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&*self.problem, self.lines) {
            (_, None) => write!(f, "failed to read {}: {}", self.file, self.problem),
            (Problem::Unsupported(_) | Problem::UnsupportedSyntax(_), Some(lines)) => {
                write!(f, "{}:{}: {}", self.file, lines.first, self.problem)
            }
            (_, Some(lines)) => {
                write!(
                    f,
                    "dockerfile parse error on line {}: {}",
                    lines.first, self.problem
                )
            }
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// What is wrong with a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing where something must stand.
    #[error("{0} requires at least one argument")]
    AtLeastOneArgument(&'static str),
    /// A name is empty.
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    /// `--link=perhaps`.
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    Boolean {
        /// The flag.
        flag: String,
        /// What it was given.
        value: String,
    },
    /// A `check` directive that says nothing sound.
    #[error(
        "invalid check directive '{0}': write skip=Name,Name, skip=all, experimental=Name or error=true, with semicolons between them"
    )]
    CheckOption(String),
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedOnbuild,
    /// A directive that stands twice.
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(String),
    /// No duration.
    #[error(
        "time: invalid duration \"{value}\" for --{flag}: write a number with its unit, for example 30s or 1m30s"
    )]
    Duration {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
    },
    /// A duration below Docker's least.
    #[error("Interval \"{0}\" cannot be less than 1ms")]
    DurationTooShort(&'static str),
    /// A flag without its value.
    #[error("missing a value on flag: --{0}")]
    FlagValue(String),
    /// A flag that stands twice.
    #[error("duplicate flag specified: --{0}")]
    FlagTwice(String),
    /// The escape directive names neither of the two.
    #[error("invalid ESCAPE '{0}' does not match ` or \\")]
    Escape(String),
    /// More or less than one argument.
    #[error("{0} requires exactly one argument")]
    ExactlyOneArgument(&'static str),
    /// `FROM a b`.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// `HEALTHCHECK` without `CMD` or `NONE`.
    #[error("Unknown type \"{0}\" in HEALTHCHECK (try CMD)")]
    HealthcheckType(String),
    /// `HEALTHCHECK CMD` and nothing.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// `HEALTHCHECK NONE something`.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// `COPY a <<EOF`.
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    /// A JSON array of other things than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    JsonStrings,
    /// `ENV a`.
    #[error("{0} must have two arguments")]
    KeyAndValue(&'static str),
    /// `ENV a=b c`.
    #[error("Syntax error - can't find = in \"{0}\". Must be of the form: name=value")]
    NoEqualsSign(String),
    /// `COPY a`.
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination(&'static str),
    /// A `--mount` that makes no sense.
    #[error(transparent)]
    Mount(#[from] crate::mount::MountProblem),
    /// An empty file.
    #[error("file with no instructions")]
    NoInstructions,
    /// An instruction before the first `FROM`.
    #[error("no build stage in current context")]
    NoStage,
    /// `RUN --network=lan`.
    #[error("invalid network mode: \"{0}\" (use default, none or host)")]
    Network(String),
    /// `FROM` or `MAINTAINER` as a trigger.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    /// `--retries=many`.
    #[error("--retries: \"{0}\" is not a number")]
    RetriesNumber(String),
    /// `--retries=-1`.
    #[error("--retries cannot be negative ({0})")]
    RetriesNegative(i64),
    /// `RUN --security=none`.
    #[error("security mode \"{0}\" is not valid (use sandbox or insecure)")]
    Security(String),
    /// `SHELL sh`.
    #[error("SHELL requires the arguments to be in JSON form, as in SHELL [\"/bin/sh\", \"-c\"]")]
    ShellForm,
    /// A stage name that could be a number or has symbols in it.
    #[error("invalid name for build stage: \"{0}\", name can't start with a number or contain symbols")]
    StageName(String),
    /// A flag that the instruction does not have.
    #[error("unknown flag: --{flag}{}{}", suggestion(nearest.as_deref()), elsewhere.map(|other| format!(" ({other} has it)")).unwrap_or_default())]
    UnknownFlag {
        /// As written, without its value.
        flag: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// The instruction that has it.
        elsewhere: Option<&'static str>,
    },
    /// A here-document that the file's end cuts off.
    #[error("unterminated heredoc: no line below it is \"{0}\" alone")]
    UnterminatedHeredoc(String),
    /// No instruction of this name.
    #[error("unknown instruction: {name}{}{}", suggestion(*nearest), if *torn { " (the line above goes on: end it with a backslash, or whatever escapes here)" } else { "" })]
    UnknownInstruction {
        /// Whether the instruction above it looks as if it went on.
        torn: bool,
        /// As written.
        name: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Something that this builder does not know yet.
    #[error("{0} not supported yet")]
    Unsupported(&'static str),
    /// A foreign frontend.
    #[error(
        "the syntax '{0}' is not supported: Coracle reads docker/dockerfile itself and runs no other frontends"
    )]
    UnsupportedSyntax(String),
    /// `VOLUME [""]`.
    #[error("VOLUME specified can not be an empty string")]
    VolumeEmpty,
}
