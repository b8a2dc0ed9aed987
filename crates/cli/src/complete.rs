//! What could stand at the cursor: the shells' scripts ask by a hidden command and get one candidate a line, with what
//! it means behind a tab. `:files` alone leaves it to the shell.

use crate::commands::{COMMANDS, GROUPS};
use crate::dispatch::{Names, command, find};
use crate::failure::Failure;
use crate::front::{Cli, GLOBAL_FLAGS};
use crate::output;
use engine::containers::record::Activity;
use engine::containers::request::ListContainers;
use std::process::ExitCode;

/// The hidden command.
pub(crate) const ARGUMENT: &str = "__complete";
/// Tells the shell to complete file names.
const FILES: &str = ":files";

/// Prints what could stand in place of the last of `words`.
pub(crate) fn run(cli: &Cli, words: &[String]) -> Result<ExitCode, Failure> {
    let (current, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let candidates = candidates(cli, before, current);
    let fitting = candidates
        .iter()
        .filter(|(word, _)| word.starts_with(current) || word == FILES);
    let lines: Vec<String> = fitting.map(|(word, about)| format!("{word}\t{about}")).collect();
    if candidates.iter().any(|(word, _)| word == FILES) {
        output::line(FILES)?;
    } else if !lines.is_empty() {
        output::line(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn candidates(cli: &Cli, before: &[String], current: &str) -> Vec<(String, String)> {
    let mut words = before;
    // Global flags come first; those with a value take the next word with them.
    while let Some((first, rest)) = words.split_first() {
        if !first.starts_with('-') {
            break;
        }
        let name = first.trim_start_matches('-');
        let takes_value = !name.contains('=')
            && GLOBAL_FLAGS.iter().any(|(long, short, kind, _)| {
                !kind.is_empty() && (*long == name || short.is_some_and(|short| name == short.to_string()))
            });
        words = if takes_value {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
    }
    match words {
        [] if current.starts_with('-') => GLOBAL_FLAGS
            .iter()
            .map(|(name, _, _, help)| (format!("--{name}"), (*help).to_owned()))
            .collect(),
        [] => top_level(),
        [group] if GROUPS.iter().any(|known| known.name == group) => in_group(group),
        _ => match find(words) {
            Some((entry, used)) => {
                let command = command(entry);
                let last = words[used..].last().map_or("", String::as_str);
                if let Some(value) = flag_value(&command, last) {
                    return value;
                }
                if current.starts_with('-') {
                    return command
                        .get_arguments()
                        .filter(|arg| !arg.is_hide_set())
                        .filter_map(|arg| {
                            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                            Some((format!("--{}", arg.get_long()?), help))
                        })
                        .collect();
                }
                names(cli, entry.names)
            }
            None => Vec::new(),
        },
    }
}

/// What follows a flag that takes a value; nobody but the file system knows most of them.
fn flag_value(command: &clap::Command, last: &str) -> Option<Vec<(String, String)>> {
    let name = last
        .strip_prefix("--")
        .or_else(|| last.strip_prefix('-'))
        .filter(|name| !name.contains('='))?;
    let arg = command.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_short().is_some_and(|short| name == short.to_string())
    })?;
    let takes_value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .is_some_and(|name| !name.is_empty());
    if !takes_value {
        return None;
    }
    let fixed: &[&str] = match name {
        "network" | "net" => &["bridge", "host", "none"],
        "pull" => &["always", "missing", "never"],
        "restart" => &["always", "no", "on-failure", "unless-stopped"],
        "log-driver" => &["json-file", "none"],
        "progress" => &["auto", "plain", "quiet", "tty"],
        "type" => &["container", "image", "network", "volume"],
        _ => return Some(vec![(FILES.to_owned(), String::new())]),
    };
    Some(
        fixed
            .iter()
            .map(|word| ((*word).to_owned(), String::new()))
            .collect(),
    )
}

fn top_level() -> Vec<(String, String)> {
    let groups = GROUPS
        .iter()
        .map(|group| (group.name.to_owned(), group.about.to_owned()));
    let commands = COMMANDS.iter().flat_map(|entry| {
        let names = std::iter::once(&entry.name).chain(entry.aliases);
        names
            .filter(|name| !name.contains(' '))
            .map(|name| ((*name).to_owned(), entry.about.to_owned()))
    });
    groups.chain(commands).collect()
}

fn in_group(group: &str) -> Vec<(String, String)> {
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

/// Names of what is there. An engine that cannot be opened has none to offer.
fn names(cli: &Cli, kind: Names) -> Vec<(String, String)> {
    let found = match kind {
        Names::Containers => containers(cli, |_| true),
        Names::Running => containers(cli, |activity| {
            matches!(activity, Activity::Running | Activity::Paused)
        }),
        Names::Stopped => containers(cli, |activity| {
            matches!(activity, Activity::Created | Activity::Exited)
        }),
        Names::Images => images(cli),
        Names::Volumes => volumes(cli),
        Names::Networks => Ok(networks()),
        Names::Objects => containers(cli, |_| true)
            .and_then(|all| Ok([all, images(cli)?, volumes(cli)?, networks()].concat())),
        Names::Contexts => Ok(vec![("default".to_owned(), String::new())]),
        Names::Files => Ok(vec![(FILES.to_owned(), String::new())]),
        Names::Nothing => Ok(Vec::new()),
    };
    found.unwrap_or_default()
}

fn containers(cli: &Cli, wanted: impl Fn(Activity) -> bool) -> Result<Vec<(String, String)>, Failure> {
    let all = cli.engine()?.containers().list(&ListContainers {
        all: true,
        ..ListContainers::default()
    })?;
    let fitting = all.into_iter().filter(|container| wanted(container.activity));
    Ok(fitting
        .map(|container| (container.name, container.settings.image_name))
        .collect())
}

fn images(cli: &Cli) -> Result<Vec<(String, String)>, Failure> {
    let all = cli.engine()?.images().list()?;
    Ok(all
        .iter()
        .flat_map(|image| image.tags.iter().map(|tag| (tag.familiar(), image.id.short())))
        .collect())
}

fn volumes(cli: &Cli) -> Result<Vec<(String, String)>, Failure> {
    let all = cli.engine()?.volumes().list()?;
    Ok(all
        .into_iter()
        .map(|volume| (volume.name, String::new()))
        .collect())
}

fn networks() -> Vec<(String, String)> {
    ["bridge", "host", "none"]
        .iter()
        .map(|name| ((*name).to_owned(), String::new()))
        .collect()
}
