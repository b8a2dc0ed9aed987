//! Help as Docker lays it out: usage, what it does, aliases, flags.

use crate::commands::{COMMANDS, COMMON, GROUPS, Group};
use crate::dispatch::Entry;
use clap::{Arg, ArgAction, Command};

/// Columns that text is wrapped to.
const WIDTH: usize = 80;

/// Returns `Usage:  docker run …`, one line a form.
pub(crate) fn usage(program: &str, name: &str, entry: &Entry) -> String {
    let mut text = String::new();
    for (index, form) in entry.usage.lines().enumerate() {
        text.push_str(if index == 0 { "Usage:  " } else { "\n\t" });
        text.extend([format!("{program} {name} {form}")]);
    }
    if text.is_empty() {
        format!("Usage:  {program} {name}")
    } else {
        text
    }
    .trim_end()
    .to_owned()
}

/// Returns the help of one command.
pub(crate) fn command(program: &str, name: &str, entry: &Entry, command: &Command) -> String {
    let mut text = format!("{}\n\n{}\n", usage(program, name, entry), entry.about);
    if !entry.aliases.is_empty() {
        let names: Vec<String> = std::iter::once(&entry.name)
            .chain(entry.aliases)
            .map(|name| format!("{program} {name}"))
            .collect();
        text.extend([format!("\nAliases:\n  {}\n", names.join(", "))]);
    }
    let mut flags: Vec<(String, String)> = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != "help")
        .map(flag)
        .collect();
    flags.sort_by(|one, other| {
        one.0[6..]
            .trim_start_matches('-')
            .cmp(other.0[6..].trim_start_matches('-'))
    });
    if !flags.is_empty() {
        text.push_str("\nOptions:\n");
        text.push_str(&columns(&flags));
    }
    text
}

fn flag(arg: &Arg) -> (String, String) {
    let short = arg
        .get_short()
        .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let long = arg.get_long().unwrap_or_default();
    let kind = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map_or("", |name| name.as_str());
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !kind.is_empty();
    let left = if takes_value {
        format!("  {short}--{long} {kind}")
    } else {
        format!("  {short}--{long}")
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    (left, help)
}

/// Lays flags and their meaning out in two columns.
fn columns(rows: &[(String, String)]) -> String {
    let left = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (flag, help) in rows {
        let mut line = format!("{flag:left$}");
        let mut used = left;
        for (index, word) in help.split(' ').enumerate() {
            if index > 0 && used + 1 + word.len() > WIDTH.max(left + 20) {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(left);
                used = left;
            } else if index > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += word.len();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn listed(name: &str, about: &str) -> String {
    format!("  {name:<12}{about}\n")
}

/// Returns the help of a group of commands.
pub(crate) fn group(program: &str, group: &Group) -> String {
    let mut text = format!(
        "Usage:  {program} {} COMMAND\n\n{}\n\nCommands:\n",
        group.name, group.about
    );
    let mut rows: Vec<(&str, &str)> = COMMANDS
        .iter()
        .flat_map(|entry| {
            std::iter::once(&entry.name)
                .chain(entry.aliases)
                .map(move |name| (*name, entry))
        })
        .filter_map(|(name, entry)| {
            let word = name.strip_prefix(group.name)?.strip_prefix(' ')?;
            (!group.hidden.contains(&word)).then_some((word, entry.about))
        })
        .collect();
    rows.sort_unstable();
    for (word, about) in rows {
        text.push_str(&listed(word, about));
    }
    text.extend([format!(
        "\nRun '{program} {} COMMAND --help' for more information on a command.\n",
        group.name
    )]);
    text
}

/// Returns the help of the whole.
pub(crate) fn overview(program: &str) -> String {
    let mut text = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA container engine without a daemon\n\nCommon Commands:\n"
    );
    let about = |name: &str| {
        COMMANDS
            .iter()
            .find(|entry| entry.name == name || entry.aliases.contains(&name))
            .map_or("", |entry| entry.about)
    };
    for name in COMMON {
        text.push_str(&listed(name, about(name)));
    }
    text.push_str("\nManagement Commands:\n");
    for group in GROUPS {
        text.push_str(&listed(group.name, group.about));
    }
    text.push_str("\nCommands:\n");
    let mut rest: Vec<&str> = COMMANDS
        .iter()
        .flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases))
        .copied()
        .filter(|name| !name.contains(' ') && !COMMON.contains(name))
        .collect();
    rest.sort_unstable();
    for name in rest {
        text.push_str(&listed(name, about(name)));
    }
    text.push_str("\nGlobal Options:\n");
    let rows: Vec<(String, String)> = crate::front::GLOBAL_FLAGS
        .iter()
        .filter(|(name, ..)| !name.starts_with("tls"))
        .map(|(name, short, kind, help)| {
            let short = short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
            let kind = if kind.is_empty() {
                String::new()
            } else {
                format!(" {kind}")
            };
            (format!("  {short}--{name}{kind}"), (*help).to_owned())
        })
        .collect();
    text.push_str(&columns(&rows));
    text.extend([format!(
        "\nRun '{program} COMMAND --help' for more information on a command.\n"
    )]);
    text
}
