//! What an image has where a volume will be mounted is copied into the volume, once, while that is empty.
//!
//! Both sides are walked by descriptor: the image is a detached read-only union that nobody else sees, so a link in it
//! leads at most to another place in it (podman CVE-2019-10152, containerd CVE-2022-23648).

use super::mounting::Guest;
use super::options;
use super::tree_copy::copy_tree;
use crate::containers::invalid;
use crate::{Engine, EngineError};
use rustix::fs::{CWD, FileType, Mode, OFlags, renameat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use store::Image;
use sys::SysError;
use sys::lock::Lock;
use sys::path::{Tree, entries_of};

/// An image, opened to fill volumes from.
#[derive(Debug)]
pub(crate) struct Filler {
    image: Tree,
}

impl Filler {
    /// Mounts the image, detached and read-only.
    pub(crate) fn open(engine: &Engine, image: &Image) -> Result<Self, EngineError> {
        let layers: Vec<_> = image.layers.iter().map(|layer| layer.id.clone()).collect();
        let union = engine.store.overlay(&layers, None, true);
        let root = sys::mount::overlay(&union.lower, None, &[])?;
        Ok(Self {
            image: Tree::new(root),
        })
    }

    /// Refuses a volume over something that is no directory.
    pub(crate) fn check(&self, target: &str) -> Result<(), EngineError> {
        match self.image.stat(Path::new(target), true) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => Err(invalid(
                format!("cannot mount volume over existing file, file exists {target}"),
            )),
            Err(error) if !matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Copies what the image has at `target` into the volume, unless one of the two is empty.
    pub(crate) fn fill(&self, engine: &Engine, name: &str, target: &str) -> Result<(), EngineError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = match self.image.open_at(Path::new(target), flags, Mode::empty()) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            source => source?,
        };
        let directory = engine.locations.volume_directory(name);
        let lock = Lock::exclusive(&directory.join("lock"))?;
        let data = directory.join("_data");
        let filled = match options::recipe(&engine.volumes().inspect(name)?.options) {
            None => fill_directory(&source, &directory, &data),
            // It would be gone before anybody sees it.
            Some(recipe) if recipe.is_memory() => Ok(()),
            Some(_) => fill_mounted(engine, name, &source, &data),
        };
        drop(lock);
        filled
    }
}

/// Fills a volume that is a directory: at once, by taking its place.
fn fill_directory(source: &OwnedFd, directory: &Path, data: &Path) -> Result<(), EngineError> {
    if !is_empty(data)? {
        return Ok(());
    }
    let filling = directory.join("_filling");
    sys::fs::remove_all(&filling)?;
    std::fs::create_dir(&filling).map_err(|error| SysError::io("make the directory", &filling, &error))?;
    sys::failpoint::pass("volume.filling");
    let copied = copy_tree(source.as_fd(), &filling).and_then(|_report| {
        sys::failpoint::reach("volume.copied")?;
        // An empty directory is replaced by rename. Where a container that was made earlier already has it
        // mounted and empty, that container keeps the empty one: nobody else can be there, since this one is new.
        renameat(CWD, &filling, CWD, data).map_err(SysError::on("fill the volume", data))
    });
    if copied.is_err() {
        sys::fs::remove_all(&filling)?;
    }
    Ok(copied?)
}

/// Fills what a volume's options mount, which cannot be replaced.
fn fill_mounted(engine: &Engine, name: &str, source: &OwnedFd, data: &Path) -> Result<(), EngineError> {
    let failed = SysError::on("read the image's directory for", data);
    if entries_of(source).map_err(failed)?.is_empty() {
        return Ok(());
    }
    let options = engine.volumes().inspect(name)?.options;
    let _mounted = Guest::enter(&engine.locations, name, &options)?;
    if is_empty(data)? {
        copy_tree(source.as_fd(), data)?;
    }
    Ok(())
}

fn is_empty(directory: &Path) -> Result<bool, SysError> {
    let failed = |error: std::io::Error| SysError::io("read the directory", directory, &error);
    Ok(std::fs::read_dir(directory).map_err(failed)?.next().is_none())
}
