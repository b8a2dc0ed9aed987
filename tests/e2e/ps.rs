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

mod both {
    use crate::both;

    #[test]
    fn filters_choose() {
        let docker = both();
        docker
            .run([
                "run",
                "--name",
                "web_12",
                "-l",
                "tier=front",
                "-v",
                "psdata:/data",
                "busybox",
                "sh",
                "-c",
                "exit 3",
            ])
            .fails(3);
        docker
            .run(["create", "--name", "web_x", "--expose", "80", "busybox"])
            .ok();
        docker
            .run([
                "run",
                "-d",
                "--name",
                "db",
                "-l",
                "tier=back",
                "--network",
                "none",
                "busybox",
                "sleep",
                "100",
            ])
            .ok();
        for (filters, expected) in [
            (&["name=web"][..], "web_12 web_x"),
            (&["name=^/?web_[0-9]+$"], "web_12"),
            (&["name=^db$"], "db"),
            (&["label=tier"], "db web_12"),
            (&["label=tier=front"], "web_12"),
            (&["label=tier", "label=tier=back"], "db"),
            (&["status=created"], "web_x"),
            (&["status=created", "status=running"], "db web_x"),
            (&["exited=3"], "web_12"),
            (&["exited=0"], ""),
            (&["ancestor=busybox"], "db web_12 web_x"),
            (&["volume=psdata"], "web_12"),
            (&["volume=/data"], "web_12"),
            (&["network=none"], "db"),
            (&["expose=80"], "web_x"),
            (&["before=web_x"], "web_12"),
            (&["since=web_12"], "db web_x"),
            (&["health=none", "name=db"], "db"),
            (&["is-task=false", "name=db"], "db"),
            (&["name=web", "status=running"], ""),
        ] {
            let mut arguments = vec!["ps", "-a", "--format", "{{.Names}}"];
            for filter in filters {
                arguments.extend(["--filter", filter]);
            }
            let listed = docker.run(arguments).ok();
            let mut names: Vec<&str> = listed.lines().collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), expected, "{filters:?}");
        }
        let last = docker.run(["ps", "-n", "2", "--format", "{{.Names}}"]).ok();
        assert_eq!(last, "db\nweb_x\n");
        assert_eq!(docker.run(["ps", "-lq", "--no-trunc"]).ok().trim().len(), 64);
        let json = docker.run(["ps", "--format", "json"]).ok();
        let row: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (field, value) in [
            ("Names", "db"),
            ("State", "running"),
            ("Networks", "none"),
            ("LocalVolumes", "0"),
        ] {
            assert_eq!(row[field], value, "{field}");
        }
        let labels = docker
            .run([
                "ps",
                "-a",
                "--filter",
                "name=web_12",
                "--format",
                "{{.Label \"tier\"}} {{.LocalVolumes}} {{.Mounts}}",
            ])
            .ok();
        assert_eq!(labels, "front 1 psdata\n");
        let unknown = docker.run(["ps", "--filter", "colour=red"]).fails(1);
        assert!(unknown.contains("invalid filter 'colour"), "{unknown}");
        let bare = docker.run(["ps", "--filter", "name"]);
        assert!(bare.stderr.contains("bad format of filter"), "{bare:?}");
        docker.run(["rm", "-f", "web_12", "web_x", "db"]).ok();
        docker.run(["volume", "rm", "psdata"]).ok();
    }
}
