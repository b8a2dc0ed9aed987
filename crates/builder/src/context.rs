//! The build context: a directory read in place, by descriptor, through the ignore rules.

use crate::error::BuildError;
use crate::source::Origin;
use dockerfile::IgnoreRules;
use std::path::{Path, PathBuf};
use sys::path::Tree;

/// The context of a build.
#[derive(Debug)]
pub(crate) struct BuildContext {
    tree: Tree,
    /// Where it is, links followed.
    path: PathBuf,
    name: String,
    rules: IgnoreRules,
    ignore_file: String,
}

impl BuildContext {
    pub(crate) fn open(
        path: &Path,
        name: &str,
        ignore: Option<&(PathBuf, String)>,
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
        let tree = Tree::new(sys_open(path)?);
        Ok(Self {
            path: std::fs::canonicalize(path)
                .map_err(|error| BuildError::Context(sys::SysError::io("follow", path, &error)))?,
            name: name.to_owned(),
            // The user named this directory, so it may be reached through links.
            tree,
            rules,
            ignore_file,
        })
    }

    /// Returns where the directory is; no component is a link.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether the rules keep a path out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        self.rules.verdict(path).excluded && !self.rules.may_include_below(path)
    }

    /// Returns the ignore file's name, if there is one.
    pub(crate) fn ignore_file(&self) -> Option<&str> {
        Some(self.ignore_file.as_str()).filter(|name| !name.is_empty())
    }

    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            tree: &self.tree,
            name: self.name.clone(),
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
