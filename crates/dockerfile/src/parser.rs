//! Logical lines to instructions and stages.

use crate::duration::nanoseconds;
use crate::error::{ParseError, Problem};
use crate::flags::{self, Flags};
use crate::instruction::{
    AddFlags, Argument, Command, CopyFiles, Dockerfile, From, Healthcheck, Instruction, Lines, Operation,
    Run, RunNetwork, Stage, Warning, is_remote_source,
};
use crate::lexer::{self, LogicalLine};
use crate::nearest::nearest;
use crate::words::{JsonForm, is_heredoc, json_form, quoted_words};

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
        warnings: Vec::new(),
    };
    let mut empty = true;
    for line in lexer::logical_lines(&lines, directives.escape) {
        empty = false;
        let operation =
            operation(&line.text, directives.escape).map_err(|problem| fail(Some(line.lines), problem))?;
        warn(&line, &operation, &mut dockerfile);
        let instruction = Instruction {
            operation,
            lines: line.lines,
            source: source(&lines, line.lines),
            text: line.text,
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

/// Reads the one instruction that an image's `ONBUILD` has kept. `from` names the image, for messages; the result
/// stands on the lines of the `FROM` that brought it.
pub fn parse_trigger(image: &str, text: &str, from: &Instruction) -> Result<Instruction, ParseError> {
    let operation = operation(text.trim(), '\\')
        .and_then(|operation| match operation {
            Operation::From(_) | Operation::Maintainer(_) => {
                Err(Problem::OnbuildTrigger(operation.keyword().to_owned()))
            }
            Operation::Onbuild(_) => Err(Problem::ChainedOnbuild),
            other => Ok(other),
        })
        .map_err(|problem| ParseError {
            file: format!("the ONBUILD triggers of {image}"),
            lines: Some(from.lines),
            text: text.to_owned(),
            problem: Box::new(problem),
        })?;
    Ok(Instruction {
        operation,
        lines: from.lines,
        source: from.source.clone(),
        text: text.trim().to_owned(),
    })
}

fn source(lines: &[&str], range: Lines) -> String {
    lines
        .get(range.first - 1..range.last)
        .unwrap_or_default()
        .join("\n")
}

fn warn(line: &LogicalLine, operation: &Operation, dockerfile: &mut Dockerfile) {
    let keyword = operation.keyword();
    let mut add = |check, message| {
        dockerfile.warnings.push(Warning {
            check,
            message,
            line: line.lines.first,
        });
    };
    if line.empty_continuation {
        add("NoEmptyContinuation", "Empty continuation line".to_owned());
    }
    match operation {
        Operation::Cmd(Command::Shell(_)) | Operation::Entrypoint(Command::Shell(_)) => add(
            "JSONArgsRecommended",
            format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            ),
        ),
        Operation::Maintainer(_) => add(
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label".to_owned(),
        ),
        Operation::Env(_) | Operation::Label(_) => {
            let (_, rest) = keyword_and_rest(&line.text);
            if quoted_words(rest, dockerfile.escape)
                .first()
                .is_some_and(|word| !word.contains('='))
            {
                dockerfile.warnings.push(Warning {
                    check: "LegacyKeyValueFormat",
                    message: format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"),
                    line: line.lines.first,
                });
            }
        }
        Operation::From(From { name: Some(name), .. })
            if dockerfile
                .stages
                .iter()
                .any(|stage| stage.from.name.as_ref() == Some(name)) =>
        {
            dockerfile.warnings.push(Warning {
                check: "DuplicateStageName",
                message: format!("Duplicate stage name \"{name}\", stage names should be unique"),
                line: line.lines.first,
            });
        }
        _ => {}
    }
}

fn keyword_and_rest(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(keyword, rest)| (keyword, rest.trim()))
}

/// Reads one instruction.
fn operation(text: &str, escape: char) -> Result<Operation, Problem> {
    let (written, rest) = keyword_and_rest(text);
    let Some(keyword) = KEYWORDS
        .iter()
        .copied()
        .find(|keyword| keyword.eq_ignore_ascii_case(written))
    else {
        return Err(Problem::UnknownInstruction {
            name: written.to_owned(),
            nearest: nearest(written, KEYWORDS),
        });
    };
    if keyword == "ONBUILD" {
        return onbuild(rest, escape);
    }
    let (flags, rest) = flags::split(rest, escape);
    if matches!(keyword, "ADD" | "COPY" | "RUN")
        && quoted_words(rest, escape).iter().any(|word| is_heredoc(word))
    {
        return Err(Problem::Unsupported("heredocs are"));
    }
    let takes_no_flags = || flags.check(&[], &[]);
    match keyword {
        "ADD" => add(&flags, rest),
        "ARG" => {
            takes_no_flags()?;
            arguments(rest, escape).map(Operation::Arg)
        }
        "CMD" => {
            takes_no_flags()?;
            command(rest).map(Operation::Cmd)
        }
        "COPY" => copy(&flags, rest),
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
        "RUN" => run(&flags, rest),
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

fn sources_and_destination(keyword: &'static str, rest: &str) -> Result<(Vec<String>, String), Problem> {
    let mut words = json_or_words(rest)?;
    match words.pop() {
        Some(destination) if !words.is_empty() => Ok((words, destination)),
        Some(_) => Err(Problem::NoDestination(keyword)),
        None => Err(Problem::AtLeastOneArgument(keyword)),
    }
}

fn copy(flags: &Flags, rest: &str) -> Result<Operation, Problem> {
    flags.check(
        &["from", "chown", "chmod", "link", "parents", "exclude"],
        &["exclude"],
    )?;
    refuse_if_set(flags, "link", "COPY --link is")?;
    refuse_if_set(flags, "parents", "COPY --parents is")?;
    if flags.has("exclude") {
        return Err(Problem::Unsupported("COPY --exclude is"));
    }
    let (sources, destination) = sources_and_destination("COPY", rest)?;
    Ok(Operation::Copy(CopyFiles {
        from: flags.value("from")?,
        owner: flags.value("chown")?,
        mode: flags.value("chmod")?,
        sources,
        destination,
    }))
}

fn add(flags: &Flags, rest: &str) -> Result<Operation, Problem> {
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
    refuse_if_set(flags, "link", "ADD --link is")?;
    refuse_if_set(flags, "keep-git-dir", "ADD --keep-git-dir is")?;
    for (flag, name) in [("exclude", "ADD --exclude is"), ("checksum", "ADD --checksum is")] {
        if flags.has(flag) {
            return Err(Problem::Unsupported(name));
        }
    }
    let (sources, destination) = sources_and_destination("ADD", rest)?;
    if sources.iter().any(|source| is_remote_source(source)) {
        return Err(Problem::Unsupported("ADD of URLs and Git repositories is"));
    }
    let files = CopyFiles {
        from: None,
        owner: flags.value("chown")?,
        mode: flags.value("chmod")?,
        sources,
        destination,
    };
    let unpack = flags.boolean("unpack")?;
    Ok(Operation::Add(files, AddFlags { unpack }))
}

fn refuse_if_set(flags: &Flags, flag: &str, name: &'static str) -> Result<(), Problem> {
    match flags.boolean(flag)? {
        Some(true) => Err(Problem::Unsupported(name)),
        Some(false) | None => Ok(()),
    }
}

fn run(flags: &Flags, rest: &str) -> Result<Operation, Problem> {
    flags.check(&["mount", "network", "security", "device"], &["mount", "device"])?;
    for (flag, name) in [("mount", "RUN --mount is"), ("device", "RUN --device is")] {
        if flags.has(flag) {
            return Err(Problem::Unsupported(name));
        }
    }
    if flags.value("security")?.is_some_and(|mode| mode != "sandbox") {
        return Err(Problem::Unsupported("RUN --security is"));
    }
    let network = match flags.value("network")?.as_deref() {
        None => None,
        Some("default") => Some(RunNetwork::Default),
        Some("none") => Some(RunNetwork::None),
        Some("host") => Some(RunNetwork::Host),
        Some(other) => return Err(Problem::Network(other.to_owned())),
    };
    let command = command(rest)?;
    if matches!(&command, Command::Exec(words) if words.is_empty()) {
        return Err(Problem::AtLeastOneArgument("RUN"));
    }
    Ok(Operation::Run(Run { command, network }))
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

fn onbuild(rest: &str, escape: char) -> Result<Operation, Problem> {
    if rest.is_empty() {
        return Err(Problem::AtLeastOneArgument("ONBUILD"));
    }
    // Looked at before the recursion, so that a line of ten thousand of them is only one level deep.
    if keyword_and_rest(rest).0.eq_ignore_ascii_case("ONBUILD") {
        return Err(Problem::ChainedOnbuild);
    }
    match operation(rest, escape)? {
        trigger @ (Operation::From(_) | Operation::Maintainer(_)) => {
            Err(Problem::OnbuildTrigger(trigger.keyword().to_owned()))
        }
        _ => Ok(Operation::Onbuild(rest.to_owned())),
    }
}

#[cfg(test)]
mod tests;
