INSERT INTO containers VALUES
  ('aa', 'web', 'sha256:00', 1, '{"image_name":"nginx","entrypoint":["/entry.sh"],"command":["nginx","-g"]}', '{}', 0),
  ('bb', 'idle', 'sha256:00', 2, '{"image_name":"busybox","entrypoint":[],"command":["sleep","5"]}', '{}', 0);
INSERT INTO runs VALUES
  ('aa', 10, 20, 3, '{"memory_peak":4096,"cpu":7}'),
  ('bb', 30, NULL, NULL, NULL);
