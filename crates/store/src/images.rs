//! Images and the names that lead to them.

use crate::blobs::digest_of;
use crate::root::now;
use crate::{Layer, LayerId, Store, StoreError, indexes, layers};
use oci::{Digest, ImageConfig, Platform, Reference};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

/// An image as the store has it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of `raw_config`.
    pub id: Digest,
    /// The configuration, read.
    pub config: ImageConfig,
    /// The configuration, byte for byte.
    pub raw_config: Vec<u8>,
    /// The digest of the manifest that it came with.
    pub manifest: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// When it came to be here: nanoseconds since 1970.
    pub created: i64,
    /// The image it was built from here, if any.
    pub parent: Option<Digest>,
    /// Bottom first.
    pub layers: Vec<Layer>,
    /// The references that lead to it, sorted.
    pub tags: Vec<Reference>,
    /// The references that lead to an index in which it is the image for another platform, sorted.
    pub variant_of: Vec<Reference>,
    /// `repository@digest` under which registries know it, sorted.
    pub repository_digests: Vec<Reference>,
}

/// An image to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct NewImage<'a> {
    /// The configuration, byte for byte.
    pub raw_config: &'a [u8],
    /// The manifest's digest, whose blob is in the store.
    pub manifest: Option<Digest>,
    /// Bottom first; their `diff_ids` must be those of the configuration.
    pub layers: &'a [LayerId],
    /// The image it was built from.
    pub parent: Option<Digest>,
    /// References to move to it.
    pub tags: &'a [Reference],
    /// `repository@digest` under which a registry knows it.
    pub repository_digest: Option<&'a Reference>,
}

const COLUMNS: &str = "i.id, i.config, i.manifest, i.platform, i.size, i.created, i.parent";

impl Store {
    /// Records an image and moves tags to it, in one transaction. Recording one that is here already only adds.
    pub fn record_image(&self, image: &NewImage<'_>) -> Result<Image, StoreError> {
        let id = self.database.write(|t| record(t, image))?;
        self.image_by_id(&id)?.ok_or(StoreError::NoSuchImage(id))
    }

    /// Returns an image by its whole id.
    pub fn image_by_id(&self, id: &Digest) -> Result<Option<Image>, StoreError> {
        self.database.read(|c| {
            let sql = format!("SELECT {COLUMNS} FROM images i WHERE i.id = ?1");
            c.prepare_cached(&sql)?
                .query_row([id.to_string()], ImageRow::read)
                .optional()?
                .map(|row| row.complete(c))
                .transpose()
        })
    }

    /// Returns the image that a reference leads to: by its digest if it has one, else by its tag.
    pub fn image_by_reference(&self, reference: &Reference) -> Result<Option<Image>, StoreError> {
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
                    "FROM tags t JOIN images i ON i.id = t.image WHERE t.reference = ?1",
                    &[&reference.to_string()],
                )?,
            };
            // An index's digest may stand for images of several platforms: this machine's first.
            let host = Platform::host();
            let is_hosts = |row: &ImageRow| {
                row.platform
                    .parse()
                    .is_ok_and(|platform: Platform| host.accepts(&platform))
            };
            let chosen = rows.iter().position(is_hosts).unwrap_or(0);
            rows.into_iter()
                .nth(chosen)
                .map(|row| row.complete(c))
                .transpose()
        })
    }

    /// Returns the images whose ids begin with `hex`.
    pub fn images_by_prefix(&self, hex: &str) -> Result<Vec<Image>, StoreError> {
        if hex.is_empty() || hex.len() > 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Vec::new());
        }
        // 'g' is the first letter after all hex digits.
        let range = [format!("sha256:{hex}"), format!("sha256:{hex}g")];
        self.list(
            &format!("SELECT {COLUMNS} FROM images i WHERE i.id >= ?1 AND i.id < ?2 ORDER BY i.id"),
            &range,
        )
    }

    /// Returns all images, the newest first.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.list(
            &format!("SELECT {COLUMNS} FROM images i ORDER BY i.created DESC, i.id"),
            &[],
        )
    }

    fn list(&self, sql: &str, values: &[String]) -> Result<Vec<Image>, StoreError> {
        self.database.read(|c| {
            let rows: Vec<ImageRow> = c
                .prepare_cached(sql)?
                .query_map(rusqlite::params_from_iter(values), ImageRow::read)?
                .collect::<rusqlite::Result<_>>()?;
            rows.into_iter().map(|row| row.complete(c)).collect()
        })
    }

    /// Makes `reference` lead to `image`; returns the image that it led to before.
    pub fn tag(&self, image: &Digest, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        self.tag_in(image, None, reference)
    }

    /// Like [`Store::tag`], with the index that the image belongs to.
    pub fn tag_in(
        &self,
        image: &Digest,
        index: Option<&str>,
        reference: &Reference,
    ) -> Result<Option<Digest>, StoreError> {
        self.database.write(|t| {
            let before: Option<String> = t
                .prepare_cached("SELECT image FROM tags WHERE reference = ?1")?
                .query_row([reference.to_string()], |row| row.get(0))
                .optional()?
                .flatten();
            let exists: bool = t
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM images WHERE id = ?1)")?
                .query_row([image.to_string()], |row| row.get(0))?;
            if !exists {
                return Err(StoreError::NoSuchImage(*image));
            }
            set_tag(t, image, index, reference)?;
            Ok(before.and_then(|id| id.parse().ok()))
        })
    }

    /// Removes a tag or a repository digest. Returns whether it was there.
    pub fn untag(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.database.write(|t| {
            let removed = match reference.digest() {
                Some(digest) => t
                    .prepare_cached("DELETE FROM repository_digests WHERE repository = ?1 AND digest = ?2")?
                    .execute([reference.name(), digest.to_string()])?,
                None => t
                    .prepare_cached("DELETE FROM tags WHERE reference = ?1")?
                    .execute([reference.to_string()])?,
            };
            Ok(removed > 0)
        })
    }

    /// Removes an image's record with its tags; a tag whose index has another image here leads to that one. Its layers
    /// and blobs go with the next garbage collection.
    pub fn remove_image(&self, image: &Digest) -> Result<(), StoreError> {
        self.database.write(|t| {
            indexes::pass_tags_on(t, image)?;
            match t
                .prepare_cached("DELETE FROM images WHERE id = ?1")?
                .execute([image.to_string()])?
            {
                0 => Err(StoreError::NoSuchImage(*image)),
                _ => Ok(()),
            }
        })
    }

    /// Adds a `repository@digest` under which a registry knows an image, after a push.
    pub fn add_repository_digest(&self, image: &Digest, reference: &Reference) -> Result<(), StoreError> {
        self.database
            .write(|t| Ok(set_repository_digest(t, image, reference)?))
    }
}

pub(crate) fn record(connection: &Connection, image: &NewImage<'_>) -> Result<Digest, StoreError> {
    let id = digest_of(image.raw_config);
    let config = parse_config(image.raw_config, &id)?;
    let layers: Vec<Layer> = image
        .layers
        .iter()
        .map(|id| layers::layer_by_id(connection, id))
        .collect::<Result<_, _>>()?;
    if !layers
        .iter()
        .map(|layer| &layer.diff_id)
        .eq(&config.rootfs.diff_ids)
    {
        return Err(StoreError::LayersDiffer {
            listed: config.rootfs.diff_ids.len(),
            given: layers.len(),
        });
    }
    let size: u64 = layers.iter().map(|layer| layer.size).sum();
    let text = |digest: &Option<Digest>| digest.map(|digest| digest.to_string());
    connection
        .prepare_cached(
            "INSERT INTO images (id, config, manifest, platform, size, created, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET manifest = coalesce(excluded.manifest, manifest),
                                            parent = coalesce(parent, excluded.parent)",
        )?
        .execute(params![
            id.to_string(),
            image.raw_config,
            text(&image.manifest),
            config.platform().to_string(),
            size,
            now(),
            text(&image.parent),
        ])?;
    for (position, layer) in layers.iter().enumerate() {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO image_layers (image, position, layer) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![id.to_string(), position, layer.id.0])?;
    }
    for reference in image.tags {
        set_tag(connection, &id, None, reference)?;
    }
    if let Some(manifest) = image.manifest {
        connection
            .prepare_cached("UPDATE index_members SET image = ?1 WHERE manifest = ?2 AND image IS NULL")?
            .execute([id.to_string(), manifest.to_string()])?;
    }
    if let Some(reference) = image.repository_digest {
        set_repository_digest(connection, &id, reference)?;
    }
    Ok(id)
}

/// A reference that also names a digest is kept by its tag alone.
pub(crate) fn tag_text(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), Some(_)) => format!("{}:{tag}", reference.name()),
        _ => reference.to_string(),
    }
}

fn set_tag(
    connection: &Connection,
    image: &Digest,
    index: Option<&str>,
    reference: &Reference,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tags (reference, image, list, updated) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![tag_text(reference), image.to_string(), index, now()])?;
    Ok(())
}

/// Makes a tag lead to an index, and to the image unless it leads to one of the same index that serves this machine
/// better.
pub(crate) fn set_listed_tag(
    connection: &Connection,
    image: &Digest,
    index: &str,
    reference: &Reference,
) -> Result<(), StoreError> {
    let platform_of = |id: &str| -> rusqlite::Result<Option<u32>> {
        let platform: Option<String> = connection
            .prepare_cached("SELECT platform FROM images WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let platform: Option<Platform> = platform.and_then(|text| text.parse().ok());
        Ok(platform.and_then(|platform| Platform::host().rank(&platform)))
    };
    let before: Option<String> = connection
        .prepare_cached("SELECT image FROM tags WHERE reference = ?1 AND list = ?2")?
        .query_row([&tag_text(reference), index], |row| row.get(0))
        .optional()?
        .flatten();
    if let Some(before) = before.and_then(|id| id.parse::<Digest>().ok()) {
        let (old, new) = (
            platform_of(&before.to_string())?,
            platform_of(&image.to_string())?,
        );
        if old.is_some_and(|old| new.is_none_or(|new| old <= new)) {
            set_tag(connection, &before, Some(index), reference)?;
            return Ok(());
        }
    }
    set_tag(connection, image, Some(index), reference)?;
    Ok(())
}

fn set_repository_digest(
    connection: &Connection,
    image: &Digest,
    reference: &Reference,
) -> rusqlite::Result<()> {
    if let Some(digest) = reference.digest() {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO repository_digests (repository, digest, image) VALUES (?1, ?2, ?3)",
            )?
            .execute([reference.name(), digest.to_string(), image.to_string()])?;
    }
    Ok(())
}

/// Reads a configuration, and insists on what the rest relies on.
pub(crate) fn parse_config(raw: &[u8], id: &Digest) -> Result<ImageConfig, StoreError> {
    let config: ImageConfig = serde_json::from_slice(raw).map_err(|source| StoreError::Document {
        what: format!("the image configuration {id}"),
        source,
    })?;
    if config.rootfs.kind != "layers" {
        return Err(StoreError::Archive(format!(
            "the image configuration {id} has a root filesystem of type '{}', not 'layers'",
            config.rootfs.kind
        )));
    }
    Ok(config)
}

/// A row of the images table.
pub(crate) struct ImageRow {
    id: String,
    config: Vec<u8>,
    manifest: Option<String>,
    pub(crate) platform: String,
    size: u64,
    created: i64,
    parent: Option<String>,
}

impl ImageRow {
    /// Reads rows; `rest` is the query after its columns, in which the images are `i`.
    pub(crate) fn select(
        connection: &Connection,
        rest: &str,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<Vec<Self>> {
        connection
            .prepare_cached(&format!("SELECT {COLUMNS} {rest}"))?
            .query_map(values, Self::read)?
            .collect()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            config: row.get(1)?,
            manifest: row.get(2)?,
            platform: row.get(3)?,
            size: row.get(4)?,
            created: row.get(5)?,
            parent: row.get(6)?,
        })
    }

    pub(crate) fn complete(self, connection: &Connection) -> Result<Image, StoreError> {
        let id = digest_of(&self.config);
        if id.to_string() != self.id {
            return Err(StoreError::Archive(format!(
                "the record of the image {} is damaged",
                self.id
            )));
        }
        let config = parse_config(&self.config, &id)?;
        let layers = connection
            .prepare_cached(
                "SELECT l.id, l.diff_id, l.size FROM image_layers i JOIN layers l ON l.id = i.layer
                 WHERE i.image = ?1 ORDER BY i.position",
            )?
            .query_map([&self.id], |row| {
                Ok((row.get(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?))
            })?
            .map(|row| {
                let (layer, diff_id, size): (String, Option<String>, u64) = row?;
                let diff_id = diff_id.and_then(|text| text.parse().ok());
                Ok(Layer {
                    diff_id: diff_id.ok_or_else(|| StoreError::NoSuchLayer(layer.clone()))?,
                    id: LayerId(layer),
                    size,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        let references = |sql: &str| -> Result<Vec<Reference>, StoreError> {
            let mut references: Vec<Reference> = connection
                .prepare_cached(sql)?
                .query_map([&self.id], |row| row.get(0))?
                .map(|text| {
                    let text: String = text?;
                    Ok(text.parse()?)
                })
                .collect::<Result<_, StoreError>>()?;
            references.sort();
            Ok(references)
        };
        let tags = references("SELECT reference FROM tags WHERE image = ?1")?;
        let variant_of = references(
            "SELECT DISTINCT t.reference FROM index_members m JOIN tags t ON t.list = m.list
             WHERE m.image = ?1 AND t.image <> ?1",
        )?;
        let repository_digests =
            references("SELECT repository || '@' || digest FROM repository_digests WHERE image = ?1")?;
        Ok(Image {
            id,
            platform: config.platform(),
            config,
            raw_config: self.config,
            manifest: self.manifest.and_then(|text| text.parse().ok()),
            size: self.size,
            created: self.created,
            parent: self.parent.and_then(|text| text.parse().ok()),
            layers,
            tags,
            variant_of,
            repository_digests,
        })
    }
}
