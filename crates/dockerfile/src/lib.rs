//! The Dockerfile language: text to instructions with source spans, variable expansion, ignore patterns.
//!
//! In: the text of a Dockerfile or a `.dockerignore`. Out: instructions, each with the lines it stands on. Pure: never
//! touches the disk, never knows a build.
//!
//! The language is the one of Docker's own frontend, in all its versions. What is not supported yet is refused with
//! its line, never misread.

mod checks;
mod duration;
mod error;
mod expand;
mod flags;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod lexer;
mod mount;
mod nearest;
mod parser;
mod words;

pub use checks::{CHECKS, Check, Surroundings, check, parse_check_options, rule_url};
pub use error::{ParseError, Problem};
pub use expand::{ExpandError, ExpandProblem, expand_document, expand_word, expand_words};
pub use glob::{Glob, GlobError};
pub use heredoc::Heredoc;
pub use ignore::{IgnoreError, IgnoreRule, IgnoreRules, ParentMatches, Verdict};
pub use instruction::{
    AddFlags, Argument, CheckOptions, Command, CopyFiles, Dockerfile, From, Healthcheck, Instruction, Lines,
    Operation, Run, RunNetwork, RunSecurity, Stage, Warning, is_remote_source,
};
pub use lexer::is_own_syntax;
pub use mount::{Mount, MountFlag, MountKind, MountProblem, Sharing};
pub use nearest::nearest;
pub use parser::{parse, parse_trigger};
