//! What could stand at the cursor: the shells' scripts ask by a hidden command and get one candidate a line, with what
//! it means behind a tab. The line `:files` says that a file name could stand there, too. A candidate that ends in `=`
//! or `:` wants more.

mod values;

use crate::commands::{COMMANDS, GROUPS};
use crate::dispatch::{Entry, Names, command, find};
use crate::failure::Failure;
use crate::front::{Cli, GLOBAL_FLAGS};
use crate::output;
use clap::{Arg, Command};
use std::process::ExitCode;

/// The hidden command.
pub(crate) const ARGUMENT: &str = "__complete";
/// Tells the shell to complete file names.
const FILES: &str = ":files";

/// A word and what it means.
type Candidate = (String, String);

/// Prints what could stand in place of the last of `words`.
pub(crate) fn run(cli: &Cli, words: &[String]) -> Result<ExitCode, Failure> {
    let (current, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut lines: Vec<String> = candidates(cli, before, current)
        .into_iter()
        .filter(|(word, _)| word.starts_with(current) || word == FILES)
        .map(|(word, about)| {
            // A name is one line, whatever is in it.
            let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
            if word == FILES {
                word
            } else {
                format!("{}\t{}", clean(&word), clean(&about))
            }
        })
        .collect();
    lines.sort();
    lines.dedup();
    if !lines.is_empty() {
        output::line(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn candidates(cli: &Cli, before: &[String], current: &str) -> Vec<Candidate> {
    let mut words = before;
    // Global flags come first; those with a value take the next word with them.
    while let Some((first, rest)) = words.split_first() {
        if !first.starts_with('-') {
            break;
        }
        let name = first.trim_start_matches('-');
        let flag = GLOBAL_FLAGS
            .iter()
            .find(|(long, short, ..)| *long == name || short.is_some_and(|short| name == short.to_string()));
        let Some((long, ..)) = flag.filter(|(_, _, kind, _)| !kind.is_empty()) else {
            words = rest;
            continue;
        };
        match rest.split_first() {
            None => return values::of_global_flag(long),
            Some((_, rest)) => words = rest,
        }
    }
    match words {
        [] if current.starts_with('-') => GLOBAL_FLAGS
            .iter()
            .map(|(name, _, _, help)| (format!("--{name}"), (*help).to_owned()))
            .collect(),
        [] => top_level(),
        [group] if GROUPS.iter().any(|known| known.name == group) => in_group(group),
        [help, rest @ ..] if help == "help" => match rest {
            [] => top_level(),
            [group] => in_group(group),
            _ => Vec::new(),
        },
        _ => find(words).map_or_else(Vec::new, |(entry, used)| {
            in_command(cli, entry, &words[used..], current)
        }),
    }
}

/// What could stand among a command's own words.
fn in_command(cli: &Cli, entry: &Entry, words: &[String], current: &str) -> Vec<Candidate> {
    let command = command(entry);
    let given = match positional(&command, entry, words) {
        Position::Value(arg) => return values::of_flag(cli, entry, arg, current),
        Position::Words(given) => given,
    };
    let flags_are_over = entry.ends_flags && !given.is_empty();
    if current.starts_with('-') && !flags_are_over {
        if let Some((flag, partial)) = current.split_once('=')
            && let Some(arg) = flag_of(&command, flag)
        {
            let found = values::of_flag(cli, entry, arg, partial).into_iter();
            return found
                .map(|(value, about)| match value.as_str() {
                    FILES => (value, about),
                    value => (format!("{flag}={value}"), about),
                })
                .collect();
        }
        return command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                Some((format!("--{}", arg.get_long()?), help))
            })
            .collect();
    }
    words_of(cli, entry, &given, current)
}

/// Names for the next of a command's arguments.
fn words_of(cli: &Cli, entry: &Entry, given: &[&String], current: &str) -> Vec<Candidate> {
    let files = || vec![(FILES.to_owned(), String::new())];
    match (entry.name, given.len()) {
        ("container cp", _) => {
            let mut found = files();
            // The name is followed by a path in the container, which is not looked up.
            if !current.contains(':') {
                let containers = values::names(cli, Names::Containers).into_iter();
                found.extend(containers.map(|(name, about)| (format!("{name}:"), about)));
            }
            found
        }
        ("container create" | "container exec" | "container run" | "volume import", 1..) => files(),
        ("volume diff" | "volume forget" | "volume restore", 1..) => {
            let mut found = values::versions(cli, given[0]);
            found.retain(|(tag, _)| !given[1..].contains(&tag));
            found
        }
        ("volume clone" | "volume export", 0) if current.contains([':', '@']) => {
            let (volume, separator) = current.split_at(current.find([':', '@']).unwrap_or_default());
            let separator = &separator[..1];
            let tags = values::versions(cli, volume).into_iter();
            tags.map(|(tag, about)| (format!("{volume}{separator}{tag}"), about))
                .collect()
        }
        (
            "container rename" | "container port" | "container commit" | "volume clone" | "volume snapshot",
            1..,
        ) => Vec::new(),
        ("network connect" | "network disconnect", 1) => values::names(cli, Names::Containers),
        (_, count) => {
            let has_room = match entry.arity {
                crate::dispatch::Arity::Exactly(most)
                | crate::dispatch::Arity::AtMost(most)
                | crate::dispatch::Arity::Between(_, most) => count < most,
                crate::dispatch::Arity::AtLeast(_) => true,
            };
            if !has_room {
                return Vec::new();
            }
            let mut found = values::names(cli, entry.names);
            found.retain(|(name, _)| !given.contains(&name));
            found
        }
    }
}

/// Where the cursor is.
enum Position<'c> {
    /// At the value of a flag.
    Value(&'c Arg),
    /// At a word; these came before it.
    Words(Vec<&'c String>),
}

fn positional<'c>(command: &'c Command, entry: &Entry, words: &'c [String]) -> Position<'c> {
    let mut given = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let may_be_flag = given.is_empty() || !entry.ends_flags;
        let is_flag = may_be_flag && word.len() > 1 && word.starts_with('-');
        if !is_flag {
            given.push(word);
            continue;
        }
        if let Some(arg) = flag_of(command, word)
            && takes_value(arg)
            && rest.next().is_none()
        {
            return Position::Value(arg);
        }
    }
    Position::Words(given)
}

/// Finds the flag that a word names: `--name`, or the last letter of `-abc`.
fn flag_of<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let fits = |arg: &&Arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short() == word.chars().next_back().filter(|_| word.len() > 1),
    };
    command.get_arguments().find(fits)
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_value_names()
        .and_then(|names| names.first())
        .is_some_and(|name| !name.is_empty())
}

fn top_level() -> Vec<Candidate> {
    let groups = GROUPS
        .iter()
        .map(|group| (group.name.to_owned(), group.about.to_owned()));
    let commands = COMMANDS.iter().flat_map(|entry| {
        let names = std::iter::once(&entry.name).chain(entry.aliases);
        names
            .filter(|name| !name.contains(' '))
            .map(|name| ((*name).to_owned(), entry.about.to_owned()))
    });
    groups
        .chain(commands)
        .chain([("help".to_owned(), "Help about any command".to_owned())])
        .collect()
}

fn in_group(group: &str) -> Vec<Candidate> {
    COMMANDS
        .iter()
        .flat_map(|entry| {
            std::iter::once(&entry.name)
                .chain(entry.aliases)
                .map(move |name| (*name, entry.about))
        })
        .filter_map(|(name, about)| {
            let word = name.strip_prefix(group)?.strip_prefix(' ')?;
            Some((word.to_owned(), about.to_owned()))
        })
        .collect()
}
