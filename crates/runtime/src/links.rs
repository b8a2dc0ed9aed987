//! Symbolic links that are made in a container's tree before its process runs.

use crate::{Link, StartError};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::OsStr;
use sys::path::Tree;

/// Makes the links, and the directories that they lie in. What has a link's name already stays: it is the image's.
pub(crate) fn make(tree: &Tree, links: &[Link]) -> Result<(), StartError> {
    for link in links {
        let failed = |error: sys::SysError| {
            StartError::from(error).during(format!("cannot make the link '{}'", link.path.display()))
        };
        if let Some(above) = link.path.parent() {
            tree.create_dir_all(above, Mode::from_raw_mode(0o755), (0, 0))
                .map_err(failed)?;
        }
        match tree.symlink(OsStr::new(&link.target), &link.path) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::EXIST => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_and_replace_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("usr")).unwrap();
        std::fs::write(root.join("there"), "file").unwrap();
        // A directory of the image's that leads out is followed inside the root.
        std::os::unix::fs::symlink(directory.path(), root.join("out")).unwrap();
        let tree = Tree::open(&root).unwrap();
        let link = |target: &str, path: &str| Link {
            target: target.into(),
            path: path.into(),
        };
        make(
            &tree,
            &[link("liba.so.1", "/usr/lib/liba.so"), link("x", "/there")],
        )
        .unwrap();
        assert_eq!(
            std::fs::read_link(root.join("usr/lib/liba.so")).unwrap(),
            std::path::Path::new("liba.so.1")
        );
        assert_eq!(std::fs::read(root.join("there")).unwrap(), b"file");
        make(&tree, &[link("x", "/out/escaped")]).unwrap_or_default();
        assert!(!directory.path().join("escaped").exists());
    }
}
