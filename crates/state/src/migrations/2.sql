-- The runs become a history: with what was run and how it ended, and without a primary key that a second run within one
-- tick of the clock would replace.
DROP INDEX runs_unfinished;
ALTER TABLE runs RENAME TO runs_of_version_1;
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
INSERT INTO runs (container, name, image, command, started, finished, exit)
  SELECT r.container,
         c.name,
         coalesce(json_extract(c.settings, '$.image_name'), c.image),
         coalesce((SELECT group_concat(value, ' ') FROM (
           SELECT value FROM json_each(c.settings, '$.entrypoint')
           UNION ALL
           SELECT value FROM json_each(c.settings, '$.command'))), ''),
         r.started,
         r.finished,
         CASE WHEN r.finished IS NOT NULL THEN
           json_object('code', coalesce(r.exit_code, 0), 'finished', r.finished, 'usage', json(coalesce(r.usage, '{}')))
         END
  FROM runs_of_version_1 r JOIN containers c ON c.id = r.container
  ORDER BY r.started;
DROP TABLE runs_of_version_1;
CREATE INDEX runs_by_container ON runs (container);
CREATE INDEX runs_unfinished ON runs (container) WHERE finished IS NULL;
