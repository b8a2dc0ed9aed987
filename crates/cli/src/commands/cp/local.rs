//! The host's side of a copy: a tree becomes a tar, a tar becomes a tree.

use crate::args::environment::reason;
use crate::failure::Failure;
use rustix::fs::{FileType, Mode, OFlags};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use sys::path::Tree;
use tar::{Archive, Builder, EntryType};

/// Writes a file or a tree as a tar whose top entry is called `name`. Returns the tar's bytes.
pub(super) fn pack(path: &Path, name: &str, follow: bool, into: impl Write) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::silent(1),
        _ => Failure::file("read", path, &error),
    };
    let mut counted = Counted::new(into);
    let mut builder = Builder::new(std::io::BufWriter::with_capacity(1 << 16, &mut counted));
    builder.follow_symlinks(false);
    let real = if follow {
        std::fs::canonicalize(path).map_err(failed)?
    } else {
        path.to_owned()
    };
    let metadata = std::fs::symlink_metadata(&real).map_err(failed)?;
    if metadata.is_dir() {
        builder.append_dir_all(name, &real).map_err(failed)?;
    } else {
        builder.append_path_with_name(&real, name).map_err(failed)?;
    }
    builder
        .into_inner()
        .and_then(|mut out| out.flush())
        .map_err(failed)?;
    Ok(counted.bytes)
}

/// A writer that counts what passes.
pub(super) struct Counted<W> {
    inner: W,
    /// How much has passed.
    pub(super) bytes: u64,
}

impl<W> Counted<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, bytes: 0 }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Lays a tar down in a directory; its top entry gets the name `name`. Returns the bytes of its files. Owners are
/// kept on demand only; devices are never made.
pub(super) fn unpack(tar: impl Read, directory: &Path, name: &str, keep_owner: bool) -> Result<u64, Failure> {
    let tree = Tree::open(directory).map_err(|error| Failure::new(crate::failure::chain(&error)))?;
    let wrong = |error: std::io::Error| Failure::new(format!("read the archive: {}", reason(&error)));
    let mut archive = Archive::new(tar);
    let mut bytes = 0;
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(wrong)? {
        let mut entry = entry.map_err(wrong)?;
        let path = rebase(&entry.path().map_err(wrong)?, name)?;
        let header = entry.header().clone();
        let mode = Mode::from_raw_mode(header.mode().map_err(wrong)? & 0o7777);
        let owner = if keep_owner {
            let number = |id: u64| {
                u32::try_from(id).map_err(|_error| Failure::new("an owner in the archive is out of range"))
            };
            Some((
                number(header.uid().map_err(wrong)?)?,
                number(header.gid().map_err(wrong)?)?,
            ))
        } else {
            None
        };
        bytes += header.size().unwrap_or(0);
        lay_down(&tree, &path, &mut entry, mode, owner, name, &mut directories)
            .map_err(|failure| Failure::new(format!("write {}: {}", path.display(), failure.message)))?;
    }
    // A directory may forbid writing to its owner; it gets its mode when all is in it.
    for (path, mode) in directories.into_iter().rev() {
        tree.set_mode(&path, mode)
            .map_err(|error| Failure::new(crate::failure::chain(&error)))?;
    }
    Ok(bytes)
}

fn lay_down<R: Read>(
    tree: &Tree,
    path: &Path,
    entry: &mut tar::Entry<'_, R>,
    mode: Mode,
    owner: Option<(u32, u32)>,
    name: &str,
    directories: &mut Vec<(PathBuf, Mode)>,
) -> Result<(), Failure> {
    let sys = |error: sys::SysError| Failure::new(crate::failure::chain(&error));
    let existing = tree
        .stat(path, false)
        .ok()
        .map(|stat| FileType::from_raw_mode(stat.st_mode));
    let kind = entry.header().entry_type();
    if kind == EntryType::Directory {
        match existing {
            Some(FileType::Directory) => {}
            Some(_) => return Err(Failure::new("cannot overwrite a file with a directory")),
            None => {
                tree.create_dir(path, Mode::RWXU).map_err(sys)?;
            }
        }
        directories.push((path.to_owned(), mode));
        return owner.map_or(Ok(()), |owner| tree.set_owner(path, owner).map_err(sys));
    }
    if existing == Some(FileType::Directory) {
        return Err(Failure::new("cannot overwrite a directory with a file"));
    }
    if existing.is_some() {
        tree.remove_file(path).map_err(sys)?;
    }
    match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let file = tree
                .open_at(path, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, mode)
                .map_err(sys)?;
            let mut file = std::fs::File::from(file);
            std::io::copy(entry, &mut file)?;
            if let Some(owner) = owner {
                tree.set_owner(path, owner).map_err(sys)?;
            }
            tree.set_mode(path, mode).map_err(sys)?;
        }
        EntryType::Symlink => {
            let target = entry
                .link_name()?
                .ok_or_else(|| Failure::new("a link without a target"))?;
            tree.symlink(target.as_os_str(), path).map_err(sys)?;
        }
        EntryType::Link => {
            let target = entry
                .link_name()?
                .ok_or_else(|| Failure::new("a link without a target"))?;
            tree.hard_link(&rebase(&target, name)?, path).map_err(sys)?;
        }
        EntryType::Fifo => {
            tree.make_node(path, FileType::Fifo, mode, 0).map_err(sys)?;
        }
        // Devices and sockets stay where they are; a copy of a device would be one on the host.
        _ => {}
    }
    Ok(())
}

/// Replaces the first component of an archive's path; `..` in it is refused.
fn rebase(path: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut components = path
        .components()
        .filter(|component| !matches!(component, Component::CurDir | Component::RootDir));
    let mut result = PathBuf::from(name);
    components.next();
    for component in components {
        match component {
            Component::Normal(part) => result.push(part),
            _ => {
                return Err(Failure::new(format!(
                    "the archive has a path that leads out of it: {}",
                    path.display()
                )));
            }
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if *kind == EntryType::Directory {
                0o755
            } else {
                0o640
            });
            if *kind == EntryType::Symlink || *kind == EntryType::Link {
                header.set_size(0);
                builder.append_link(&mut header, path, content).unwrap();
            } else {
                header.set_size(content.len() as u64);
                builder
                    .append_data(&mut header, path, content.as_bytes())
                    .unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("coracle-cp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("inside")).unwrap();
        path
    }

    #[test]
    fn a_tree_gets_its_new_name() {
        let root = temporary("name");
        let tar = archive(&[
            ("tree/", EntryType::Directory, ""),
            ("tree/a", EntryType::Regular, "content"),
            ("tree/b", EntryType::Link, "tree/a"),
            ("tree/c", EntryType::Symlink, "a"),
        ]);
        let bytes = unpack(tar.as_slice(), &root.join("inside"), "renamed", false).unwrap();
        assert_eq!(bytes, 7);
        let read = |name: &str| std::fs::read(root.join("inside/renamed").join(name)).unwrap();
        assert_eq!(
            (read("a"), read("b"), read("c")),
            (b"content".to_vec(), b"content".to_vec(), b"content".to_vec())
        );
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_link_in_the_archive_leads_nowhere_else() {
        let root = temporary("link");
        let outside = root.join("outside");
        std::fs::create_dir(&outside).unwrap();
        let target = outside.display().to_string();
        let tar = archive(&[
            ("t/", EntryType::Directory, ""),
            ("t/link", EntryType::Symlink, &target),
            ("t/link/evil", EntryType::Regular, "evil"),
        ]);
        assert!(unpack(tar.as_slice(), &root.join("inside"), "t", false).is_err());
        assert!(!outside.join("evil").exists());
        assert!(rebase(Path::new("t/../../x"), "t").is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let root = temporary("round");
        std::fs::write(root.join("inside/file"), "content").unwrap();
        let mut tar = Vec::new();
        pack(&root.join("inside"), "copy", false, &mut tar).unwrap();
        unpack(tar.as_slice(), &root, "back", false).unwrap();
        assert_eq!(std::fs::read(root.join("back/file")).unwrap(), b"content");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
