-- Times are nanoseconds since 1970 (UTC), sizes are bytes, digests are 'sha256:…', documents are JSON.
-- Whoever changes this file raises SCHEMA_VERSION and writes the migration: migrations/<version>.sql makes that version
-- of the one before.

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- ---- store: content -------------------------------------------------------------------------------------------

-- A blob lies in blobs/sha256/<hex>. durable = 0: not yet known to have reached the disk, trusted only while
-- boot is the present boot's id.
CREATE TABLE blobs (
  digest  TEXT PRIMARY KEY,
  size    INTEGER NOT NULL,
  durable INTEGER NOT NULL,
  boot    TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A layer lies in layers/<id>: one unpacked layer, not the union below it. diff_id is the digest of its tar;
-- it is NULL while that is still being computed.
CREATE TABLE layers (
  id      TEXT PRIMARY KEY,
  diff_id TEXT UNIQUE,
  size    INTEGER NOT NULL,
  durable INTEGER NOT NULL,
  boot    TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which blob holds which layer's tar, and how compressed.
CREATE TABLE layer_blobs (
  digest      TEXT PRIMARY KEY,
  diff_id     TEXT NOT NULL,
  media_type  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_blobs_by_diff_id ON layer_blobs (diff_id);

-- An image: id is the digest of its configuration, which is kept here byte for byte.
CREATE TABLE images (
  id       TEXT PRIMARY KEY,
  config   BLOB NOT NULL,
  manifest TEXT,             -- digest of the manifest it came with, a blob; NULL for built and loaded ones
  platform TEXT NOT NULL,
  size     INTEGER NOT NULL, -- of its layers, unpacked
  created  INTEGER NOT NULL, -- when it came to be here; not part of the image
  parent   TEXT              -- image it was built from, if known
) STRICT, WITHOUT ROWID;

CREATE TABLE image_layers (
  image    TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
  position INTEGER NOT NULL, -- 0 is the bottom
  layer    TEXT NOT NULL REFERENCES layers,
  PRIMARY KEY (image, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (layer);

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

-- The digests under which registries know an image.
CREATE TABLE repository_digests (
  repository TEXT NOT NULL,    -- registry/repository
  digest     TEXT NOT NULL,    -- of the manifest or index that was asked for
  image      TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
  PRIMARY KEY (repository, digest, image)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_digests_by_image ON repository_digests (image);

-- What a running process needs kept although nothing refers to it yet. The holder keeps an exclusive flock on
-- <root>/leases/<holder>; when that lock is free, the holder is dead and its rows mean nothing.
CREATE TABLE leases (
  holder TEXT NOT NULL,
  kind   TEXT NOT NULL,        -- 'blob', 'layer', 'image', 'snapshot'
  object TEXT NOT NULL,
  PRIMARY KEY (holder, kind, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_object ON leases (kind, object);

-- ---- builder --------------------------------------------------------------------------------------------------

-- A finished step: its key is the hash of the operation, its parents and what it read. layer is NULL for steps
-- that change the configuration only.
CREATE TABLE build_steps (
  key       TEXT PRIMARY KEY,
  layer     TEXT REFERENCES layers,
  summary   TEXT NOT NULL,     -- the instruction, for people
  inputs    TEXT NOT NULL,     -- document: what went into the key, to explain a later miss
  seconds   REAL NOT NULL,
  created   INTEGER NOT NULL,
  last_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX build_steps_by_layer ON build_steps (layer);

-- Digests of context files, remembered by what stat says.
CREATE TABLE file_digests (
  device INTEGER NOT NULL,
  inode  INTEGER NOT NULL,
  size   INTEGER NOT NULL,
  mtime  INTEGER NOT NULL,
  ctime  INTEGER NOT NULL,
  digest BLOB NOT NULL,
  used   INTEGER NOT NULL,
  PRIMARY KEY (device, inode)
) STRICT, WITHOUT ROWID;

-- ---- engine ---------------------------------------------------------------------------------------------------

-- A container lies in containers/<id>. Whether it runs is not a column: the lock in the run directory says.
CREATE TABLE containers (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  image    TEXT NOT NULL,      -- image id
  created  INTEGER NOT NULL,
  settings TEXT NOT NULL,      -- document: everything that create decided; never changed but by rename and update
  status   TEXT NOT NULL,      -- document: last start, last exit, restarts
  removing INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image);
CREATE INDEX containers_removing ON containers (id) WHERE removing != 0;

CREATE TABLE container_layers (
  container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
  position  INTEGER NOT NULL,
  layer     TEXT NOT NULL REFERENCES layers,
  PRIMARY KEY (container, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_layers_by_layer ON container_layers (layer);

CREATE TABLE volumes (
  name      TEXT PRIMARY KEY,
  anonymous INTEGER NOT NULL,
  settings  TEXT NOT NULL,     -- document: driver, options, labels
  created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A version of a volume: what it held at a moment, in volumes/<volume>/_versions/<id>.
CREATE TABLE volume_versions (
  volume   TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
  tag      TEXT NOT NULL,
  id       TEXT NOT NULL UNIQUE,
  size     INTEGER NOT NULL,   -- of its regular files
  settings TEXT NOT NULL,      -- document: how it came about
  created  INTEGER NOT NULL,
  PRIMARY KEY (volume, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE container_volumes (
  container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
  volume    TEXT NOT NULL REFERENCES volumes,
  PRIMARY KEY (container, volume)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes (volume);

CREATE TABLE networks (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  settings TEXT NOT NULL,      -- document: driver, subnets, options, labels
  created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An address that a container holds while it runs (and keeps after it stops, if it was asked for by number). A build
-- step that runs holds one too, under an id that has no row in containers; hence no REFERENCES.
CREATE TABLE addresses (
  network   TEXT NOT NULL REFERENCES networks ON DELETE CASCADE,
  address   TEXT NOT NULL,
  container TEXT NOT NULL,
  PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX addresses_by_container ON addresses (container);

-- A host port that a running container has published.
CREATE TABLE published_ports (
  protocol  TEXT NOT NULL,
  host      TEXT NOT NULL,     -- host address, '0.0.0.0' for all
  port      INTEGER NOT NULL,
  container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
  PRIMARY KEY (protocol, host, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX published_ports_by_container ON published_ports (container);

CREATE TABLE events (
  time   INTEGER NOT NULL,
  kind   TEXT NOT NULL,        -- 'container', 'image', 'network', 'volume', 'builder'
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  attributes TEXT NOT NULL     -- document
) STRICT;
CREATE INDEX events_by_time ON events (time);

-- One row per run of a container, restarts by policy included; rows outlive their container, and the oldest beyond
-- some thousands go. exit without finished: it has ended, and its restart policy is about to start it again.
CREATE TABLE runs (
  number    INTEGER PRIMARY KEY, -- rises with time
  container TEXT NOT NULL,
  name      TEXT NOT NULL,
  image     TEXT NOT NULL,       -- as the user wrote it
  command   TEXT NOT NULL,
  started   INTEGER NOT NULL,
  finished  INTEGER,
  exit      TEXT                 -- document: exit code, cause, usage
) STRICT;
CREATE INDEX runs_by_container ON runs (container);
-- What recovery looks at: runs whose monitor has not recorded an end.
CREATE INDEX runs_unfinished ON runs (container) WHERE finished IS NULL;
