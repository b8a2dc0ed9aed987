//! `ps`.

use crate::sandbox;

#[test]
fn the_table_is_dockers() {
    let coracle = sandbox();
    assert_eq!(
        coracle.run(["ps"]).ok(),
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    );
    coracle.run(["run", "--name", "done", "busybox", "true"]).ok();
    coracle
        .run(["run", "-d", "--name", "busy", "busybox", "sleep", "100"])
        .ok();
    let running = coracle.run(["ps"]).ok();
    assert_eq!(running.lines().count(), 2, "{running}");
    let line = running.lines().nth(1).unwrap();
    assert!(
        line.contains("\"sleep 100\"") && line.contains("Up ") && line.ends_with("busy"),
        "{line}"
    );
    let all = coracle
        .run(["ps", "-a", "--format", "{{.Names}}: {{.Status}}"])
        .ok();
    assert!(all.contains("done: Exited (0) "), "{all}");
    let named = coracle.run(["ps", "-aq", "--filter", "name=done"]).ok();
    assert_eq!(named.trim().len(), 12);
    assert_eq!(
        coracle.run(["ps", "-q", "--filter", "status=exited", "-a"]).ok(),
        named
    );
    coracle.run(["rm", "-f", "busy"]).ok();
}

#[test]
fn names_are_unique_and_ids_may_be_short() {
    let coracle = sandbox();
    let id = coracle.run(["create", "--name", "one", "busybox"]).ok();
    let taken = coracle.run(["create", "--name", "one", "busybox"]);
    let text = taken.fails(1);
    assert!(
        text.contains("Conflict. The container name \"/one\" is already in use by container"),
        "{text}"
    );
    assert_eq!(coracle.run(["rm", &id[..6]]).ok(), format!("{}\n", &id[..6]));
    let bad = coracle.run(["create", "--name", "a b", "busybox"]).fails(1);
    assert!(bad.contains("Invalid container name (a b)"), "{bad}");
}
