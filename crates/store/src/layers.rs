//! Unpacked layers.

use crate::blobs::{create, digest_of_stream};
use crate::extract::ExtractError;
use crate::pipeline::{self, Job};
use crate::root::{Temporary, make_directory, now, random_name};
use crate::tree_tar::{self, Hashed};
use crate::{Lease, Store, StoreError, inflate};
use oci::{Digest, LayerMediaType};
use rusqlite::{Connection, OptionalExtension, params};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use sys::SysError;
use sys::lock::Lock;
use sys::path::Tree;

/// The name of an unpacked layer's directory, below `layers/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LayerId(pub(crate) String);

impl std::fmt::Display for LayerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl LayerId {
    /// Takes an id out of the state database (`container_layers`, `build_steps`).
    pub fn from_record(id: String) -> Self {
        Self(id)
    }

    /// Returns the id as the state database has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its directory's name.
    pub id: LayerId,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its files, unpacked.
    pub size: u64,
}

/// What to do with the blob that a layer is unpacked from.
pub(crate) enum Keep {
    /// Nothing: it is here already, or not wanted.
    No,
    /// It is this file, which becomes the blob.
    Spooled(PathBuf),
    /// Write it while reading.
    Yes,
}

/// A blob to be unpacked.
pub(crate) struct Source<'a> {
    pub(crate) what: String,
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    /// What the blob must be.
    pub(crate) blob: Option<(Digest, u64)>,
    pub(crate) diff_id: Digest,
    pub(crate) media_type: String,
    pub(crate) keep: Keep,
}

impl Store {
    /// Returns the layer whose tar has this digest, if it is here, and leases it.
    pub fn find_layer(&self, lease: &Lease, diff_id: &Digest) -> Result<Option<Layer>, StoreError> {
        // Only a layer that is there costs a write.
        let there = self.database.read(|c| layer_by_diff_id(c, diff_id))?;
        if there.is_none() {
            return Ok(None);
        }
        self.database.write(|t| {
            let layer = layer_by_diff_id(t, diff_id)?;
            if let Some(layer) = &layer {
                lease.keep_layer(t, &layer.id)?;
            }
            Ok(layer)
        })
    }

    /// Returns layers by their ids, in the order that was asked for.
    pub fn layers_by_id(&self, ids: &[LayerId]) -> Result<Vec<Layer>, StoreError> {
        self.database
            .read(|c| ids.iter().map(|id| layer_by_id(c, id)).collect())
    }

    /// Reads a layer's blob once: hashes it, keeps it, inflates it, hashes the tar and unpacks it; records the layer
    /// only if both digests and the size are right. If another process is unpacking the same layer, waits for it
    /// and reads nothing.
    ///
    /// A layer with hard links to files of lower layers gives [`StoreError::NeedsParents`]; its blob is kept then, so
    /// that [`Store::unpack_layer_over`] reads nothing again.
    pub fn unpack_layer(
        &self,
        lease: &Lease,
        blob: &oci::Descriptor,
        diff_id: &Digest,
        open: &mut dyn FnMut() -> std::io::Result<Box<dyn Read + Send>>,
    ) -> Result<Layer, StoreError> {
        self.unpack_layer_over(lease, blob, diff_id, &[], open)
    }

    /// Like [`Store::unpack_layer`]; `parents` (bottom first) serve hard links to files of lower layers.
    pub fn unpack_layer_over(
        &self,
        lease: &Lease,
        blob: &oci::Descriptor,
        diff_id: &Digest,
        parents: &[LayerId],
        open: &mut dyn FnMut() -> std::io::Result<Box<dyn Read + Send>>,
    ) -> Result<Layer, StoreError> {
        let media_type = blob.media_type().to_string();
        if LayerMediaType::recognise(blob.media_type()).is_none() {
            return Err(StoreError::MediaType(media_type));
        }
        let text = blob.digest().to_string();
        let digest: Digest = text
            .parse()
            .map_err(|source: oci::DigestError| StoreError::Archive(source.to_string()))?;
        let source = |reader, keep| Source {
            what: format!("the blob {digest}"),
            reader,
            blob: Some((digest, blob.size())),
            diff_id: *diff_id,
            media_type: media_type.clone(),
            keep,
        };
        self.once(lease, diff_id, || {
            let kept = self.find_blob(lease, &digest)?;
            if let Some(file) = kept.map_or(Ok(None), |_| self.open_blob(&digest))? {
                match self.unpack(lease, source(Box::new(file), Keep::No), parents) {
                    // Our copy is damaged: get another.
                    Err(StoreError::Digest { .. } | StoreError::Inflate { .. } | StoreError::Size { .. }) => {
                        self.drop_blob(&digest)?;
                    }
                    result => return result,
                }
            }
            let reader = open().map_err(|error| StoreError::Source {
                what: format!("the blob {digest}"),
                source: error,
            })?;
            self.unpack(lease, source(reader, Keep::Yes), parents)
        })
    }

    /// Runs `unpack` unless the layer is here, or another process or thread is about to have it. Whoever waits for
    /// one that dies or fails takes over.
    pub(crate) fn once(
        &self,
        lease: &Lease,
        diff_id: &Digest,
        unpack: impl FnOnce() -> Result<Layer, StoreError>,
    ) -> Result<Layer, StoreError> {
        if let Some(layer) = self.find_layer(lease, diff_id)? {
            return Ok(layer);
        }
        let path = self.directory("locks").join(diff_id.hex());
        let lock = Lock::exclusive(&path)?;
        let layer = match self.find_layer(lease, diff_id) {
            Ok(Some(layer)) => Ok(layer),
            Ok(None) => unpack(),
            Err(error) => Err(error),
        };
        sys::failpoint::pass("layer.placed");
        // While it is held, so that nobody can have taken the file's successor.
        let removed = sys::fs::remove_all(&path);
        drop(lock);
        let layer = layer?;
        removed?;
        Ok(layer)
    }

    /// Unpacks a blob aside, checks it, and moves layer and blob in.
    pub(crate) fn unpack(
        &self,
        lease: &Lease,
        source: Source<'_>,
        parents: &[LayerId],
    ) -> Result<Layer, StoreError> {
        let directory = lease.temporary()?;
        make_directory(&directory.0, 0o755)?;
        sys::failpoint::reach("layer.directory")?;
        let file = lease.temporary()?;
        let keep = match source.keep {
            Keep::Yes => Some((file.0.as_path(), create(&file.0)?)),
            Keep::No | Keep::Spooled(_) => None,
        };
        let lower = self.open_layers(parents)?;
        let outcome = pipeline::run(Job {
            what: source.what.clone(),
            source: source.reader,
            size: source.blob.map(|(_, size)| size),
            keep,
            root: open_directory(&directory.0)?,
            lower: &lower,
            limits: self.limits,
        })?;
        sys::failpoint::reach("layer.unpacked")?;
        let extracted = match outcome.extracted {
            Err(error) if !matches!(error, ExtractError::NeedsParents { .. }) => {
                return Err(StoreError::Extract {
                    layer: source.diff_id.to_string(),
                    source: error,
                });
            }
            extracted => extracted,
        };
        if let Some((expected, _)) = source.blob {
            check(source.what, &expected, &outcome.blob)?;
        }
        check(
            format!("the layer {}", source.diff_id),
            &source.diff_id,
            &outcome.diff_id,
        )?;
        let blob_file = match source.keep {
            Keep::Yes => Some(file.0.clone()),
            // A tar that the directory gives again byte for byte need not be kept beside it.
            Keep::Spooled(_) if outcome.blob == outcome.diff_id && gives(&directory.0, &outcome.diff_id) => {
                None
            }
            Keep::Spooled(path) => Some(path),
            Keep::No => None,
        };
        let record_blob = |connection: &Connection| -> Result<(), StoreError> {
            match &blob_file {
                Some(path) => self.place_blob(connection, lease, path, &outcome.blob, outcome.blob_size)?,
                None if source.blob.is_none() => return Ok(()),
                None => {}
            }
            set_layer_blob(connection, &outcome.blob, &outcome.diff_id, &source.media_type)?;
            Ok(())
        };
        match extracted {
            Ok(extracted) => {
                self.place_layer(lease, &directory, &outcome.diff_id, extracted.size, record_blob)
            }
            Err(ExtractError::NeedsParents { member, .. }) => {
                self.database.write(|t| record_blob(t))?;
                Err(StoreError::NeedsParents {
                    diff_id: source.diff_id,
                    member,
                })
            }
            Err(error) => Err(StoreError::Extract {
                layer: source.diff_id.to_string(),
                source: error,
            }),
        }
    }

    fn open_layers(&self, layers: &[LayerId]) -> Result<Vec<Tree>, SysError> {
        layers
            .iter()
            .rev()
            .map(|id| Tree::open(&self.layer_path(id)))
            .collect()
    }

    /// Moves a finished directory in as a layer and leases it, in one transaction with `also`. If there is one with
    /// this `diff_id`, returns that one and leaves the directory where it is.
    pub(crate) fn place_layer(
        &self,
        lease: &Lease,
        directory: &Temporary,
        diff_id: &Digest,
        size: u64,
        also: impl FnOnce(&Connection) -> Result<(), StoreError>,
    ) -> Result<Layer, StoreError> {
        let id = LayerId(random_name()?);
        let path = self.layer_path(&id);
        let boot = sys::fs::boot_id()?;
        let placed = self.database.write(|t| {
            also(t)?;
            if let Some(layer) = layer_by_diff_id(t, diff_id)? {
                lease.keep_layer(t, &layer.id)?;
                return Ok(layer);
            }
            sys::fs::rename_to_new(&directory.0, &path)?;
            sys::failpoint::reach("layer.renamed")?;
            t.prepare_cached(
                "INSERT INTO layers (id, diff_id, size, durable, boot, created) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
            )?
            .execute(params![id.0, diff_id.to_string(), size, boot, now()])?;
            lease.keep_layer(t, &id)?;
            Ok(Layer {
                id: id.clone(),
                diff_id: *diff_id,
                size,
            })
        });
        if placed.is_err() {
            // Nothing records it; the first failure is the one to report.
            sys::fs::remove_all(&path).unwrap_or_default();
        }
        placed
    }

    /// Writes a layer's tar, whose digest is its `diff_id`.
    pub fn write_layer_tar(&self, layer: &Layer, into: &mut dyn Write) -> Result<(), StoreError> {
        let mut hashed = Hashed::new(into);
        match self.open_layer_blob(&layer.diff_id)? {
            Some((digest, file)) => {
                let what = || format!("the blob {digest}");
                let failed = |source| StoreError::Inflate { what: what(), source };
                let mut reader = inflate::with_start(file)
                    .and_then(inflate::inflate)
                    .map_err(failed)?;
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    match reader.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(length) => hashed
                            .write_all(&buffer[..length])
                            .map_err(|error| StoreError::Tar(crate::TarError::Write(error)))?,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
            }
            None => {
                tree_tar::write(&self.layer_path(&layer.id), &mut hashed)?;
            }
        }
        check(
            format!("the layer {}", layer.diff_id),
            &layer.diff_id,
            &hashed.digest(),
        )
    }

    /// Returns how many bytes [`Store::write_layer_tar`] writes.
    pub fn layer_tar_size(&self, layer: &Layer) -> Result<u64, StoreError> {
        match self.open_layer_blob(&layer.diff_id)? {
            Some((digest, file)) => {
                let failed = |source| StoreError::Inflate {
                    what: format!("the blob {digest}"),
                    source,
                };
                if digest == layer.diff_id {
                    return Ok(file.metadata().map_err(failed)?.len());
                }
                let mut reader = inflate::with_start(file)
                    .and_then(inflate::inflate)
                    .map_err(failed)?;
                std::io::copy(&mut reader, &mut std::io::sink()).map_err(failed)
            }
            None => tree_tar::size(&self.layer_path(&layer.id)),
        }
    }

    /// Opens a blob that holds the layer's tar, compressed or not; the uncompressed one first.
    fn open_layer_blob(&self, diff_id: &Digest) -> Result<Option<(Digest, File)>, StoreError> {
        for (digest, _, _) in self.layer_blobs(diff_id)? {
            if let Some(file) = self.open_blob(&digest)? {
                return Ok(Some((digest, file)));
            }
        }
        Ok(None)
    }

    /// Returns the blobs known to hold a layer's tar that are here: digest, size and media type.
    pub fn layer_blobs(&self, diff_id: &Digest) -> Result<Vec<(Digest, u64, String)>, StoreError> {
        let rows: Vec<(String, u64, String)> =
            self.database.read(|c| {
                c.prepare_cached(
                "SELECT b.digest, b.size, l.media_type FROM layer_blobs l JOIN blobs b ON b.digest = l.digest
                 WHERE l.diff_id = ?1 ORDER BY b.digest <> l.diff_id, b.digest",
            )?
            .query_map([diff_id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()
            .map_err(StoreError::from)
            })?;
        Ok(rows
            .into_iter()
            .filter_map(|(digest, size, media_type)| Some((digest.parse().ok()?, size, media_type)))
            .collect())
    }

    /// Stores a blob that holds a layer's tar in another form, made by `write` (compressed, for a push), so that it
    /// need not be made again. Returns its digest and size.
    pub fn add_layer_blob(
        &self,
        lease: &Lease,
        layer: &Layer,
        media_type: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(Digest, u64), StoreError> {
        let temporary = lease.temporary()?;
        let mut hashed = Hashed::new(std::io::BufWriter::with_capacity(
            256 * 1024,
            create(&temporary.0)?,
        ));
        write(&mut hashed)
            .and_then(|()| hashed.flush())
            .map_err(|error| SysError::io("write", &temporary.0, &error))?;
        let digest = hashed.digest();
        let size = rustix::fs::lstat(&temporary.0)
            .map_err(SysError::on("look at", &temporary.0))?
            .st_size;
        let size = u64::try_from(size).unwrap_or(0);
        self.keep_layer_blob(lease, layer, &temporary.0, (&digest, size), media_type)?;
        Ok((digest, size))
    }

    /// Moves a finished file in as a blob of a layer.
    pub(crate) fn keep_layer_blob(
        &self,
        lease: &Lease,
        layer: &Layer,
        file: &Path,
        (digest, size): (&Digest, u64),
        media_type: &str,
    ) -> Result<(), StoreError> {
        self.database.write(|t| {
            self.place_blob(t, lease, file, digest, size)?;
            set_layer_blob(t, digest, &layer.diff_id, media_type)?;
            Ok(())
        })
    }

    /// Says whether a layer's directory still gives the tar with its `diff_id`.
    pub(crate) fn is_reproducible(&self, layer: &Layer) -> bool {
        gives(&self.layer_path(&layer.id), &layer.diff_id)
    }

    /// Says whether a blob's file has its digest.
    pub(crate) fn is_sound(&self, digest: &Digest) -> bool {
        File::open(self.blob_path(digest))
            .and_then(digest_of_stream)
            .is_ok_and(|found| found == *digest)
    }
}

/// Says whether a directory's tar has this digest.
fn gives(directory: &Path, diff_id: &Digest) -> bool {
    let mut hashed = Hashed::new(std::io::sink());
    tree_tar::write(directory, &mut hashed).is_ok() && hashed.digest() == *diff_id
}

fn set_layer_blob(
    connection: &Connection,
    digest: &Digest,
    diff_id: &Digest,
    media_type: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO layer_blobs (digest, diff_id, media_type) VALUES (?1, ?2, ?3)",
        )?
        .execute([&digest.to_string(), &diff_id.to_string(), media_type])?;
    Ok(())
}

fn check(what: String, expected: &Digest, found: &Digest) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::Digest {
        what,
        expected: *expected,
        found: *found,
    })
}

/// Opens one of the store's own directories, to walk from it.
pub(crate) fn open_directory(path: &Path) -> Result<std::os::fd::OwnedFd, SysError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(SysError::on("open the directory", path))
}

pub(crate) fn layer_by_diff_id(
    connection: &Connection,
    diff_id: &Digest,
) -> Result<Option<Layer>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT id, size FROM layers WHERE diff_id = ?1")?
        .query_row([diff_id.to_string()], |row| {
            Ok(Layer {
                id: LayerId(row.get(0)?),
                diff_id: *diff_id,
                size: row.get(1)?,
            })
        })
        .optional()?)
}

pub(crate) fn layer_by_id(connection: &Connection, id: &LayerId) -> Result<Layer, StoreError> {
    let row: Option<(Option<String>, u64)> = connection
        .prepare_cached("SELECT diff_id, size FROM layers WHERE id = ?1")?
        .query_row([&id.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.and_then(|(diff_id, size)| {
        Some(Layer {
            id: id.clone(),
            diff_id: diff_id?.parse().ok()?,
            size,
        })
    })
    .ok_or_else(|| StoreError::NoSuchLayer(id.0.clone()))
}
