//! The blocks of HCL and JSON files, before anything is evaluated.

use hcl_edit::expr::Expression;
use std::collections::BTreeMap;
use std::ops::Range;

/// An expression, and where its name stands.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub file: usize,
    pub key: Option<Range<usize>>,
    pub value: Expression,
}

/// `variable "NAME" { … }`.
#[derive(Debug, Clone, Default)]
pub(crate) struct VariableBlock {
    pub file: usize,
    pub default: Option<Expression>,
    pub constraint: Option<Expression>,
    pub description: Option<Expression>,
    pub validations: Vec<Validation>,
}

/// What must hold of a variable.
#[derive(Debug, Clone)]
pub(crate) struct Validation {
    pub condition: Expression,
    pub message: Option<Expression>,
}

/// `function "NAME" { … }`.
#[derive(Debug, Clone)]
pub(crate) struct FunctionBlock {
    pub file: usize,
    pub parameters: Vec<String>,
    pub variadic: Option<String>,
    pub result: Expression,
}

/// What a block defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Target,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Target => "target",
        }
    }
}

/// `target "NAME" { … }` or `group "NAME" { … }`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub kind: Kind,
    pub file: usize,
    pub label: String,
    pub span: Option<Range<usize>>,
    pub attributes: BTreeMap<String, Attribute>,
}

/// What stands in all of the files.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub variables: BTreeMap<String, VariableBlock>,
    pub functions: BTreeMap<String, FunctionBlock>,
    pub attributes: BTreeMap<String, Attribute>,
    pub blocks: Vec<Block>,
}

/// The text of a file.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub name: String,
    pub text: String,
    /// Whether spans are places in the text. In JSON they are places in its strings.
    pub has_places: bool,
}
