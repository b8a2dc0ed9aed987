-- Volumes get versions.
CREATE TABLE volume_versions (
  volume   TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
  tag      TEXT NOT NULL,
  id       TEXT NOT NULL UNIQUE,
  size     INTEGER NOT NULL,   -- of its regular files
  settings TEXT NOT NULL,      -- document: how it came about
  created  INTEGER NOT NULL,
  PRIMARY KEY (volume, tag)
) STRICT, WITHOUT ROWID;
