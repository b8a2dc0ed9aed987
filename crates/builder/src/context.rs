//! The build context: a directory read in place, by descriptor, through the ignore rules.

use crate::error::BuildError;
use crate::source::Origin;
use dockerfile::IgnoreRules;
use std::path::Path;
use sys::path::Tree;

/// The context of a build.
#[derive(Debug)]
pub(crate) struct BuildContext {
    tree: Tree,
    rules: IgnoreRules,
    ignore_file: String,
}

impl BuildContext {
    pub(crate) fn open(
        path: &Path,
        ignore: Option<&(std::path::PathBuf, String)>,
    ) -> Result<Self, BuildError> {
        let (ignore_file, text) = match ignore {
            Some((file, text)) => {
                let below = file.strip_prefix(path).unwrap_or(file);
                (below.display().to_string(), text.as_str())
            }
            None => (String::new(), ""),
        };
        let rules = IgnoreRules::parse(text).map_err(|source| BuildError::Ignore {
            file: ignore_file.clone(),
            source,
        })?;
        Ok(Self {
            // The user named this directory, so it may be reached through links.
            tree: Tree::new(sys_open(path)?),
            rules,
            ignore_file,
        })
    }

    /// Returns the ignore file's name, if there is one.
    pub(crate) fn ignore_file(&self) -> Option<&str> {
        Some(self.ignore_file.as_str()).filter(|name| !name.is_empty())
    }

    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            tree: &self.tree,
            name: "the build context".to_owned(),
            ignore: Some((&self.rules, self.ignore_file.clone())),
        }
    }
}

fn sys_open(path: &Path) -> Result<std::os::fd::OwnedFd, BuildError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| BuildError::Context(sys::SysError::on("open the directory", path)(errno)))
}
