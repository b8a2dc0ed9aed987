//! Blobs: content exactly as a registry has it, by its digest.

use crate::root::now;
use crate::{Lease, Store, StoreError};
use oci::Digest;
use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, params};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use sys::SysError;

/// A sha256 being computed.
pub(crate) fn hasher() -> Context {
    Context::new(&SHA256)
}

/// Returns a finished hash.
pub(crate) fn finished(context: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest::from_sha256(bytes)
}

/// Returns the digest of bytes in memory.
pub(crate) fn digest_of(content: &[u8]) -> Digest {
    let mut context = hasher();
    context.update(content);
    finished(context)
}

/// Returns the digest of all that a reader gives.
pub(crate) fn digest_of_stream(mut input: impl Read) -> std::io::Result<Digest> {
    let mut context = hasher();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(finished(context)),
            Ok(length) => context.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Store {
    /// Stores a small blob whose digest is computed here (a configuration, a manifest).
    pub fn put_blob(&self, lease: &Lease, content: &[u8]) -> Result<Digest, StoreError> {
        let digest = digest_of(content);
        let temporary = lease.temporary()?;
        let mut file = create(&temporary.0)?;
        file.write_all(content)
            .map_err(|error| SysError::io("write", &temporary.0, &error))?;
        self.database.write(|t| {
            self.place_blob(t, lease, &temporary.0, &digest, content.len() as u64)?;
            Ok::<_, StoreError>(())
        })?;
        Ok(digest)
    }

    /// Opens a blob for reading; `None` if it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let is_recorded: bool = self.database.read(|c| {
            Ok::<_, StoreError>(
                c.prepare_cached("SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)")?
                    .query_row([digest.to_string()], |row| row.get(0))?,
            )
        })?;
        if !is_recorded {
            return Ok(None);
        }
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SysError::io("open", &path, &error).into()),
        }
    }

    /// Returns the size of a blob, and leases it; `None` if it is not here.
    pub fn find_blob(&self, lease: &Lease, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.database.write(|t| {
            let size: Option<u64> = t
                .prepare_cached("SELECT size FROM blobs WHERE digest = ?1")?
                .query_row([digest.to_string()], |row| row.get(0))
                .optional()?;
            if size.is_none() || !self.blob_path(digest).exists() {
                return Ok(None);
            }
            lease.keep_blob(t, digest)?;
            Ok(size)
        })
    }

    /// Reads a whole blob and checks it. `None` if it is not here.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if self.open_blob(digest)?.is_none() {
            return Ok(None);
        }
        let content = sys::fs::read(&self.blob_path(digest), limit)?;
        let found = digest_of(&content);
        if found != *digest {
            return Err(StoreError::Digest {
                what: format!("the blob {digest}"),
                expected: *digest,
                found,
            });
        }
        Ok(Some(content))
    }

    /// Moves a finished file in as a blob, within a write transaction, and leases it.
    pub(crate) fn place_blob(
        &self,
        connection: &Connection,
        lease: &Lease,
        from: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let to = self.blob_path(digest);
        rustix::fs::rename(from, &to).map_err(SysError::on("rename a new file to", &to))?;
        sys::failpoint::reach("blob.renamed")?;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO blobs (digest, size, durable, boot, created) VALUES (?1, ?2, 0, ?3, ?4)",
            )?
            .execute(params![digest.to_string(), size, sys::fs::boot_id()?, now()])?;
        lease.keep_blob(connection, digest)?;
        Ok(())
    }

    /// Drops a blob that turned out to be damaged.
    pub(crate) fn drop_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        self.database.write(|t| {
            t.execute("DELETE FROM blobs WHERE digest = ?1", [digest.to_string()])?;
            sys::fs::remove_all(&self.blob_path(digest))?;
            Ok(())
        })
    }

    /// Syncs what was stored since boot and records that it may be trusted after a power cut. Cheap when nothing is
    /// new; otherwise it takes as long as the disk does, so it runs behind what the user waits for.
    pub fn make_durable(&self) -> Result<(), StoreError> {
        let boot = sys::fs::boot_id()?;
        let list = |table: &str, key: &str| {
            self.database.read(|c| {
                c.prepare_cached(&format!(
                    "SELECT {key} FROM {table} WHERE durable = 0 AND boot = ?1"
                ))?
                .query_map([&boot], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
                .map_err(StoreError::from)
            })
        };
        let (layers, blobs) = (list("layers", "id")?, list("blobs", "digest")?);
        if layers.is_empty() && blobs.is_empty() {
            return Ok(());
        }
        sys::fs::sync_filesystem(&self.root)?;
        sys::failpoint::reach("store.synced")?;
        self.database.write_durably(|t| {
            for (sql, keys) in [
                ("UPDATE layers SET durable = 1 WHERE id = ?1", layers),
                ("UPDATE blobs SET durable = 1 WHERE digest = ?1", blobs),
            ] {
                let mut statement = t.prepare_cached(sql)?;
                for key in keys {
                    statement.execute([key])?;
                }
            }
            Ok(())
        })
    }
}

/// Makes a new file in the store's own directories.
pub(crate) fn create(path: &Path) -> Result<File, SysError> {
    File::options()
        .write(true)
        .read(true)
        .create_new(true)
        .open(path)
        .map_err(|error| SysError::io("make", path, &error))
}
