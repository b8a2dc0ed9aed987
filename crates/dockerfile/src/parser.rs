//! Logical lines to instructions and stages.

use crate::duration::nanoseconds;
use crate::error::{ParseError, Problem};
use crate::flags::{self, Flags};
use crate::heredoc::{Heredoc, with_documents};
use crate::instruction::{
    AddFlags, Argument, Command, CopyFiles, Dockerfile, From, Healthcheck, Instruction, Lines, Operation,
    Run, RunNetwork, RunSecurity, Stage,
};
use crate::lexer;
use crate::mount::MountFlag;
use crate::nearest::nearest;
use crate::words::{JsonForm, json_form, quoted_words};

/// Where scripts that name their interpreter are put for their `RUN`.
const SCRIPTS: &str = "/dev/pipes";

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads a Dockerfile. `file` is its name for messages.
pub fn parse(file: &str, text: &str) -> Result<Dockerfile, ParseError> {
    let lines = lexer::physical_lines(text);
    let fail = |range: Option<Lines>, problem| ParseError {
        file: file.to_owned(),
        lines: range,
        text: range.map_or_else(String::new, |range| source(&lines, range)),
        problem: Box::new(problem),
    };
    let directives = lexer::directives(&lines).map_err(|(line, problem)| {
        let range = Lines {
            first: line,
            last: line,
        };
        fail(Some(range), problem)
    })?;
    let mut dockerfile = Dockerfile {
        escape: directives.escape,
        arguments: Vec::new(),
        stages: Vec::new(),
        checks: directives.checks,
    };
    let logical = lexer::logical_lines(&lines, directives.escape)
        .map_err(|(range, problem)| fail(Some(range), problem))?;
    let empty = logical.is_empty();
    let mut torn = false;
    for line in logical {
        let operation = operation(&line.text, &line.documents, directives.escape)
            .map_err(|problem| fail(Some(line.lines), after(problem, torn)))?;
        torn = ["&&", "||", "|", ";", ","]
            .iter()
            .any(|end| line.text.ends_with(end));
        let instruction = Instruction {
            text: titled(line.text, &operation, &line.documents),
            operation,
            lines: line.lines,
            source: source(&lines, line.lines),
            comments: line.comments,
            empty_continuation: line.empty_continuation,
        };
        if let Operation::From(from) = &instruction.operation {
            dockerfile.stages.push(Stage {
                from: from.clone(),
                instruction,
                instructions: Vec::new(),
            });
        } else if let Some(stage) = dockerfile.stages.last_mut() {
            stage.instructions.push(instruction);
        } else if matches!(instruction.operation, Operation::Arg(_)) {
            dockerfile.arguments.push(instruction);
        } else {
            return Err(fail(Some(instruction.lines), Problem::NoStage));
        }
    }
    if empty {
        return Err(fail(None, Problem::NoInstructions));
    }
    if dockerfile.stages.is_empty() {
        return Err(fail(None, Problem::NoStage));
    }
    Ok(dockerfile)
}

/// Adds to an unknown instruction that it may be the rest of the one above.
fn after(problem: Problem, torn: bool) -> Problem {
    match problem {
        Problem::UnknownInstruction { name, nearest, .. } => {
            Problem::UnknownInstruction { name, nearest, torn }
        }
        other => other,
    }
}

/// Reads the one instruction that an image's `ONBUILD` has kept. `from` names the image, for messages; the result
/// stands on the lines of the `FROM` that brought it.
pub fn parse_trigger(image: &str, text: &str, from: &Instruction) -> Result<Instruction, ParseError> {
    let failed = |problem| ParseError {
        file: format!("the ONBUILD triggers of {image}"),
        lines: Some(from.lines),
        text: text.to_owned(),
        problem: Box::new(problem),
    };
    let lines = lexer::physical_lines(text.trim());
    let line = lexer::logical_lines(&lines, '\\')
        .map_err(|(_, problem)| failed(problem))?
        .into_iter()
        .next()
        .ok_or_else(|| failed(Problem::AtLeastOneArgument("ONBUILD")))?;
    let operation = operation(&line.text, &line.documents, '\\')
        .and_then(|operation| match operation {
            Operation::From(_) | Operation::Maintainer(_) => {
                Err(Problem::OnbuildTrigger(operation.keyword().to_owned()))
            }
            Operation::Onbuild(_) => Err(Problem::ChainedOnbuild),
            other => Ok(other),
        })
        .map_err(failed)?;
    Ok(Instruction {
        text: titled(line.text, &operation, &line.documents),
        operation,
        lines: from.lines,
        source: from.source.clone(),
        comments: Vec::new(),
        empty_continuation: false,
    })
}

/// Adds to the text of a `RUN` that consists of documents alone how the first begins.
fn titled(text: String, operation: &Operation, documents: &[Heredoc]) -> String {
    let (Operation::Run(_), Some(document)) = (operation, documents.first()) else {
        return text;
    };
    let content = document.content.trim();
    let Some(first) = content.lines().next() else {
        return text;
    };
    let more = if first.len() < content.len() { "..." } else { "" };
    format!("{text} ({first}{more})")
}

fn source(lines: &[&str], range: Lines) -> String {
    lines
        .get(range.first - 1..range.last)
        .unwrap_or_default()
        .join("\n")
}

pub(crate) fn keyword_and_rest(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(keyword, rest)| (keyword, rest.trim()))
}

/// Reads one instruction.
fn operation(text: &str, documents: &[Heredoc], escape: char) -> Result<Operation, Problem> {
    let (written, rest) = keyword_and_rest(text);
    let Some(keyword) = KEYWORDS
        .iter()
        .copied()
        .find(|keyword| keyword.eq_ignore_ascii_case(written))
    else {
        return Err(Problem::UnknownInstruction {
            name: written.to_owned(),
            nearest: nearest(written, KEYWORDS),
            torn: false,
        });
    };
    if keyword == "ONBUILD" {
        return onbuild(rest, documents, escape);
    }
    let (flags, rest) = flags::split(rest, escape);
    let takes_no_flags = || flags.check(&[], &[]);
    match keyword {
        "ADD" => add(&flags, rest, documents),
        "ARG" => {
            takes_no_flags()?;
            arguments(rest, escape).map(Operation::Arg)
        }
        "CMD" => {
            takes_no_flags()?;
            command(rest).map(Operation::Cmd)
        }
        "COPY" => copy(&flags, rest, documents),
        "ENTRYPOINT" => {
            takes_no_flags()?;
            command(rest).map(Operation::Entrypoint)
        }
        "ENV" => {
            takes_no_flags()?;
            pairs("ENV", rest, escape).map(Operation::Env)
        }
        "EXPOSE" => {
            takes_no_flags()?;
            let words = spaced_words(rest);
            if words.is_empty() {
                return Err(Problem::AtLeastOneArgument("EXPOSE"));
            }
            Ok(Operation::Expose(words))
        }
        "FROM" => from(&flags, rest),
        "HEALTHCHECK" => healthcheck(&flags, rest),
        "LABEL" => {
            takes_no_flags()?;
            pairs("LABEL", rest, escape).map(Operation::Label)
        }
        "MAINTAINER" => {
            takes_no_flags()?;
            one("MAINTAINER", rest).map(Operation::Maintainer)
        }
        "RUN" => run(&flags, rest, documents, escape),
        "SHELL" => {
            takes_no_flags()?;
            match json_form(rest) {
                JsonForm::Strings(words) if words.is_empty() => Err(Problem::AtLeastOneArgument("SHELL")),
                JsonForm::Strings(words) => Ok(Operation::Shell(words)),
                JsonForm::OtherValues => Err(Problem::JsonStrings),
                JsonForm::NotJson if rest.is_empty() => Err(Problem::AtLeastOneArgument("SHELL")),
                JsonForm::NotJson => Err(Problem::ShellForm),
            }
        }
        "STOPSIGNAL" => {
            takes_no_flags()?;
            one("STOPSIGNAL", rest).map(Operation::Stopsignal)
        }
        "USER" => {
            takes_no_flags()?;
            one("USER", rest).map(Operation::User)
        }
        "VOLUME" => {
            takes_no_flags()?;
            let words = json_or_words(rest)?;
            if words.is_empty() {
                return Err(Problem::AtLeastOneArgument("VOLUME"));
            }
            if words.iter().any(|word| word.trim().is_empty()) {
                return Err(Problem::VolumeEmpty);
            }
            Ok(Operation::Volume(words))
        }
        _ => {
            takes_no_flags()?;
            one("WORKDIR", rest).map(Operation::Workdir)
        }
    }
}

fn spaced_words(rest: &str) -> Vec<String> {
    rest.split_whitespace().map(str::to_owned).collect()
}

fn json_or_words(rest: &str) -> Result<Vec<String>, Problem> {
    match json_form(rest) {
        JsonForm::Strings(words) => Ok(words),
        JsonForm::OtherValues => Err(Problem::JsonStrings),
        JsonForm::NotJson => Ok(spaced_words(rest)),
    }
}

fn one(keyword: &'static str, rest: &str) -> Result<String, Problem> {
    if rest.is_empty() {
        return Err(Problem::ExactlyOneArgument(keyword));
    }
    Ok(rest.to_owned())
}

fn command(rest: &str) -> Result<Command, Problem> {
    match json_form(rest) {
        JsonForm::Strings(words) => Ok(Command::Exec(words)),
        JsonForm::OtherValues => Err(Problem::JsonStrings),
        // `CMD` and `ENTRYPOINT` with nothing behind them clear what the base image has.
        JsonForm::NotJson if rest.is_empty() => Ok(Command::Exec(Vec::new())),
        JsonForm::NotJson => Ok(Command::Shell(rest.to_owned())),
    }
}

fn arguments(rest: &str, escape: char) -> Result<Vec<Argument>, Problem> {
    let words = quoted_words(rest, escape);
    if words.is_empty() {
        return Err(Problem::AtLeastOneArgument("ARG"));
    }
    words
        .into_iter()
        .map(|word| {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (word, None),
            };
            if name.is_empty() {
                return Err(Problem::BlankName("ARG"));
            }
            Ok(Argument { name, default })
        })
        .collect()
}

fn pairs(keyword: &'static str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Problem> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else {
        return Err(Problem::AtLeastOneArgument(keyword));
    };
    if !first.contains('=') {
        // The old form: one name, and all the rest is its value.
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or(Problem::KeyAndValue(keyword))?;
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            None => Err(Problem::NoEqualsSign(word)),
            Some(("", _)) => Err(Problem::BlankName(keyword)),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        })
        .collect()
}

fn from(flags: &Flags, rest: &str) -> Result<Operation, Problem> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (base, name) = match words[..] {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name)),
        _ => return Err(Problem::FromArguments),
    };
    flags.check(&["platform"], &[])?;
    let name = name
        .map(|written| {
            let name = written.to_lowercase();
            let mut bytes = name.bytes();
            let fits = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
                && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
            if fits {
                Ok(name)
            } else {
                Err(Problem::StageName(written.to_owned()))
            }
        })
        .transpose()?;
    Ok(Operation::From(From {
        platform: flags.value("platform")?,
        base: base.to_owned(),
        name,
    }))
}

/// Fills in what `COPY` and `ADD` have behind their flags.
fn sources_and_destination(
    keyword: &'static str,
    rest: &str,
    documents: &[Heredoc],
    files: &mut CopyFiles,
) -> Result<(), Problem> {
    let mut words = json_or_words(rest)?;
    match words.pop() {
        Some(destination) if !words.is_empty() => {
            // With a space in its quotes a name would be two words.
            if destination.starts_with("<<") && Heredoc::open(&destination).is_some() {
                return Err(Problem::HeredocDestination(keyword));
            }
            files.destination = destination;
        }
        Some(_) => return Err(Problem::NoDestination(keyword)),
        None => return Err(Problem::AtLeastOneArgument(keyword)),
    }
    if !documents.is_empty() {
        words.retain(|word| Heredoc::open(word).is_none());
        files.documents = documents.to_vec();
    }
    files.sources = words;
    Ok(())
}

fn copy(flags: &Flags, rest: &str, documents: &[Heredoc]) -> Result<Operation, Problem> {
    flags.check(
        &["from", "chown", "chmod", "link", "parents", "exclude"],
        &["exclude"],
    )?;
    let mut files = CopyFiles {
        from: flags.value("from")?,
        parents: flags.boolean("parents")?.unwrap_or(false),
        ..shared_flags(flags)?
    };
    sources_and_destination("COPY", rest, documents, &mut files)?;
    Ok(Operation::Copy(files))
}

fn shared_flags(flags: &Flags) -> Result<CopyFiles, Problem> {
    Ok(CopyFiles {
        owner: flags.value("chown")?,
        mode: flags.value("chmod")?,
        link: flags.boolean("link")?.unwrap_or(false),
        exclude: flags.values("exclude")?,
        ..CopyFiles::default()
    })
}

fn add(flags: &Flags, rest: &str, documents: &[Heredoc]) -> Result<Operation, Problem> {
    flags.check(
        &[
            "chown",
            "chmod",
            "link",
            "exclude",
            "checksum",
            "keep-git-dir",
            "unpack",
        ],
        &["exclude"],
    )?;
    let mut files = shared_flags(flags)?;
    sources_and_destination("ADD", rest, documents, &mut files)?;
    let more = AddFlags {
        checksum: flags.value("checksum")?,
        keep_git_directory: flags.boolean("keep-git-dir")?,
        unpack: flags.boolean("unpack")?,
    };
    Ok(Operation::Add(files, more))
}

fn run(flags: &Flags, rest: &str, documents: &[Heredoc], escape: char) -> Result<Operation, Problem> {
    flags.check(&["mount", "network", "security", "device"], &["mount", "device"])?;
    if flags.has("device") {
        return Err(Problem::Unsupported("RUN --device is"));
    }
    let security = match flags.value("security")?.as_deref() {
        None | Some("sandbox") => RunSecurity::Sandbox,
        Some("insecure") => RunSecurity::Insecure,
        Some(other) => return Err(Problem::Security(other.to_owned())),
    };
    let network = match flags.value("network")?.as_deref() {
        None => None,
        Some("default") => Some(RunNetwork::Default),
        Some("none") => Some(RunNetwork::None),
        Some("host") => Some(RunNetwork::Host),
        Some(other) => return Err(Problem::Network(other.to_owned())),
    };
    let mounts = flags
        .values("mount")?
        .iter()
        .map(|text| MountFlag::parse(text))
        .collect::<Result<_, _>>()?;
    let mut script = None;
    let command = match documents {
        [] => command(rest)?,
        [document] if quoted_words(rest, escape).len() == 1 => {
            let text = document.text();
            if text.starts_with("#!") {
                script = Some(document.clone());
                Command::Exec(vec![format!("{SCRIPTS}/{}", document.name)])
            } else {
                Command::Shell(text)
            }
        }
        documents => Command::Shell(with_documents(rest, documents)),
    };
    if matches!(&command, Command::Exec(words) if words.is_empty()) {
        return Err(Problem::AtLeastOneArgument("RUN"));
    }
    Ok(Operation::Run(Run {
        command,
        network,
        security,
        mounts,
        script,
    }))
}

fn healthcheck(flags: &Flags, rest: &str) -> Result<Operation, Problem> {
    let (kind, rest) = keyword_and_rest(rest);
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    flags.check(&known, &[])?;
    match kind.to_uppercase().as_str() {
        "" => Err(Problem::AtLeastOneArgument("HEALTHCHECK")),
        "NONE" if !rest.is_empty() => Err(Problem::HealthcheckNone),
        "NONE" => Ok(Operation::Healthcheck(Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Healthcheck::default()
        })),
        "CMD" => {
            let test = match command(rest)? {
                Command::Exec(words) if words.is_empty() => return Err(Problem::HealthcheckCommand),
                Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
            };
            Ok(Operation::Healthcheck(Healthcheck {
                test,
                interval: interval(flags, "interval")?,
                timeout: interval(flags, "timeout")?,
                start_period: interval(flags, "start-period")?,
                start_interval: interval(flags, "start-interval")?,
                retries: retries(flags)?,
            }))
        }
        other => Err(Problem::HealthcheckType(other.to_owned())),
    }
}

fn interval(flags: &Flags, flag: &'static str) -> Result<i64, Problem> {
    let Some(value) = flags.value(flag)? else {
        return Ok(0);
    };
    match nanoseconds(&value) {
        None => Err(Problem::Duration { flag, value }),
        Some(0) => Ok(0),
        Some(duration) if duration < 1_000_000 => Err(Problem::DurationTooShort(flag)),
        Some(duration) => Ok(duration),
    }
}

fn retries(flags: &Flags) -> Result<i64, Problem> {
    let Some(value) = flags.value("retries")? else {
        return Ok(0);
    };
    match value.parse::<i32>() {
        Ok(number) if number < 0 => Err(Problem::RetriesNegative(number.into())),
        Ok(number) => Ok(number.into()),
        Err(_) => Err(Problem::RetriesNumber(value)),
    }
}

fn onbuild(rest: &str, documents: &[Heredoc], escape: char) -> Result<Operation, Problem> {
    if rest.is_empty() {
        return Err(Problem::AtLeastOneArgument("ONBUILD"));
    }
    // Looked at before the recursion, so that a line of ten thousand of them is only one level deep.
    if keyword_and_rest(rest).0.eq_ignore_ascii_case("ONBUILD") {
        return Err(Problem::ChainedOnbuild);
    }
    match operation(rest, documents, escape)? {
        trigger @ (Operation::From(_) | Operation::Maintainer(_)) => {
            Err(Problem::OnbuildTrigger(trigger.keyword().to_owned()))
        }
        _ => Ok(Operation::Onbuild(with_documents(rest, documents))),
    }
}

#[cfg(test)]
mod tests;
