//! Cache mounts as archives: what `--cache-to …,mounts=true` and `builder cache` carry from machine to machine.
//!
//! An archive is a tar, compressed with zstd, of what is in a mount. What is in one, steps have put there: so nothing is
//! followed when it is read, and an archive is unpacked by the reader that trusts no archive.

use super::Builds;
use crate::EngineError;
use builder::cache_mounts::{CacheMount, HeldMount};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use store::StoreError;
use sys::path::Tree;

/// More than this is in no cache mount that is worth carrying, but in an archive that is to fill the disk.
const MOST: u64 = 256 << 30;

impl Builds<'_> {
    /// Returns the cache mounts, the last used first.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMount>, EngineError> {
        Ok(self.mounts().list()?)
    }

    /// Writes a cache mount as an archive. `name` is its id, or the beginning of its key.
    pub fn export_mount(&self, name: &str, into: &mut dyn Write) -> Result<(), EngineError> {
        let mounts = self.mounts();
        let all = mounts.list()?;
        let found = all.iter().find(|mount| mount.id == name).or_else(|| {
            let mut by_key = all.iter().filter(|mount| mount.key.starts_with(name));
            by_key
                .next()
                .filter(|_| by_key.next().is_none() && !name.is_empty())
        });
        let mount = found.ok_or_else(|| EngineError::NotFound {
            kind: "cache mount",
            name: name.to_owned(),
        })?;
        let held = mounts.hold(&mount.key)?.ok_or_else(|| in_use(name))?;
        pack(&held, into)?;
        Ok(())
    }

    /// Makes a cache mount of what [`Builds::export_mount`] has written, or of any tar. What it had goes.
    pub fn import_mount(&self, id: &str, archive: &mut dyn Read) -> Result<(), EngineError> {
        if id.is_empty() {
            return Err(EngineError::Invalid {
                message: "a cache mount needs an id".into(),
                hint: Some("write what 'RUN --mount=type=cache,id=' has, or its target".into()),
            });
        }
        let done = self.mounts().replace(id, |into| unpack(into, archive))?;
        if done { Ok(()) } else { Err(in_use(id)) }
    }
}

fn in_use(name: &str) -> EngineError {
    EngineError::Conflict {
        message: format!("the cache mount {name} is in use by a step of a build"),
        hint: Some("try again when the build has ended".into()),
    }
}

/// Writes the files of a cache mount.
pub(super) fn pack(mount: &HeldMount, into: &mut dyn Write) -> Result<(), StoreError> {
    let failed = |error| StoreError::Tar(store::TarError::Write(error));
    let directory = Tree::open(mount.data())?;
    let mut encoder = zstd::stream::write::Encoder::new(into, 3).map_err(failed)?;
    store::write_alone(directory.as_fd(), &mut encoder)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}

/// Unpacks such an archive into an empty directory.
pub(super) fn unpack(into: &Tree, archive: &mut dyn Read) -> Result<(), EngineError> {
    let directory = into
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| sys::SysError::io("use", "a directory of the cache", &error))?;
    store::unpack_strange(directory, archive, MOST)?;
    Ok(())
}
