//! The Dockerfile language: text to instructions with source spans, variable expansion, ignore patterns.
//!
//! In: the text of a Dockerfile or a `.dockerignore`. Out: instructions, each with the lines it stands on. Pure: never
//! touches the disk, never knows a build.
//!
//! The language is the one of Docker's own frontend. What is not supported yet (here-documents, mounts, links
//! between layers) is refused with its line, never misread.

mod duration;
mod error;
mod expand;
mod flags;
mod glob;
mod ignore;
mod instruction;
mod lexer;
mod nearest;
mod parser;
mod words;

pub use error::{ParseError, Problem};
pub use expand::{ExpandError, ExpandProblem, expand_word, expand_words};
pub use glob::{Glob, GlobError};
pub use ignore::{IgnoreError, IgnoreRule, IgnoreRules, ParentMatches, Verdict};
pub use instruction::{
    AddFlags, Argument, Command, CopyFiles, Dockerfile, From, Healthcheck, Instruction, Lines, Operation,
    Run, RunNetwork, Stage, Warning, is_remote_source,
};
pub use nearest::nearest;
pub use parser::{parse, parse_trigger};
