//! `diff`: what a container has changed in its image's files.
use super::record::ContainerId;
use super::{Containers, create, start};
use crate::EngineError;
use store::Change;
use sys::path::Tree;

impl Containers<'_> {
    /// Returns the paths that a container, running or not, has added, changed or deleted, in the order of their names,
    /// a directory before what is in it. What is in its volumes and mounts is not among them.
    pub fn diff(&self, id: &ContainerId) -> Result<Vec<Change>, EngineError> {
        let record = self.record(id)?;
        let layers = self
            .engine
            .database
            .read(|connection| Ok::<_, EngineError>(start::layers_of(connection, id)?))?;
        let directory = self.engine.locations().container_directory(id);
        create::make_directories(&directory, &record.settings.request)?;
        let union = self.engine.store.overlay(&layers, None, true);
        let below = match &union.lower[..] {
            // Overlayfs wants two directories.
            [only] => Tree::open(only)?,
            lower => Tree::new(sys::mount::overlay(lower, None, &[])?),
        };
        Ok(store::changes(&directory.join("upper"), &below)?)
    }
}
