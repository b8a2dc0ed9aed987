//! Checks of how instructions are written, each looked at by itself or with its neighbours.

use super::Findings;
use crate::instruction::{Command, Dockerfile, Instruction, Operation, Stage};
use crate::parser::keyword_and_rest;
use crate::words::quoted_words;

/// Words in names of variables that tell of a secret.
const SECRET_WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];
/// Words that tell that it is none after all.
const HARMLESS_WORDS: [&str; 2] = ["public", "sum"];

pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings) {
    casing(dockerfile, findings);
    for instruction in all(dockerfile) {
        one(dockerfile, instruction, findings);
    }
    for stage in &dockerfile.stages {
        only_last_counts(stage, findings);
    }
}

/// All instructions, in their order.
pub(super) fn all(dockerfile: &Dockerfile) -> impl Iterator<Item = &Instruction> {
    dockerfile.arguments.iter().chain(
        dockerfile
            .stages
            .iter()
            .flat_map(|stage| std::iter::once(&stage.instruction).chain(&stage.instructions)),
    )
}

fn is_upper(word: &str) -> bool {
    word == word.to_ascii_uppercase()
}

fn is_lower(word: &str) -> bool {
    word == word.to_ascii_lowercase()
}

fn casing(dockerfile: &Dockerfile, findings: &mut Findings) {
    let written = |instruction: &Instruction| keyword_and_rest(&instruction.text).0.to_owned();
    let (mut lower, mut upper) = (0, 0);
    for instruction in all(dockerfile) {
        let word = written(instruction);
        lower += usize::from(is_lower(&word));
        upper += usize::from(is_upper(&word));
    }
    let mostly_lower = lower > upper;
    for instruction in all(dockerfile) {
        let word = written(instruction);
        let (fits, majority) = if mostly_lower {
            (is_lower(&word), "lowercase")
        } else {
            (is_upper(&word), "uppercase")
        };
        if !fits {
            findings.add(
                "ConsistentInstructionCasing",
                instruction,
                format!("Command '{word}' should match the case of the command majority ({majority})"),
            );
        }
    }
}

fn one(dockerfile: &Dockerfile, instruction: &Instruction, findings: &mut Findings) {
    let keyword = instruction.operation.keyword();
    if instruction.empty_continuation {
        findings.add("NoEmptyContinuation", instruction, "Empty continuation line");
    }
    match &instruction.operation {
        Operation::Cmd(Command::Shell(_)) | Operation::Entrypoint(Command::Shell(_)) => findings.add(
            "JSONArgsRecommended",
            instruction,
            format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            ),
        ),
        Operation::Maintainer(_) => findings.add(
            "MaintainerDeprecated",
            instruction,
            "Maintainer instruction is deprecated in favor of using label",
        ),
        Operation::Env(pairs) => {
            legacy_format(dockerfile, instruction, findings);
            for (name, _) in pairs {
                secret_name(instruction, name, findings);
            }
        }
        Operation::Label(_) => legacy_format(dockerfile, instruction, findings),
        Operation::Arg(arguments) => {
            for argument in arguments {
                secret_name(instruction, &argument.name, findings);
                description(instruction, &argument.name, findings);
            }
        }
        Operation::Expose(ports) => {
            for port in ports {
                exposed(instruction, port, findings);
            }
        }
        Operation::From(from) => {
            if let Some(name) = &from.name {
                description(instruction, name, findings);
            }
        }
        _ => {}
    }
}

fn legacy_format(dockerfile: &Dockerfile, instruction: &Instruction, findings: &mut Findings) {
    let keyword = instruction.operation.keyword();
    let (_, rest) = keyword_and_rest(&instruction.text);
    let words = quoted_words(rest, dockerfile.escape);
    if words.first().is_some_and(|word| !word.contains('=')) {
        findings.add(
            "LegacyKeyValueFormat",
            instruction,
            format!(
                "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
            ),
        );
    }
}

/// Names are looked at word by word, so that MONKEY is none.
fn secret_name(instruction: &Instruction, name: &str, findings: &mut Findings) {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    if has(&SECRET_WORDS) && !has(&HARMLESS_WORDS) {
        findings.add(
            "SecretsUsedInArgOrEnv",
            instruction,
            format!(
                "Do not use ARG or ENV instructions for sensitive data ({} \"{name}\")",
                instruction.operation.keyword()
            ),
        );
    }
}

fn description(instruction: &Instruction, name: &str, findings: &mut Findings) {
    // Of several lines only the last stands right above; a directive is no description.
    let Some(comment) = instruction.comments.last() else {
        return;
    };
    let described = comment
        .split_whitespace()
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case(name));
    let is_directive = instruction.lines.first > 1
        && ["syntax=", "escape=", "check="].iter().any(|directive| {
            comment
                .replace(' ', "")
                .to_ascii_lowercase()
                .starts_with(directive)
        });
    if !described && !is_directive && !comment.is_empty() {
        let keyword = instruction.operation.keyword();
        findings.add(
            "InvalidDefinitionDescription",
            instruction,
            format!("Comment for {keyword} should follow the format: `# {name} <description>`"),
        );
    }
}

fn exposed(instruction: &Instruction, port: &str, findings: &mut Findings) {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, ""));
    if !is_lower(protocol) && !protocol.contains('$') {
        findings.add(
            "ExposeProtoCasing",
            instruction,
            format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase"),
        );
    }
    if numbers.contains(':') && !numbers.contains("${") {
        findings.add(
            "ExposeInvalidFormat",
            instruction,
            format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            ),
        );
    }
}

fn only_last_counts(stage: &Stage, findings: &mut Findings) {
    for keyword in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
        let same: Vec<&Instruction> = stage
            .instructions
            .iter()
            .filter(|instruction| instruction.operation.keyword() == keyword)
            .collect();
        let Some((_, earlier)) = same.split_last() else {
            continue;
        };
        for instruction in earlier {
            findings.add(
                "MultipleInstructionsDisallowed",
                instruction,
                format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
                ),
            );
        }
    }
}
