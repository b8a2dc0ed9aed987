//! Indexes: images for several platforms under one name, and what goes with them.

use crate::blobs::digest_of;
use crate::images::{ImageRow, record, set_listed_tag};
use crate::root::{now, random_name};
use crate::{Image, NewImage, Store, StoreError};
use oci::{Descriptor, Digest, Manifest, Platform, Reference, descriptor_digest};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Annotation of attestations, which sit among the images of an index and are none.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// The type of an image's manifest in an index that is made here.
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An index as the store has it.
#[derive(Debug, Clone)]
pub struct Index {
    /// The digest of its bytes, or our own name for one that was built here and has none yet.
    pub id: String,
    /// The digest of its bytes, which are a blob.
    pub digest: Option<Digest>,
    /// When it came to be here: nanoseconds since 1970.
    pub created: i64,
    /// As it lists them.
    pub members: Vec<IndexMember>,
    /// The references that lead to it, sorted.
    pub tags: Vec<Reference>,
}

/// What an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMember {
    /// Its manifest's digest; none where the image was built here and has no manifest yet.
    pub manifest: Option<Digest>,
    /// Its manifest's type.
    pub media_type: String,
    /// Its manifest's size.
    pub size: u64,
    /// What it is for; none for attestations and whatever else is no image of a platform.
    pub platform: Option<Platform>,
    /// The image, if it is here.
    pub image: Option<Digest>,
    /// Whether it is here, as an image or as an artifact.
    pub is_here: bool,
}

impl Index {
    /// Says whether everything that it lists is here.
    pub fn is_whole(&self) -> bool {
        self.members.iter().all(|member| member.is_here)
    }

    /// Returns the members that are images for a platform.
    pub fn platforms(&self) -> impl Iterator<Item = (&IndexMember, &Platform)> {
        let of_platform = |member: &IndexMember| member.platform.is_some();
        self.members
            .iter()
            .filter(move |member| of_platform(member))
            .filter_map(|member| Some((member, member.platform.as_ref()?)))
    }
}

impl Store {
    /// Records an image as one of an index's. `raw` are the index's bytes, which are in the store as a blob; `entry` is the
    /// digest under which the index lists what led to the image. The tags lead to the index then, and where no platform is
    /// asked for to that image of it which is here and serves this machine best.
    pub fn record_member(
        &self,
        image: &NewImage<'_>,
        raw: &[u8],
        entry: &Digest,
    ) -> Result<Image, StoreError> {
        let id = self.database.write(|t| record_listed(t, image, raw, entry))?;
        self.image_by_id(&id)?.ok_or(StoreError::NoSuchImage(id))
    }

    /// Records images that were built here, one a platform, as an index that has no bytes yet, and moves tags to it.
    pub fn record_made_index(&self, images: &[Digest], tags: &[Reference]) -> Result<(), StoreError> {
        let list = random_name()?;
        self.database.write(|t| {
            let mut members = Vec::new();
            for image in images {
                let platform: Option<String> = t
                    .prepare_cached("SELECT platform FROM images WHERE id = ?1")?
                    .query_row([image.to_string()], |row| row.get(0))
                    .optional()?;
                let platform = platform.ok_or(StoreError::NoSuchImage(*image))?;
                members.push(IndexMember {
                    manifest: None,
                    media_type: MANIFEST_TYPE.to_owned(),
                    size: 0,
                    platform: platform.parse().ok(),
                    image: Some(*image),
                    is_here: true,
                });
            }
            insert(t, &list, None, &members)?;
            for reference in tags {
                for image in images {
                    set_listed_tag(t, image, &list, reference)?;
                }
            }
            Ok(())
        })
    }

    /// Gives an index that was built here its bytes, which are in the store as a blob, now that its images have
    /// manifests. Tags of it stay; its images are known in `repository` by its digest from now on.
    pub fn complete_index(&self, id: &str, raw: &[u8]) -> Result<Digest, StoreError> {
        let members = members_of(raw)?;
        let digest = digest_of(raw);
        let list = digest.to_string();
        self.database.write(|t| {
            insert(t, &list, Some(&list), &members)?;
            t.prepare_cached(
                "UPDATE index_members SET image = (SELECT old.image FROM index_members old
                   WHERE old.list = ?2 AND old.position = index_members.position)
                 WHERE list = ?1",
            )?
            .execute([&list, id])?;
            t.prepare_cached("UPDATE tags SET list = ?1 WHERE list = ?2")?
                .execute([&list, id])?;
            t.prepare_cached("DELETE FROM indexes WHERE id = ?1")?
                .execute([id])?;
            Ok::<_, StoreError>(())
        })?;
        Ok(digest)
    }

    /// Returns the index that a reference leads to, by its tag or by the index's own digest.
    pub fn index_by_reference(&self, reference: &Reference) -> Result<Option<Index>, StoreError> {
        self.database.read(|c| {
            let id: Option<String> = match reference.digest() {
                Some(digest) => c
                    .prepare_cached(
                        "SELECT x.id FROM indexes x WHERE x.digest = ?2 AND EXISTS
                           (SELECT 1 FROM repository_digests d WHERE d.repository = ?1 AND d.digest = ?2)",
                    )?
                    .query_row([reference.name(), digest.to_string()], |row| row.get(0))
                    .optional()?,
                None => c
                    .prepare_cached("SELECT list FROM tags WHERE reference = ?1")?
                    .query_row([reference.to_string()], |row| row.get(0))
                    .optional()?
                    .flatten(),
            };
            id.map(|id| read(c, &id)).transpose().map(Option::flatten)
        })
    }

    /// Returns all indexes that tags lead to, the newest first.
    pub fn indexes(&self) -> Result<Vec<Index>, StoreError> {
        self.database.read(|c| {
            let ids: Vec<String> = c
                .prepare_cached(
                    "SELECT id FROM indexes WHERE EXISTS (SELECT 1 FROM tags WHERE list = indexes.id)
                     ORDER BY created DESC, id",
                )?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            ids.iter()
                .filter_map(|id| read(c, id).transpose())
                .collect::<Result<_, StoreError>>()
        })
    }

    /// Returns the image for a platform that a reference leads to: the nearest of those that are here.
    pub fn image_for(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, StoreError> {
        self.database.read(|c| {
            let rows = match reference.digest() {
                Some(digest) => ImageRow::select(
                    c,
                    "FROM repository_digests d JOIN images i ON i.id = d.image
                     WHERE d.repository = ?1 AND d.digest = ?2 ORDER BY i.created DESC, i.id",
                    &[&reference.name(), &digest.to_string()],
                )?,
                None => ImageRow::select(
                    c,
                    "FROM images i WHERE i.id IN (
                       SELECT image FROM tags WHERE reference = ?1
                       UNION SELECT m.image FROM tags t JOIN index_members m ON m.list = t.list WHERE t.reference = ?1)
                     ORDER BY i.created DESC, i.id",
                    &[&reference.to_string()],
                )?,
            };
            rows.into_iter()
                .filter_map(|row| {
                    let found: Platform = row.platform.parse().ok()?;
                    let rank = platform.rank(&found).filter(|_| platform.accepts(&found))?;
                    Some((rank, row))
                })
                .min_by_key(|(rank, _)| *rank)
                .map(|(_, row)| row.complete(c))
                .transpose()
        })
    }
}

/// Does what [`Store::record_member`] does, within a write transaction.
pub(crate) fn record_listed(
    connection: &Connection,
    image: &NewImage<'_>,
    raw: &[u8],
    entry: &Digest,
) -> Result<Digest, StoreError> {
    let members = members_of(raw)?;
    let list = digest_of(raw).to_string();
    let id = record(connection, &NewImage { tags: &[], ..*image })?;
    insert(connection, &list, Some(&list), &members)?;
    connection
        .prepare_cached("UPDATE index_members SET image = ?1 WHERE list = ?2 AND manifest = ?3")?
        .execute(params![id.to_string(), list, entry.to_string()])?;
    for reference in image.tags {
        set_listed_tag(connection, &id, &list, reference)?;
    }
    Ok(id)
}

/// Removes indexes that nothing leads to any more, within a write transaction.
pub(crate) fn drop_unused(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM indexes WHERE NOT EXISTS (SELECT 1 FROM tags WHERE list = indexes.id)
           AND NOT EXISTS (SELECT 1 FROM repository_digests WHERE digest = indexes.digest)",
        [],
    )?;
    Ok(())
}

/// Before an image goes, makes the tags that lead to it lead to another image of their index, if one is here.
pub(crate) fn pass_tags_on(connection: &Connection, image: &Digest) -> Result<(), StoreError> {
    let tags: Vec<(String, String)> = connection
        .prepare_cached("SELECT reference, list FROM tags WHERE image = ?1 AND list IS NOT NULL")?
        .query_map([image.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (reference, list) in tags {
        let others: Vec<(String, String)> = connection
            .prepare_cached(
                "SELECT i.id, i.platform FROM index_members m JOIN images i ON i.id = m.image
                 WHERE m.list = ?1 AND i.id <> ?2 ORDER BY m.position",
            )?
            .query_map([list, image.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let host = Platform::host();
        let nearest = others.iter().min_by_key(|(_, platform)| {
            let rank = platform.parse().ok().and_then(|platform| host.rank(&platform));
            rank.unwrap_or(u32::MAX)
        });
        if let Some((other, _)) = nearest {
            connection
                .prepare_cached("UPDATE tags SET image = ?1 WHERE reference = ?2")?
                .execute([other, &reference])?;
        }
    }
    Ok(())
}

/// Records an index; one that is here already stays as it is. Images that are here are linked to it.
fn insert(
    connection: &Connection,
    id: &str,
    digest: Option<&str>,
    members: &[IndexMember],
) -> rusqlite::Result<()> {
    let inserted = connection
        .prepare_cached("INSERT OR IGNORE INTO indexes (id, digest, created) VALUES (?1, ?2, ?3)")?
        .execute(params![id, digest, now()])?;
    if inserted == 0 {
        return Ok(());
    }
    for (position, member) in members.iter().enumerate() {
        let manifest = member.manifest.map(|digest| digest.to_string());
        connection
            .prepare_cached(
                "INSERT INTO index_members (list, position, manifest, media_type, size, platform, image)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, (SELECT id FROM images WHERE manifest = ?3)))",
            )?
            .execute(params![
                id,
                position,
                manifest,
                member.media_type,
                member.size,
                member.platform.as_ref().map(ToString::to_string),
                member.image.map(|image| image.to_string()),
            ])?;
    }
    Ok(())
}

fn read(connection: &Connection, id: &str) -> Result<Option<Index>, StoreError> {
    let head: Option<(Option<String>, i64)> = connection
        .prepare_cached("SELECT digest, created FROM indexes WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((digest, created)) = head else {
        return Ok(None);
    };
    let members = connection
        .prepare_cached(
            "SELECT manifest, media_type, size, platform, image,
                    image IS NOT NULL OR EXISTS (SELECT 1 FROM artifacts WHERE digest = manifest)
             FROM index_members WHERE list = ?1 ORDER BY position",
        )?
        .query_map([id], member)?
        .collect::<rusqlite::Result<_>>()?;
    let mut tags: Vec<Reference> = connection
        .prepare_cached("SELECT reference FROM tags WHERE list = ?1")?
        .query_map([id], |row| row.get(0))?
        .map(|text| {
            let text: String = text?;
            Ok(text.parse()?)
        })
        .collect::<Result<_, StoreError>>()?;
    tags.sort();
    Ok(Some(Index {
        id: id.to_owned(),
        digest: digest.and_then(|text| text.parse().ok()),
        created,
        members,
        tags,
    }))
}

fn member(row: &Row<'_>) -> rusqlite::Result<IndexMember> {
    let parsed = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let platform: Option<String> = row.get(3)?;
    Ok(IndexMember {
        manifest: parsed(row.get(0)?),
        media_type: row.get(1)?,
        size: row.get(2)?,
        platform: platform.and_then(|text| text.parse().ok()),
        image: parsed(row.get(4)?),
        is_here: row.get(5)?,
    })
}

/// Reads what an index lists.
fn members_of(raw: &[u8]) -> Result<Vec<IndexMember>, StoreError> {
    let unusable = |source| StoreError::Manifest {
        digest: digest_of(raw),
        source,
    };
    match Manifest::parse(raw, None).map_err(unusable)? {
        Manifest::Index(index) => index
            .manifests()
            .iter()
            .map(|entry| {
                Ok(IndexMember {
                    manifest: Some(descriptor_digest(entry).map_err(unusable)?),
                    media_type: entry.media_type().to_string(),
                    size: entry.size(),
                    platform: platform_of(entry),
                    image: None,
                    is_here: false,
                })
            })
            .collect(),
        Manifest::Image(_) => Err(StoreError::Archive(format!(
            "the manifest {} is no index",
            digest_of(raw)
        ))),
    }
}

/// What an entry of an index is for; `None` for attestations, and for what names no platform.
pub(crate) fn platform_of(entry: &Descriptor) -> Option<Platform> {
    let annotations = entry.annotations().as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(ATTESTATION)) {
        return None;
    }
    let platform = entry.platform().as_ref()?;
    let platform = Platform::new(
        &platform.os().to_string(),
        &platform.architecture().to_string(),
        platform.variant().as_deref().unwrap_or_default(),
    );
    (platform.os != "unknown").then_some(platform)
}
