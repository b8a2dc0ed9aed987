//! What a dead process or a power cut left.

use crate::layers::{Keep, Source};
use crate::pipeline::{self, Job};
use crate::root::make_directory;
use crate::{Layer, LayerId, Lease, Store, StoreError};
use oci::Digest;
use rusqlite::OptionalExtension;
use std::fs::File;

/// The setting that holds the id of the boot in which the store was last checked.
const CHECKED: &str = "store.boot";

/// Clears up after dead processes and, once per boot, checks what may not have reached the disk.
pub(crate) fn recover(store: &Store) -> Result<(), StoreError> {
    store.sweep_leases()?;
    let boot = sys::fs::boot_id()?;
    let checked: Option<String> = store.database.read(|c| {
        c.prepare_cached("SELECT value FROM settings WHERE name = ?1")?
            .query_row([CHECKED], |row| row.get(0))
            .optional()
            .map_err(StoreError::from)
    })?;
    if checked.as_deref() == Some(&boot) {
        return Ok(());
    }
    check_after_boot(store, &boot)?;
    store.database.write(|t| {
        t.execute(
            "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
            [CHECKED, &boot],
        )?;
        Ok(())
    })
}

fn check_after_boot(store: &Store, boot: &str) -> Result<(), StoreError> {
    let uncertain = |sql: &str| {
        store.database.read(|c| {
            c.prepare_cached(sql)?
                .query_map([boot], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<Vec<(String, Option<String>, u64)>>>()
                .map_err(StoreError::from)
        })
    };
    let blobs = uncertain("SELECT digest, NULL, size FROM blobs WHERE durable = 0 AND boot <> ?1")?;
    let layers = uncertain("SELECT id, diff_id, size FROM layers WHERE durable = 0 AND boot <> ?1")?;
    if blobs.is_empty() && layers.is_empty() {
        return Ok(());
    }
    let lease = store.lease()?;
    for (digest, _, _) in blobs {
        let sound = digest.parse().is_ok_and(|digest: Digest| store.is_sound(&digest));
        if sound {
            set_boot(
                store,
                "UPDATE blobs SET boot = ?2 WHERE digest = ?1",
                &digest,
                boot,
            )?;
        } else if let Ok(digest) = digest.parse() {
            store.drop_blob(&digest)?;
        }
    }
    for (id, diff_id, size) in layers {
        let Some(diff_id) = diff_id.and_then(|text| text.parse().ok()) else {
            lose(store, &LayerId(id))?;
            continue;
        };
        let layer = Layer {
            id: LayerId(id),
            diff_id,
            size,
        };
        // Layers that were made here can be told by their tar; those that came from elsewhere are made anew.
        if store.is_reproducible(&layer) || renew(store, &lease, &layer)? {
            set_boot(
                store,
                "UPDATE layers SET boot = ?2 WHERE id = ?1",
                &layer.id.0,
                boot,
            )?;
        } else {
            lose(store, &layer.id)?;
        }
    }
    store.make_durable()
}

fn set_boot(store: &Store, sql: &str, key: &str, boot: &str) -> Result<(), StoreError> {
    store.database.write(|t| {
        t.execute(sql, [key, boot])?;
        Ok(())
    })
}

/// Unpacks a layer again from a blob that is here. Says whether that worked.
fn renew(store: &Store, lease: &Lease, layer: &Layer) -> Result<bool, StoreError> {
    for (digest, size, media_type) in store.layer_blobs(&layer.diff_id)? {
        let Ok(file) = File::open(store.blob_path(&digest)) else {
            continue;
        };
        let source = Source {
            what: format!("the blob {digest}"),
            reader: Box::new(file),
            blob: Some((digest, size)),
            diff_id: layer.diff_id,
            media_type,
            keep: Keep::No,
        };
        if store.unpack_into(lease, source, &layer.id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Store {
    /// Unpacks a blob in the place of a layer's directory that cannot be trusted. Says whether that worked.
    fn unpack_into(&self, lease: &Lease, source: Source<'_>, id: &LayerId) -> Result<bool, StoreError> {
        let directory = lease.temporary()?;
        make_directory(&directory.0, 0o755)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(&directory.0, flags, rustix::fs::Mode::empty())
            .map_err(sys::SysError::on("open", &directory.0))?;
        let outcome = pipeline::run(Job {
            what: source.what,
            source: source.reader,
            size: source.blob.map(|(_, size)| size),
            keep: None,
            root,
            lower: &[],
            limits: self.limits,
        });
        match outcome {
            Ok(outcome) if outcome.extracted.is_ok() && outcome.diff_id == source.diff_id => {
                let old = self.set_aside(lease, &self.layer_path(id))?;
                sys::fs::rename_to_new(&directory.0, &self.layer_path(id))?;
                drop(old);
                Ok(true)
            }
            Err(error) if error.is_no_space() => Err(error),
            _ => Ok(false),
        }
    }
}

/// Gives up a layer that cannot be made anew: images and build steps that need it go, so that they are pulled or
/// built again. A container that needs it keeps its record, so that it can be inspected and removed, but the
/// directory is gone and it cannot start.
fn lose(store: &Store, id: &LayerId) -> Result<(), StoreError> {
    let lease = store.lease()?;
    let aside = store.database.write(|t| {
        t.execute(
            "DELETE FROM images WHERE id IN (SELECT image FROM image_layers WHERE layer = ?1)",
            [&id.0],
        )?;
        t.execute("DELETE FROM build_steps WHERE layer = ?1", [&id.0])?;
        let aside = store.set_aside(&lease, &store.layer_path(id))?;
        let is_used: bool = t.query_row(
            "SELECT EXISTS (SELECT 1 FROM container_layers WHERE layer = ?1)",
            [&id.0],
            |row| row.get(0),
        )?;
        if is_used {
            t.execute(
                "UPDATE layers SET diff_id = NULL, durable = 1 WHERE id = ?1",
                [&id.0],
            )?;
        } else {
            t.execute("DELETE FROM layers WHERE id = ?1", [&id.0])?;
        }
        Ok::<_, StoreError>(aside)
    })?;
    drop(aside);
    Ok(())
}
