//! Removing what nothing refers to, and measuring what is there.

use crate::lease::names;
use crate::root::Temporary;
use crate::{Image, LayerId, Lease, Store, StoreError, artifacts, indexes};
use oci::Digest;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeSet;
use sys::SysError;
use sys::lock::Lock;

/// What [`Store::collect_garbage`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Layers removed.
    pub layers: u64,
    /// Blobs removed.
    pub blobs: u64,
    /// Bytes given back.
    pub bytes: u64,
}

/// How much the store holds, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all layers.
    pub layers: u64,
    /// Bytes of all blobs.
    pub blobs: u64,
    /// Bytes of layers that only the build cache keeps.
    pub build_cache: u64,
}

/// Layers that nothing refers to.
const DEAD_LAYERS: &str = "SELECT id, size FROM layers WHERE
    NOT EXISTS (SELECT 1 FROM image_layers WHERE layer = layers.id)
    AND NOT EXISTS (SELECT 1 FROM container_layers WHERE layer = layers.id)
    AND NOT EXISTS (SELECT 1 FROM build_steps WHERE layer = layers.id)
    AND NOT EXISTS (SELECT 1 FROM leases WHERE kind = 'layer' AND object = layers.id)";
/// Blobs that are no image's manifest, nothing a registry knows an image by, in no index or artifact, and no tar of a
/// layer that is here.
const DEAD_BLOBS: &str = "SELECT digest, size FROM blobs WHERE
    NOT EXISTS (SELECT 1 FROM images WHERE manifest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM repository_digests WHERE digest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM indexes WHERE id = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM index_members WHERE manifest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM artifacts WHERE digest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM artifact_blobs WHERE blob = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM layer_blobs b JOIN layers l ON l.diff_id = b.diff_id WHERE b.digest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM leases WHERE kind = 'blob' AND object = blobs.digest)";

impl Store {
    /// Removes layers and blobs that no image, container, build step or live lease refers to.
    ///
    /// Inside one write transaction the records go and the files are renamed aside; they are removed afterwards,
    /// when nobody waits any more.
    pub fn collect_garbage(&self) -> Result<Reclaimed, StoreError> {
        self.sweep_leases()?;
        let lease = self.lease()?;
        let mut aside = Vec::new();
        let reclaimed = self.database.write(|t| {
            let mut reclaimed = Reclaimed::default();
            indexes::drop_unused(t)?;
            artifacts::drop_unused(t)?;
            for (id, size) in rows(t, DEAD_LAYERS)? {
                t.prepare_cached("DELETE FROM layers WHERE id = ?1")?.execute([&id])?;
                aside.extend(self.set_aside(&lease, &self.layer_path(&LayerId(id)))?);
                reclaimed.layers += 1;
                reclaimed.bytes += size;
            }
            for (digest, size) in rows(t, DEAD_BLOBS)? {
                t.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([&digest])?;
                if let Ok(digest) = digest.parse::<Digest>() {
                    aside.extend(self.set_aside(&lease, &self.blob_path(&digest))?);
                }
                reclaimed.blobs += 1;
                reclaimed.bytes += size;
            }
            t.execute(
                "DELETE FROM layer_blobs WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE digest = layer_blobs.digest)",
                [],
            )?;
            aside.extend(self.unrecorded(t, &lease)?);
            Ok::<_, StoreError>(reclaimed)
        })?;
        sys::failpoint::reach("garbage.aside")?;
        for path in aside {
            sys::fs::remove_all(&path.0)?;
        }
        sys::failpoint::reach("garbage.removed")?;
        // Left by who was killed while it held one. Removed while held, so that nobody has its successor.
        for name in names(&self.directory("locks"))? {
            let path = self.directory("locks").join(name);
            if let Some(lock) = Lock::try_exclusive(&path)? {
                sys::fs::remove_all(&path)?;
                drop(lock);
            }
        }
        Ok(reclaimed)
    }

    /// Sets aside what a process that died between rename and commit left.
    fn unrecorded(&self, connection: &Connection, lease: &Lease) -> Result<Vec<Temporary>, StoreError> {
        let mut aside = Vec::new();
        for (directory, sql, prefix) in [
            ("layers", "SELECT EXISTS (SELECT 1 FROM layers WHERE id = ?1)", ""),
            (
                "blobs/sha256",
                "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)",
                "sha256:",
            ),
        ] {
            let mut statement = connection.prepare_cached(sql)?;
            for name in names(&self.directory(directory))? {
                let is_recorded: bool = statement.query_row([format!("{prefix}{name}")], |row| row.get(0))?;
                if !is_recorded {
                    aside.extend(self.set_aside(lease, &self.directory(directory).join(name))?);
                }
            }
        }
        Ok(aside)
    }

    #[expect(clippy::unused_self, reason = "reads better beside its callers")]
    pub(crate) fn set_aside(
        &self,
        lease: &Lease,
        path: &std::path::Path,
    ) -> Result<Option<Temporary>, StoreError> {
        let aside = lease.temporary()?;
        match rustix::fs::rename(path, &aside.0) {
            Ok(()) => Ok(Some(aside)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(SysError::on("rename aside", path)(errno).into()),
        }
    }

    /// Returns how many bytes of blobs belong to an image: its manifest, its configuration and its layers as they came.
    pub fn content_size(&self, image: &Image) -> Result<u64, StoreError> {
        self.database.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT b.size FROM layer_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.diff_id = ?1
                 ORDER BY b.created LIMIT 1",
            )?;
            let mut size = image.raw_config.len() as u64;
            let mut counted = BTreeSet::new();
            for layer in &image.layers {
                if counted.insert(layer.diff_id) {
                    let blob: Option<u64> = statement
                        .query_row([layer.diff_id.to_string()], |row| row.get(0))
                        .optional()?;
                    size += blob.unwrap_or(0);
                }
            }
            if let Some(manifest) = &image.manifest {
                let blob: Option<u64> = c
                    .prepare_cached("SELECT size FROM blobs WHERE digest = ?1")?
                    .query_row([manifest.to_string()], |row| row.get(0))
                    .optional()?;
                size += blob.unwrap_or(0);
            }
            Ok(size)
        })
    }

    /// Measures what is stored.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.database.read(|c| {
            let sum = |sql: &str| c.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
            Ok(Usage {
                layers: sum("SELECT coalesce(sum(size), 0) FROM layers")?,
                blobs: sum("SELECT coalesce(sum(size), 0) FROM blobs")?,
                build_cache: sum("SELECT coalesce(sum(size), 0) FROM layers WHERE
                    EXISTS (SELECT 1 FROM build_steps WHERE layer = layers.id)
                    AND NOT EXISTS (SELECT 1 FROM image_layers WHERE layer = layers.id)
                    AND NOT EXISTS (SELECT 1 FROM container_layers WHERE layer = layers.id)")?,
            })
        })
    }
}

fn rows(connection: &Connection, sql: &str) -> Result<Vec<(String, u64)>, StoreError> {
    Ok(connection
        .prepare_cached(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}
