-- References may lead to indexes, of which some images are here, and to artifacts.
-- An index: images for several platforms under one name, and what goes with them. Its bytes are the blob of its
-- digest; one that was built here has none before it is pushed.
CREATE TABLE indexes (
  id      TEXT PRIMARY KEY,    -- its digest, or a name of our own
  digest  TEXT,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE index_members (
  list       TEXT NOT NULL REFERENCES indexes ON DELETE CASCADE,
  position   INTEGER NOT NULL, -- as its bytes list them
  manifest   TEXT,             -- digest; NULL where the image was built here and has no manifest yet
  media_type TEXT NOT NULL,
  size       INTEGER NOT NULL, -- of the manifest
  platform   TEXT,             -- NULL for attestations and whatever else is for none
  image      TEXT REFERENCES images ON DELETE SET NULL, -- if it is here
  PRIMARY KEY (list, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_members_by_image ON index_members (image);
CREATE INDEX index_members_by_manifest ON index_members (manifest);

-- What registries keep that is no image: charts, signatures, attestations. Named by its manifest's digest.
CREATE TABLE artifacts (
  digest  TEXT PRIMARY KEY,
  kind    TEXT NOT NULL,       -- its artifactType, or its configuration's media type
  size    INTEGER NOT NULL,    -- of all its blobs
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact_blobs (
  artifact TEXT NOT NULL REFERENCES artifacts ON DELETE CASCADE,
  blob     TEXT NOT NULL,
  PRIMARY KEY (artifact, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_blobs_by_blob ON artifact_blobs (blob);

-- The repositories from which artifacts came, or which they went to.
CREATE TABLE artifact_repositories (
  repository TEXT NOT NULL,
  artifact   TEXT NOT NULL REFERENCES artifacts ON DELETE CASCADE,
  PRIMARY KEY (repository, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_repositories_by_artifact ON artifact_repositories (artifact);

DROP INDEX tags_by_image;
ALTER TABLE tags RENAME TO tags_of_version_3;
CREATE TABLE tags (
  reference TEXT PRIMARY KEY,  -- normalised, with its tag
  image     TEXT REFERENCES images ON DELETE CASCADE,    -- of several platforms the one that counts where none is asked for
  list      TEXT REFERENCES indexes ON DELETE SET NULL,  -- the index that the image belongs to
  artifact  TEXT REFERENCES artifacts ON DELETE CASCADE,
  updated   INTEGER NOT NULL,
  CHECK ((image IS NULL) <> (artifact IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image);
CREATE INDEX tags_by_list ON tags (list);
CREATE INDEX tags_by_artifact ON tags (artifact);
INSERT INTO tags (reference, image, updated) SELECT reference, image, updated FROM tags_of_version_3;
DROP TABLE tags_of_version_3;
