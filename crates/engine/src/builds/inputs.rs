//! What a build reads of a context before it begins, where somebody else may have made the context.

use crate::EngineError;
use std::path::{Path, PathBuf};
use sys::path::Tree;

/// No Dockerfile and no ignore file is larger.
const LARGEST: u64 = 4 << 20;

/// A file's name and its text.
pub type NamedText = (PathBuf, String);

/// Reads a Dockerfile out of a directory; without a name the usual ones. `None` if it is not there.
pub fn dockerfile_in(directory: &Path, name: Option<&str>) -> Result<Option<NamedText>, EngineError> {
    let tree = Tree::open(directory)?;
    let given = name.unwrap_or("Dockerfile");
    let mut names = vec![PathBuf::from(given)];
    if Path::new(given)
        .file_name()
        .is_some_and(|name| name == "Dockerfile")
    {
        names.push(Path::new(given).with_file_name("dockerfile"));
    }
    for name in names {
        if let Some(text) = text_in(&tree, &name, "dockerfile")? {
            return Ok(Some((name, text)));
        }
    }
    Ok(None)
}

/// Reads the first of some ignore files that is there. Its name comes back as a path in `directory`.
pub fn ignore_file_in<P: AsRef<Path>>(
    directory: &Path,
    names: &[P],
) -> Result<Option<NamedText>, EngineError> {
    let tree = Tree::open(directory)?;
    for name in names {
        if let Some(text) = text_in(&tree, name.as_ref(), "dockerignore")? {
            return Ok(Some((directory.join(name), text)));
        }
    }
    Ok(None)
}

fn text_in(tree: &Tree, name: &Path, what: &str) -> Result<Option<String>, EngineError> {
    let failed = |why: &str| EngineError::Invalid {
        message: format!("failed to read {what}: open {}: {why}", name.display()),
        hint: None,
    };
    match tree.read(name, LARGEST) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.split(|byte| *byte == b'\n').count();
            failed(&format!("line {line} is not UTF-8 text"))
        }),
        Err(error) if matches!(error.errno, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(failed(&error.errno.to_string())),
    }
}
