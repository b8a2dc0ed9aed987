//! What can be wrong with a definition.

use std::fmt;

/// A place in one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: String,
    /// The first and the last line, counted from 1; nothing if only the file is known.
    pub lines: Option<(usize, usize)>,
    /// The first and the last column on these lines, counted from 1.
    pub columns: (usize, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.columns;
        match self.lines {
            None => f.write_str(&self.file),
            Some((first, last)) if first == last => write!(f, "{}:{first},{from}-{to}", self.file),
            Some((first, last)) => write!(f, "{}:{first},{from}-{last},{to}", self.file),
        }
    }
}

/// Why a definition gives no targets.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BakeError {
    /// Something at a place in a file.
    #[error("{place}: {message}")]
    At {
        /// Where.
        place: Box<Place>,
        /// What.
        message: String,
    },
    /// Something of what was asked for, or of all files together.
    #[error("{0}")]
    Request(String),
    /// A name that nothing bears.
    #[error("{}there is no {kind} \"{name}\"", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    Unknown {
        /// Where it was used.
        place: Option<Box<Place>>,
        /// What it should be the name of.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

impl BakeError {
    /// Makes one that has no place.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::Request(message.into())
    }

    /// Returns the place, if there is one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::At { place, .. } => Some(place),
            Self::Unknown { place, .. } => place.as_deref(),
            Self::Request(_) => None,
        }
    }
}
