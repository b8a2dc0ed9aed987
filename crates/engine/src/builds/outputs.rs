//! What a build gives besides an image in the store: its files, or the image as an archive.

use super::Builds;
use crate::EngineError;
use oci::Digest;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use store::{Image, LayoutOptions};
use sys::SysError;

impl Builds<'_> {
    /// Writes an image's files into a directory, which is made if it is not there. What is there stays, but for files
    /// that the image has too. All belongs to who runs this.
    pub fn write_files(&self, image: &Digest, directory: &Path) -> Result<(), EngineError> {
        sys::fs::create_directories(directory, 0o755)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let into = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(SysError::on("open the directory", directory))?;
        let root = self.root(&self.image(image)?)?;
        let (mut reader, writer) = std::io::pipe().map_err(|error| SysError::io("make", "a pipe", &error))?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || write_all(&root, writer));
            let read = store::unpack_into(into, &mut reader, store::Owner::Given(0, 0), store::Clash::Refuse);
            // Who still writes into it would wait for ever.
            drop::<PipeReader>(reader);
            let written = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A writer whose reader has failed has nothing to tell.
            read?;
            written
        })?;
        Ok(())
    }

    /// Writes an image's files as a tar.
    pub fn write_files_tar(&self, image: &Digest, into: &mut dyn Write) -> Result<(), EngineError> {
        let root = self.root(&self.image(image)?)?;
        store::write_tree(root.as_fd(), OsStr::new("."), OsStr::new(""), into)?;
        Ok(())
    }

    /// Writes images (one a platform) as the tar of an OCI layout.
    pub fn write_layout(
        &self,
        images: &[Digest],
        options: &LayoutOptions,
        into: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let lease = self.engine.store.lease()?;
        let images = self.all(images)?;
        Ok(self.engine.store.write_layout(&lease, &images, options, into)?)
    }

    /// Writes images (one a platform) into a directory as an OCI layout.
    pub fn write_layout_directory(
        &self,
        images: &[Digest],
        options: &LayoutOptions,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let lease = self.engine.store.lease()?;
        let images = self.all(images)?;
        Ok(self
            .engine
            .store
            .write_layout_directory(&lease, &images, options, directory)?)
    }

    /// Says whether an image is here.
    pub fn has_image(&self, image: &Digest) -> Result<bool, EngineError> {
        Ok(self.engine.store.image_by_id(image)?.is_some())
    }

    /// Lets go of an image that a build has made for its outputs alone; its layers stay in the build cache. One that has
    /// got a name meanwhile stays.
    pub fn forget(&self, image: &Digest) -> Result<(), EngineError> {
        if self.image(image)?.tags.is_empty() {
            self.engine.store.remove_image(image)?;
        }
        Ok(())
    }

    fn all(self, images: &[Digest]) -> Result<Vec<Image>, EngineError> {
        images.iter().map(|image| self.image(image)).collect()
    }

    pub(super) fn image(self, image: &Digest) -> Result<Image, EngineError> {
        let found = self.engine.store.image_by_id(image)?;
        found.ok_or_else(|| EngineError::NotFound {
            kind: "image",
            name: image.to_string(),
        })
    }

    /// Mounts an image's files, attached nowhere.
    fn root(self, image: &Image) -> Result<OwnedFd, EngineError> {
        let layers: Vec<_> = image.layers.iter().map(|layer| layer.id.clone()).collect();
        if layers.is_empty() {
            // Nothing is in it. The store's skeleton is not the image's.
            return empty();
        }
        let lower = self.engine.store.overlay(&layers, None, false).lower;
        if let [only] = &lower[..] {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return Ok(rustix::fs::open(only, flags, Mode::empty())
                .map_err(SysError::on("open the directory", only))?);
        }
        Ok(sys::mount::overlay(&lower, None, &[])?)
    }
}

/// Returns an empty directory that is gone already.
fn empty() -> Result<OwnedFd, EngineError> {
    let path = std::env::temp_dir().join(format!("coracle-empty-{}", std::process::id()));
    sys::fs::create_directories(&path, 0o700)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(&path, flags, Mode::empty()).map_err(SysError::on("open the directory", &path))?;
    sys::fs::remove_all(&path)?;
    Ok(opened)
}

fn write_all(root: &OwnedFd, into: PipeWriter) -> Result<(), EngineError> {
    let mut into = std::io::BufWriter::with_capacity(1 << 18, into);
    store::write_tree(root.as_fd(), OsStr::new("."), OsStr::new(""), &mut into)?;
    into.flush()
        .map_err(|error| SysError::io("write into", "a pipe", &error))?;
    Ok(())
}
