//! Build checks: what is allowed but better written otherwise. Names and wording are Docker's.

mod stages;
mod style;

use crate::error::Problem;
use crate::instruction::{CheckOptions, Dockerfile, Instruction, Warning};
use std::collections::BTreeMap;

/// A check: its name, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Docker's name for it.
    pub name: &'static str,
    /// What should be, in a sentence.
    pub description: &'static str,
    /// It is made only where it is asked for.
    pub experimental: bool,
}

const fn rule(name: &'static str, description: &'static str) -> Check {
    Check {
        name,
        description,
        experimental: false,
    }
}

/// All checks there are.
pub const CHECKS: [Check; 21] = [
    rule("StageNameCasing", "Stage names should be lowercase"),
    rule(
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
    ),
    rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
    ),
    rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    rule("DuplicateStageName", "Stage names should be unique"),
    rule(
        "ReservedStageName",
        "Reserved words should not be used as stage names",
    ),
    rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    ),
    rule("UndefinedVar", "Variables should be defined before their use"),
    rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
    ),
    rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    Check {
        name: "InvalidDefinitionDescription",
        description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        experimental: true,
    },
    rule(
        "ExposeProtoCasing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    ),
];

/// What the checks must know besides the Dockerfile.
pub struct Surroundings<'a> {
    /// What `FROM` may use: predefined arguments and those given to the build.
    pub predefined: &'a BTreeMap<String, String>,
    /// The names that were given values on the command line.
    pub given: &'a BTreeMap<String, String>,
    /// Returns the environment of an image, `NAME=value`, if it is known.
    pub environment: &'a dyn Fn(&str) -> Option<Vec<String>>,
    /// Says whether the ignore rules keep a path out of the context.
    pub is_excluded: &'a dyn Fn(&str) -> bool,
    /// Says whether an image can be called that.
    pub is_image_name: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("predefined", self.predefined)
            .finish_non_exhaustive()
    }
}

/// What is found on the way.
struct Findings {
    warnings: Vec<Warning>,
}

impl Findings {
    fn add(&mut self, check: &'static str, instruction: &Instruction, message: impl Into<String>) {
        self.warnings.push(Warning {
            check,
            message: message.into(),
            lines: instruction.lines,
        });
    }
}

/// Makes all checks that `options` do not leave out; the findings come in the order of their lines.
pub fn check(
    dockerfile: &Dockerfile,
    options: &CheckOptions,
    surroundings: &Surroundings<'_>,
) -> Vec<Warning> {
    if options.skip_all {
        return Vec::new();
    }
    let mut findings = Findings { warnings: Vec::new() };
    style::check(dockerfile, &mut findings);
    stages::check(dockerfile, surroundings, &mut findings);
    let mut warnings = findings.warnings;
    warnings.retain(|warning| {
        let is = |name: &String| name.eq_ignore_ascii_case(warning.check);
        let experimental = CHECKS
            .iter()
            .any(|check| check.name == warning.check && check.experimental);
        !options.skip.iter().any(is)
            && (!experimental || options.experimental_all || options.experimental.iter().any(is))
    });
    warnings.sort_by_key(|warning| warning.lines.first);
    warnings
}

/// Reads what the build argument `BUILDKIT_DOCKERFILE_CHECK` says instead of the `check` directive.
pub fn parse_check_options(text: &str) -> Result<CheckOptions, Problem> {
    crate::lexer::check_options(text)
}

/// Returns the page that explains a check.
pub fn rule_url(check: &str) -> String {
    let mut words = String::new();
    let letters: Vec<char> = check.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let after_small = at > 0 && letters[at - 1].is_ascii_lowercase();
        let before_small = at > 0 && letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_small || before_small) {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    format!("https://docs.docker.com/go/dockerfile/rule/{words}/")
}

#[cfg(test)]
mod tests;
