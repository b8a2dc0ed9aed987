//! A database of an earlier release opens, with what is in it.

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use state::{Database, SCHEMA_VERSION, StateError};
    use std::path::Path;

    /// Makes the database that the first release makes, with a container that has run, one that runs, and a leaving.
    fn version_1(root: &Path) {
        let connection = Connection::open(root.join("state.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(include_str!("v1/schema.sql")).unwrap();
        connection.execute_batch(include_str!("v1/rows.sql")).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
    }

    /// Everything that makes the schema, as it was written, in no order.
    fn schema(root: &Path) -> Vec<String> {
        let connection = Connection::open(root.join("state.db")).unwrap();
        let mut query = connection
            .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name")
            .unwrap();
        let statements = query.query_map([], |row| row.get(0)).unwrap();
        statements.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn version_1_opens_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        version_1(root.path());
        let database = Database::open(root.path()).unwrap();
        let (version, containers, runs) = database
            .read(|connection| {
                let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
                let containers: i64 =
                    connection.query_row("SELECT count(*) FROM containers", [], |row| row.get(0))?;
                let mut query = connection.prepare(
                    "SELECT container || '|' || name || '|' || image || '|' || command || '|' || started || '|'
                     || coalesce(finished, '-') || '|' || coalesce(exit, '-') FROM runs ORDER BY number",
                )?;
                let runs: Result<Vec<String>, rusqlite::Error> =
                    query.query_map([], |row| row.get(0))?.collect();
                Ok::<_, StateError>((version, containers, runs?))
            })
            .unwrap();
        assert_eq!(version, SCHEMA_VERSION);
        assert_eq!(containers, 2);
        assert_eq!(
            runs,
            [
                r#"aa|web|nginx|/entry.sh nginx -g|10|20|{"code":3,"finished":20,"usage":{"memory_peak":4096,"cpu":7}}"#,
                "bb|idle|busybox|sleep 5|30|-|-",
            ]
        );
        drop(database);
        Database::open(root.path()).unwrap();
    }

    #[test]
    fn what_is_migrated_and_what_is_new_are_the_same() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        version_1(old.path());
        Database::open(old.path()).unwrap();
        Database::open(new.path()).unwrap();
        assert_eq!(schema(old.path()), schema(new.path()));
    }

    #[test]
    fn tags_stay_when_they_may_lead_to_indexes_and_artifacts() {
        let root = tempfile::tempdir().unwrap();
        version_1(root.path());
        let connection = Connection::open(root.path().join("state.db")).unwrap();
        connection
            .execute_batch(
                "INSERT INTO images VALUES ('sha256:aa', x'7b7d', NULL, 'linux/amd64', 1, 1, NULL);
                 INSERT INTO tags VALUES ('docker.io/library/app:1', 'sha256:aa', 7)",
            )
            .unwrap();
        drop(connection);
        let database = Database::open(root.path()).unwrap();
        let tag = database
            .read(|connection| {
                Ok::<_, StateError>(connection.query_row(
                    "SELECT reference || ' ' || image || ' ' || updated || ' ' || (list IS NULL) FROM tags",
                    [],
                    |row| row.get::<_, String>(0),
                )?)
            })
            .unwrap();
        assert_eq!(tag, "docker.io/library/app:1 sha256:aa 7 1");
    }

    #[test]
    fn many_processes_may_migrate_at_once() {
        let root = tempfile::tempdir().unwrap();
        version_1(root.path());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Database::open(root.path()).unwrap());
            }
        });
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        version_1(root.path());
        let connection = Connection::open(root.path().join("state.db")).unwrap();
        // The migration makes a table of this name.
        connection
            .execute_batch("CREATE TABLE runs_of_version_1 (a)")
            .unwrap();
        let before = schema(root.path());
        assert!(matches!(
            Database::open(root.path()),
            Err(StateError::Open { .. })
        ));
        assert_eq!(schema(root.path()), before);
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, 1);
    }
}
