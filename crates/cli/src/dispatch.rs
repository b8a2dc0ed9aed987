//! From words to a command: the table of commands, flags parsed by clap, and mistakes answered in Docker's words.

use crate::commands::{ABSENT, ABSENT_GROUPS, COMMANDS, GROUPS};
use crate::failure::{self, Failure};
use crate::front::Cli;
use crate::{complete, help, output};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::process::ExitCode;

/// A command's flags, and what it does with them.
pub(crate) trait Verb: clap::Args + Sized {
    /// Does it. `words` are the arguments that are no flags; their number is right.
    fn run(self, cli: &Cli, words: Vec<String>) -> Result<ExitCode, Failure>;

    /// Looks at what clap remembers of the order of the flags, before [`Verb::run`].
    fn observe(&mut self, matches: &ArgMatches) {
        let _: &ArgMatches = matches;
    }
}

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// None to so many.
    AtMost(usize),
    /// From the first number to the second.
    Between(usize, usize),
}

/// What the words of a command name, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Containers, whatever they do.
    Containers,
    /// Running ones.
    Running,
    /// Ones that do not run.
    Stopped,
    /// Images.
    Images,
    /// Volumes.
    Volumes,
    /// Networks.
    Networks,
    /// Contexts, of which there is one.
    Contexts,
    /// Anything that `inspect` finds.
    Objects,
    /// Files.
    Files,
    /// Nothing that we know.
    Nothing,
}

/// A row of the table of commands.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its full name: `container run`.
    pub name: &'static str,
    /// Further names: `run`.
    pub aliases: &'static [&'static str],
    /// What follows the name in the usage, one line a form.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
    /// How many words it takes.
    pub arity: Arity,
    /// Whether flags end at the first word, because the words are a command of their own.
    pub ends_flags: bool,
    /// What its words name.
    pub names: Names,
    /// Adds its flags.
    pub flags: fn(Command) -> Command,
    /// Does it.
    pub run: fn(&Cli, &mut ArgMatches, Vec<String>) -> Result<ExitCode, Failure>,
}

/// Adds a verb's flags to a command.
pub(crate) fn flags<V: Verb>(command: Command) -> Command {
    V::augment_args(command)
}

/// Runs a verb on what was parsed.
pub(crate) fn execute<V: Verb>(
    cli: &Cli,
    matches: &mut ArgMatches,
    words: Vec<String>,
) -> Result<ExitCode, Failure> {
    let mut verb = V::from_arg_matches(matches).map_err(|error| Failure::new(error.to_string()))?;
    verb.observe(matches);
    verb.run(cli, words)
}

/// Where a command's words are kept among clap's matches.
const WORDS: &str = "words of the command";

/// Builds the clap command of one row. Every boolean takes `=true` and `=false`, as pflag has it.
pub(crate) fn command(entry: &Entry) -> Command {
    let words = Arg::new(WORDS).num_args(0..).action(ArgAction::Append).hide(true);
    let words = if entry.ends_flags {
        words.trailing_var_arg(true)
    } else {
        words
    };
    let command = (entry.flags)(Command::new(entry.name))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(
            Arg::new("help")
                .long("help")
                .action(ArgAction::Help)
                .help("Print usage"),
        );
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .value_parser(crate::args::boolean::parse)
                .value_name(""),
            // A value may begin with a dash: `-m -1`, `--entrypoint -x`.
            ArgAction::Set | ArgAction::Append => arg.allow_hyphen_values(true),
            _ => arg,
        })
        .arg(words)
}

/// Finds a row by the words that a user may write, and says how many of them its name took.
pub(crate) fn find(words: &[String]) -> Option<(&'static Entry, usize)> {
    let (first, second) = (words.first()?, words.get(1));
    let two = second.map(|second| format!("{first} {second}"));
    let named = |entry: &Entry, name: &str| entry.name == name || entry.aliases.contains(&name);
    if let Some(two) = two
        && let Some(entry) = COMMANDS.iter().find(|entry| named(entry, &two))
    {
        return Some((entry, 2));
    }
    let entry = COMMANDS.iter().find(|entry| named(entry, first))?;
    Some((entry, 1))
}

/// Runs the command that the words name.
pub(crate) fn run(cli: &Cli, words: &[String]) -> Result<ExitCode, Failure> {
    if words[0] == complete::ARGUMENT {
        return complete::run(cli, &words[1..]);
    }
    if words[0] == "help" {
        return help_on(cli, &words[1..]);
    }
    match find(words) {
        Some((entry, used)) => {
            let name = words[..used].join(" ");
            invoke(cli, entry, &name, &words[used..])
        }
        None => Err(unknown(cli, words)?),
    }
}

fn help_on(cli: &Cli, words: &[String]) -> Result<ExitCode, Failure> {
    let program = &cli.program;
    let group = || {
        let name = words.first()?;
        GROUPS.iter().find(|group| group.name == name)
    };
    output::text(&if let Some((entry, used)) = find(words) {
        help::command(program, &words[..used].join(" "), entry, &command(entry))
    } else if let Some(group) = group() {
        help::group(program, group)
    } else {
        help::overview(program)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn invoke(cli: &Cli, entry: &Entry, name: &str, arguments: &[String]) -> Result<ExitCode, Failure> {
    let command = command(entry);
    let argv = std::iter::once(name.to_owned()).chain(arguments.iter().cloned());
    let mut matches = match command.clone().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            output::text(&help::command(&cli.program, name, entry, &command))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(mistake(cli, entry, name, &command, &error, arguments)),
    };
    let words: Vec<String> = matches
        .remove_many::<String>(WORDS)
        .map(Iterator::collect)
        .unwrap_or_default();
    check_arity(cli, entry, name, words.len())?;
    (entry.run)(cli, &mut matches, words)
}

fn usage(cli: &Cli, entry: &Entry, name: &str) -> String {
    help::usage(&cli.program, name, entry)
}

fn mistake(
    cli: &Cli,
    entry: &Entry,
    name: &str,
    command: &Command,
    error: &clap::Error,
    arguments: &[String],
) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = context(ContextKind::InvalidArg);
    // clap shows `--memory <bytes>`, or `--rm[=<>]`.
    let flag = flag.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
    let value = context(ContextKind::InvalidValue);
    let message = match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag(&flag, arguments),
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            format!(
                "invalid argument {} for \"{}\" flag: {why}",
                quote(&value),
                both_names(command, &flag)
            )
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            missing_value(&flag, arguments)
        }
        _ => error.to_string().trim_end().to_owned(),
    };
    Failure::bare(message)
        .with_code(failure::ENGINE)
        .with_trailer(format!(
            "{}\n\nRun '{} {name} --help' for more information",
            usage(cli, entry, name),
            cli.program
        ))
}

/// Quotes as Go's `%q` does.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn unknown_flag(flag: &str, arguments: &[String]) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.trim_start_matches('-').chars().next().unwrap_or('-');
    // Docker shows what was left of the cluster.
    let cluster = arguments.iter().find(|argument| {
        argument.starts_with('-') && !argument.starts_with("--") && argument.contains(letter)
    });
    let rest = cluster.and_then(|cluster| cluster.find(letter).map(|at| &cluster[at..]));
    format!(
        "unknown shorthand flag: '{letter}' in -{}",
        rest.unwrap_or(&letter.to_string())
    )
}

fn missing_value(flag: &str, arguments: &[String]) -> String {
    match arguments.last() {
        Some(last) if last.starts_with('-') && !last.starts_with("--") => {
            let letter = last.chars().next_back().unwrap_or('-');
            format!("flag needs an argument: '{letter}' in -{letter}")
        }
        _ => format!("flag needs an argument: {flag}"),
    }
}

fn both_names(command: &Command, flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    let short = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(long))
        .and_then(Arg::get_short);
    match short {
        Some(short) => format!("-{short}, {flag}"),
        None => flag.to_owned(),
    }
}

fn check_arity(cli: &Cli, entry: &Entry, name: &str, given: usize) -> Result<(), Failure> {
    let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
    let (fits, what, read) = match entry.arity {
        Arity::Exactly(0) | Arity::AtMost(0) => (given == 0, "accepts no arguments".to_owned(), "Run"),
        Arity::Exactly(count) => (
            given == count,
            format!("requires {count} {}", plural(count)),
            "Run",
        ),
        Arity::AtLeast(count) => (
            given >= count,
            format!("requires at least {count} {}", plural(count)),
            "See",
        ),
        Arity::AtMost(count) => (
            given <= count,
            format!("requires at most {count} {}", plural(count)),
            "Run",
        ),
        Arity::Between(least, most) => (
            (least..=most).contains(&given),
            format!("requires at least {least} and at most {most} {}", plural(most)),
            "Run",
        ),
    };
    if fits {
        return Ok(());
    }
    let program = &cli.program;
    Err(
        Failure::new(format!("'{program} {name}' {what}")).with_trailer(format!(
            "{}\n\n{read} '{program} {name} --help' for more information",
            usage(cli, entry, name)
        )),
    )
}

fn unknown(cli: &Cli, words: &[String]) -> Result<Failure, Failure> {
    let program = &cli.program;
    let first = words[0].as_str();
    if let Some(group) = GROUPS.iter().find(|group| group.name == first) {
        return match words.get(1).filter(|word| *word != "--help") {
            None => {
                output::text(&help::group(program, group))?;
                Ok(Failure::silent(0))
            }
            Some(word) => Ok(match absent(&format!("{first} {word}")) {
                Some(instead) => not_there(&format!("{first} {word}"), instead),
                None => {
                    Failure::new(format!("unknown command: {program} {first} {word}")).with_trailer(format!(
                        "Usage:  {program} {first}\n\nRun '{program} {first} --help' for more information"
                    ))
                }
            }),
        };
    }
    if let Some(instead) = absent(first) {
        return Ok(not_there(first, instead));
    }
    if let Some((_, why, instead)) = ABSENT_GROUPS.iter().find(|(name, ..)| *name == first) {
        let second = words.get(1).filter(|word| !word.starts_with('-'));
        let name = second.map_or_else(|| first.to_owned(), |second| format!("{first} {second}"));
        let failure = Failure::new(format!("'{program} {name}' is not part of this engine: {why}"));
        return Ok(failure.with_hint(*instead));
    }
    Ok(Failure::new(format!("unknown command: {program} {first}"))
        .with_trailer(format!("Run '{program} --help' for more information")))
}

fn absent(name: &str) -> Option<&'static str> {
    let found = ABSENT.iter().find(|(known, _)| *known == name);
    found.map(|(_, instead)| *instead)
}

fn not_there(name: &str, instead: &str) -> Failure {
    let failure = Failure::new(format!("'{name}' is not there yet"));
    if instead.is_empty() {
        failure
    } else {
        failure.with_hint(instead)
    }
}
