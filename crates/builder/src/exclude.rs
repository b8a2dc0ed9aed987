//! `COPY --exclude`: what of a source is left out.

use crate::error::StepError;
use crate::source::{Found, Kind};
use dockerfile::IgnoreRules;

/// The patterns of one instruction, of the same kind as an ignore file's.
#[derive(Debug)]
pub(crate) struct Exclusions(IgnoreRules);

impl Exclusions {
    pub(crate) fn new(patterns: &[String]) -> Result<Self, StepError> {
        IgnoreRules::parse(&patterns.join("\n"))
            .map(Self)
            .map_err(StepError::Exclude)
    }

    /// Takes out of a source what is excluded; says whether anything is left. Paths are those below the source, or
    /// with `--parents` those that are kept; a file that is a source by itself goes by its name.
    pub(crate) fn apply(&self, found: &mut Found) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let prefix = found
            .kept
            .last()
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned());
        if !found.is_directory() {
            let name = prefix.unwrap_or_else(|| found.name.to_string_lossy().into_owned());
            return !self.0.verdict(&name).excluded;
        }
        let mut included: Vec<bool> = found
            .items
            .iter()
            .map(|item| {
                let path = String::from_utf8_lossy(&item.path);
                let whole = match &prefix {
                    Some(prefix) if path.is_empty() => prefix.clone(),
                    Some(prefix) => format!("{prefix}/{path}"),
                    None => path.into_owned(),
                };
                whole.is_empty() || !self.0.verdict(&whole).excluded
            })
            .collect();
        // What is kept needs the directories above it.
        for index in (0..found.items.len()).rev() {
            if !included[index] || found.items[index].path.is_empty() {
                continue;
            }
            let path = found.items[index].path.clone();
            for above in (0..index).rev() {
                let item = &found.items[above];
                if item.kind == Kind::Directory
                    && (item.path.is_empty()
                        || path.starts_with(&item.path) && path.get(item.path.len()) == Some(&b'/'))
                {
                    included[above] = true;
                }
            }
        }
        let mut keep = included.iter();
        found.items.retain(|_| keep.next().copied().unwrap_or(true));
        !found.items.is_empty()
    }
}
