//! Artifacts: what registries keep that is no image. A manifest and its blobs, byte for byte.

use crate::blobs::{create, digest_of, finished, hasher};
use crate::root::now;
use crate::{Lease, Store, StoreError};
use oci::{Digest, Manifest, Reference, descriptor_digest};
use rusqlite::{Connection, OptionalExtension, params};
use std::io::{Read, Write};
use sys::SysError;

/// An artifact as the store has it.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The digest of its manifest, which is its id.
    pub digest: Digest,
    /// Its `artifactType`, or the media type of its configuration.
    pub kind: String,
    /// Bytes of all its blobs.
    pub size: u64,
    /// When it came to be here: nanoseconds since 1970.
    pub created: i64,
    /// The references that lead to it, sorted.
    pub tags: Vec<Reference>,
    /// `repository@digest` under which registries know it, sorted.
    pub repository_digests: Vec<Reference>,
}

impl Store {
    /// Records an artifact whose manifest and blobs are here, and moves tags to it. Without tags and repository it stays
    /// only as long as an index that is here lists it.
    pub fn record_artifact(
        &self,
        raw: &[u8],
        tags: &[Reference],
        repository: Option<&Reference>,
    ) -> Result<Artifact, StoreError> {
        self.database.write(|t| record(t, raw, tags, repository))
    }

    /// Stores what a reader gives as a blob, if it is what its digest and size say.
    pub fn put_blob_from(
        &self,
        lease: &Lease,
        (expected, size): (Digest, u64),
        reader: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let temporary = lease.temporary()?;
        let mut file = create(&temporary.0)?;
        let mut context = hasher();
        let mut buffer = vec![0; 256 * 1024];
        let mut length = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    length += count as u64;
                    if length > size {
                        break;
                    }
                    context.update(&buffer[..count]);
                    file.write_all(&buffer[..count])
                        .map_err(|error| SysError::io("write", &temporary.0, &error))?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(StoreError::Source {
                        what: format!("the blob {expected}"),
                        source,
                    });
                }
            }
        }
        let found = finished(context);
        if found != expected || length != size {
            return Err(StoreError::Digest {
                what: format!("the blob {expected}"),
                expected,
                found,
            });
        }
        self.database
            .write(|t| self.place_blob(t, lease, &temporary.0, &expected, size))
    }

    /// Returns all artifacts that have a name, the newest first.
    pub fn artifacts(&self) -> Result<Vec<Artifact>, StoreError> {
        self.select_artifacts(
            "SELECT digest FROM artifacts a WHERE EXISTS (SELECT 1 FROM tags WHERE artifact = a.digest)
               OR EXISTS (SELECT 1 FROM artifact_repositories WHERE artifact = a.digest)
             ORDER BY created DESC, digest",
            &[],
        )
    }

    /// Returns the artifacts whose digests begin with `hex`.
    pub fn artifacts_by_prefix(&self, hex: &str) -> Result<Vec<Artifact>, StoreError> {
        // 'g' is the first letter after all hex digits.
        self.select_artifacts(
            "SELECT digest FROM artifacts WHERE digest >= ?1 AND digest < ?2 ORDER BY digest",
            &[format!("sha256:{hex}"), format!("sha256:{hex}g")],
        )
    }

    /// Returns the artifact that a reference leads to: by its digest if it has one, else by its tag.
    pub fn artifact_by_reference(&self, reference: &Reference) -> Result<Option<Artifact>, StoreError> {
        let mut found = match reference.digest() {
            Some(digest) => self.select_artifacts(
                "SELECT artifact FROM artifact_repositories WHERE repository = ?1 AND artifact = ?2",
                &[reference.name(), digest.to_string()],
            )?,
            None => self.select_artifacts(
                "SELECT artifact FROM tags WHERE reference = ?1 AND artifact IS NOT NULL",
                &[reference.to_string()],
            )?,
        };
        Ok(found.pop())
    }

    fn select_artifacts(&self, sql: &str, values: &[String]) -> Result<Vec<Artifact>, StoreError> {
        self.database.read(|c| {
            let ids: Vec<String> = c
                .prepare_cached(sql)?
                .query_map(rusqlite::params_from_iter(values), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            ids.iter().filter_map(|id| read(c, id).transpose()).collect()
        })
    }

    /// Makes `reference` lead to an artifact.
    pub fn tag_artifact(&self, artifact: &Digest, reference: &Reference) -> Result<(), StoreError> {
        self.database.write(|t| Ok(set_tag(t, artifact, reference)?))
    }

    /// Removes an artifact's record with its tags. Its blobs go with the next garbage collection.
    pub fn remove_artifact(&self, artifact: &Digest) -> Result<(), StoreError> {
        self.database.write(|t| {
            let id = artifact.to_string();
            t.prepare_cached("DELETE FROM tags WHERE artifact = ?1")?
                .execute([&id])?;
            t.prepare_cached("DELETE FROM artifact_repositories WHERE artifact = ?1")?
                .execute([&id])?;
            Ok(drop_unused(t)?)
        })
    }

    /// Takes one name, a tag or `repository@digest`, from an artifact. Without names it goes with the next garbage
    /// collection.
    pub fn untag_artifact(&self, artifact: &Digest, reference: &Reference) -> Result<(), StoreError> {
        self.database.write(|t| {
            let id = artifact.to_string();
            if reference.digest().is_some() {
                t.prepare_cached(
                    "DELETE FROM artifact_repositories WHERE artifact = ?1 AND repository = ?2",
                )?
                .execute([&id, &reference.name()])?;
            } else {
                t.prepare_cached("DELETE FROM tags WHERE artifact = ?1 AND reference = ?2")?
                    .execute([&id, &reference.to_string()])?;
            }
            Ok(())
        })
    }
}

/// Does what [`Store::record_artifact`] does, within a write transaction.
pub(crate) fn record(
    connection: &Connection,
    raw: &[u8],
    tags: &[Reference],
    repository: Option<&Reference>,
) -> Result<Artifact, StoreError> {
    let digest = digest_of(raw);
    let unusable = |source| StoreError::Manifest { digest, source };
    let Manifest::Image(manifest) = Manifest::parse(raw, None).map_err(unusable)? else {
        return Err(StoreError::Archive(format!("the manifest {digest} is an index")));
    };
    let kind = manifest.artifact_type().as_ref();
    let kind = kind.unwrap_or(manifest.config().media_type()).to_string();
    let blobs: Vec<_> = std::iter::once(manifest.config())
        .chain(manifest.layers())
        .collect();
    let size = raw.len() as u64 + blobs.iter().map(|blob| blob.size()).sum::<u64>();
    let id = digest.to_string();
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO artifacts (digest, kind, size, created) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, kind, size, now()])?;
    for blob in blobs {
        let blob = descriptor_digest(blob).map_err(unusable)?;
        connection
            .prepare_cached("INSERT OR IGNORE INTO artifact_blobs (artifact, blob) VALUES (?1, ?2)")?
            .execute([&id, &blob.to_string()])?;
    }
    for reference in tags {
        set_tag(connection, &digest, reference)?;
    }
    if let Some(repository) = repository {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO artifact_repositories (repository, artifact) VALUES (?1, ?2)",
            )?
            .execute([&repository.name(), &id])?;
    }
    read(connection, &id)?.ok_or(StoreError::NoSuchImage(digest))
}

/// Removes artifacts that have no name and that no index lists, within a write transaction.
pub(crate) fn drop_unused(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM artifacts WHERE NOT EXISTS (SELECT 1 FROM tags WHERE artifact = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM artifact_repositories WHERE artifact = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM index_members WHERE manifest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM leases WHERE kind = 'blob' AND object = artifacts.digest)",
        [],
    )?;
    Ok(())
}

fn set_tag(connection: &Connection, artifact: &Digest, reference: &Reference) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO tags (reference, artifact, updated) VALUES (?1, ?2, ?3)")?
        .execute(params![
            crate::images::tag_text(reference),
            artifact.to_string(),
            now()
        ])?;
    Ok(())
}

fn read(connection: &Connection, id: &str) -> Result<Option<Artifact>, StoreError> {
    let row: Option<(String, u64, i64)> = connection
        .prepare_cached("SELECT kind, size, created FROM artifacts WHERE digest = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((kind, size, created)) = row else {
        return Ok(None);
    };
    let references = |sql: &str| -> Result<Vec<Reference>, StoreError> {
        let mut references: Vec<Reference> = connection
            .prepare_cached(sql)?
            .query_map([id], |row| row.get(0))?
            .map(|text| {
                let text: String = text?;
                Ok(text.parse()?)
            })
            .collect::<Result<_, StoreError>>()?;
        references.sort();
        Ok(references)
    };
    Ok(Some(Artifact {
        digest: id
            .parse()
            .map_err(|error: oci::DigestError| StoreError::Archive(error.to_string()))?,
        kind,
        size,
        created,
        tags: references("SELECT reference FROM tags WHERE artifact = ?1")?,
        repository_digests: references(
            "SELECT repository || '@' || artifact FROM artifact_repositories WHERE artifact = ?1",
        )?,
    }))
}
