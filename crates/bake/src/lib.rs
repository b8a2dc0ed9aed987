//! Bake files: from the texts of definitions and the variables around them to the targets that are to be built.
//!
//! HCL, its JSON form and Compose files come in; what goes out has no expressions any more. Nothing is read, fetched or
//! written here: whoever calls hands over the texts and the environment.

mod blocks;
mod compose;
mod constraint;
mod csv;
mod definition;
mod entries;
mod error;
mod evaluate;
mod fields;
mod functions;
mod interpolate;
mod json;
mod native;
mod overrides;
mod pattern;
mod resolve;
mod target;
mod template;
mod value;
mod variables;
mod world;
mod yaml;

pub use definition::{Definition, File, Surroundings, VariableReport, parse};
pub use entries::{Entry, Secret, Ssh};
pub use error::{BakeError, Place};
pub use resolve::{Group, Plan};
pub use target::Target;
