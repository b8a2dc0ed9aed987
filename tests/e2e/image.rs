//! `image ls`, `tag`, `rmi`, `save`, `load`, `import`, `export`, `history`.

use crate::{empty, sandbox};

#[test]
fn the_table_is_dockers() {
    let coracle = sandbox();
    let table = coracle.run(["image", "ls"]).ok();
    let mut lines = table.lines();
    let words: Vec<_> = lines
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(words, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    assert!(
        lines.next().unwrap().starts_with("busybox      latest"),
        "{table}"
    );
    assert_eq!(coracle.run(["images"]).ok(), table);
}

#[test]
fn tags_come_and_go() {
    let coracle = sandbox();
    coracle.run(["tag", "busybox", "mine:1"]).ok();
    assert_eq!(coracle.run(["rmi", "busybox"]).ok(), "Untagged: busybox:latest\n");
    let id = coracle.run(["images", "-q", "--no-trunc"]).ok();
    let removed = coracle.run(["rmi", "mine:1"]).ok();
    assert_eq!(removed, format!("Untagged: mine:1\nDeleted: {id}"));
    assert_eq!(coracle.run(["images", "-q"]).ok(), "");
    let missing = coracle.run(["rmi", "mine:1"]).fails(1);
    assert!(missing.contains("No such image: mine:1"), "{missing}");
}

#[test]
fn an_image_in_use_is_kept() {
    let coracle = sandbox();
    coracle.run(["run", "--name", "user", "busybox", "true"]).ok();
    let refused = coracle.run(["rmi", "busybox"]).fails(1);
    assert!(
        refused.contains("container") && refused.contains("is using its referenced image"),
        "{refused}"
    );
    coracle.run(["rm", "user"]).ok();
    coracle.run(["rmi", "busybox"]).ok();
}

#[test]
fn what_is_saved_can_be_loaded() {
    let coracle = sandbox();
    let archive = coracle.path().join("saved.tar");
    let path = archive.to_str().unwrap();
    let id = coracle.run(["images", "-q", "--no-trunc"]).ok();
    coracle.run(["save", "-o", path, "busybox"]).ok();
    let again = coracle.path().join("again.tar");
    coracle
        .run(["save", "-o", again.to_str().unwrap(), "busybox"])
        .ok();
    assert!(
        std::fs::read(&archive).unwrap() == std::fs::read(&again).unwrap(),
        "two saves differ"
    );
    coracle.run(["rmi", "busybox"]).ok();
    assert_eq!(
        coracle.run(["load", "-i", path]).ok(),
        "Loaded image: busybox:latest\n"
    );
    assert_eq!(coracle.run(["images", "-q", "--no-trunc"]).ok(), id);
    assert_eq!(
        coracle.run(["run", "--rm", "busybox", "echo", "works"]).ok(),
        "works\n"
    );
    // The real tools read it too.
    let inspected = std::process::Command::new("skopeo")
        .args(["inspect", "--config", &format!("docker-archive:{path}")])
        .output()
        .unwrap();
    assert!(
        inspected.status.success(),
        "{}",
        String::from_utf8_lossy(&inspected.stderr)
    );
}

#[test]
fn a_corrupt_archive_leaves_nothing() {
    let coracle = sandbox();
    let archive = coracle.path().join("saved.tar");
    let path = archive.to_str().unwrap();
    coracle.run(["save", "-o", path, "busybox"]).ok();
    coracle.run(["rmi", "busybox"]).ok();
    let mut bytes = std::fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&archive, &bytes).unwrap();
    coracle.run(["load", "-i", path]).fails(1);
    std::fs::write(&archive, &bytes[..middle]).unwrap();
    coracle.run(["load", "-i", path]).fails(1);
    std::fs::write(&archive, "this is no archive").unwrap();
    coracle.run(["load", "-i", path]).fails(1);
    assert_eq!(coracle.run(["images", "-aq"]).ok(), "");
}

#[test]
fn export_and_import_carry_the_files() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--name",
            "source",
            "busybox",
            "sh",
            "-c",
            "echo kept > /kept",
        ])
        .ok();
    let tar = coracle.path().join("root.tar");
    let path = tar.to_str().unwrap();
    coracle.run(["export", "-o", path, "source"]).ok();
    let id = coracle
        .run(["import", "--change", "CMD [\"cat\", \"/kept\"]", path, "flat:1"])
        .ok();
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    assert_eq!(coracle.run(["run", "--rm", "flat:1"]).ok(), "kept\n");
}

#[test]
fn history_tells_the_steps() {
    let coracle = sandbox();
    let history = coracle
        .run(["history", "--format", "{{.CreatedBy}}", "busybox"])
        .ok();
    assert_eq!(history, "made for tests\n");
}

#[test]
fn nothing_is_nothing() {
    let coracle = empty();
    assert_eq!(
        coracle.run(["images"]).ok(),
        "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    );
    assert_eq!(coracle.run(["images", "-q"]).ok(), "");
}

#[test]
fn a_platform_that_the_image_is_not_for_is_said() {
    let coracle = sandbox();
    let archive = coracle.path().join("saved.tar");
    let archive = archive.to_str().unwrap();
    let host = coracle
        .run(["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "busybox"])
        .ok();
    let host = host.trim();
    coracle
        .run(["save", "--platform", host, "-o", archive, "busybox"])
        .ok();
    for command in [
        vec!["save", "--platform", "linux/riscv64", "busybox"],
        vec!["history", "--platform", "linux/riscv64", "busybox"],
        vec!["image", "inspect", "--platform", "linux/riscv64", "busybox"],
        vec!["rmi", "--platform", "linux/riscv64", "busybox"],
    ] {
        let told = coracle.run(&command).fails(1);
        assert!(
            told.contains("does not provide the specified platform (linux/riscv64)"),
            "{command:?}: {told}"
        );
    }
    coracle.run(["rmi", "--platform", host, "busybox"]).ok();
    let none = coracle
        .run(["load", "--platform", "linux/riscv64", "-i", archive])
        .fails(1);
    assert!(none.contains("no image for linux/riscv64"), "{none}");
    coracle
        .run(["load", "--platform", host, "-q", "-i", archive])
        .ok();
    coracle
        .run(["image", "inspect", "--platform", host, "busybox"])
        .ok();
}

mod both {
    use testkit::Sandbox;

    /// Makes an image of its own from a root filesystem, with a label.
    fn import(coracle: &Sandbox, name: &str, label: &str) -> String {
        let tar = coracle.path().join("root.tar");
        coracle.write("root/file", name);
        let packed = std::process::Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(coracle.path().join("root"))
            .arg(".")
            .status()
            .unwrap();
        assert!(packed.success());
        let change = format!("LABEL {label}");
        let id = coracle
            .run(["import", "--change", &change, tar.to_str().unwrap(), name])
            .ok();
        id.trim().to_owned()
    }

    fn listed(coracle: &Sandbox, arguments: &[&str]) -> Vec<String> {
        let text = coracle
            .run(
                ["images", "--format", "{{.Repository}}:{{.Tag}}"]
                    .iter()
                    .chain(arguments),
            )
            .ok();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn filters_choose_images() {
        let coracle = crate::both();
        import(&coracle, "team/one:1", "color=red");
        import(&coracle, "team/two:2", "color=blue");
        coracle.run(["tag", "team/two:2", "team/two:latest"]).ok();
        coracle.run(["tag", "team/two:2", "127.0.0.1:5000/two:2"]).ok();
        for (arguments, expected) in [
            (
                &["--filter", "label=color"][..],
                &[
                    "127.0.0.1:5000/two:2",
                    "team/one:1",
                    "team/two:2",
                    "team/two:latest",
                ][..],
            ),
            (&["--filter", "label=color=red"], &["team/one:1"]),
            (
                &["--filter", "label=color=red", "--filter", "label=color=blue"],
                &[],
            ),
            (
                &["--filter", "reference=team/*"],
                &["team/one:1", "team/two:2", "team/two:latest"],
            ),
            (&["--filter", "reference=team/*:2"], &["team/two:2"]),
            (&["--filter", "reference=*two*"], &[]),
            (
                &["--filter", "reference=*/two:2"],
                &["127.0.0.1:5000/two:2", "team/two:2"],
            ),
            (
                &["--filter", "reference=busybox", "--filter", "reference=team/one"],
                &["busybox:latest", "team/one:1"],
            ),
            (&["team/two"], &["team/two:2", "team/two:latest"]),
            (&["team/two:2"], &["team/two:2"]),
            (&["two"], &[]),
            (&["--filter", "before=team/one:1"], &["busybox:latest"]),
            (
                &["--filter", "since=busybox", "--filter", "reference=team/*:1"],
                &["team/one:1"],
            ),
            (&["--filter", "since=team/two:2"], &[]),
            (&["--filter", "until=24h"], &["busybox:latest"]),
            (&["--filter", "dangling=true"], &[]),
            (&["--filter", "dangling=false", "busybox"], &["busybox:latest"]),
        ] {
            assert_eq!(listed(&coracle, arguments), expected, "{arguments:?}");
        }
        let unknown = coracle.run(["images", "--filter", "color=red"]).fails(1);
        assert!(unknown.contains("invalid filter 'color'"), "{unknown}");
        let missing = coracle.run(["images", "--filter", "before=nowhere:1"]).fails(1);
        assert!(missing.contains("No such image: nowhere:1"), "{missing}");
    }

    #[test]
    fn what_lost_its_name_is_dangling_and_pruned() {
        let coracle = crate::both();
        let old = import(&coracle, "app:1", "old=yes");
        let new = import(&coracle, "app:1", "old=no");
        assert_ne!(old, new);
        let dangling = coracle
            .run(["images", "-q", "--no-trunc", "--filter", "dangling=true"])
            .ok();
        assert_eq!(dangling.trim(), old);
        let row = coracle
            .run([
                "images",
                "--filter",
                "dangling=true",
                "--format",
                "{{.Repository}} {{.Tag}} {{.Digest}}",
            ])
            .ok();
        assert_eq!(row, "<none> <none> <none>\n");
        // It has no name that a pattern could be like.
        assert_eq!(
            listed(&coracle, &["--filter", "reference=*"]),
            ["app:1", "busybox:latest"]
        );
        let pruned = coracle
            .run(["image", "prune", "-f", "--filter", "label!=old=yes"])
            .ok();
        assert!(!pruned.contains(&old), "{pruned}");
        let pruned = coracle
            .run(["image", "prune", "-f", "--filter", "until=2020-01-01"])
            .ok();
        assert!(!pruned.contains(&old), "{pruned}");
        let pruned = coracle
            .run(["image", "prune", "-f", "--filter", "label=old=yes"])
            .ok();
        assert!(pruned.contains(&format!("deleted: {old}")), "{pruned}");
        coracle.run(["image", "inspect", &new]).ok();
        let pruned = coracle
            .run(["image", "prune", "-af", "--filter", "label=old"])
            .ok();
        assert!(pruned.contains("untagged: app:1"), "{pruned}");
        coracle.run(["image", "inspect", "busybox"]).ok();
        let wrong = coracle
            .run(["image", "prune", "-f", "--filter", "color=red"])
            .fails(1);
        assert!(wrong.contains("invalid filter 'color'"), "{wrong}");
    }

    #[test]
    fn ids_digests_and_formats() {
        let coracle = crate::both();
        coracle.run(["tag", "busybox", "mine:1"]).ok();
        let ids = coracle.run(["images", "-q"]).ok();
        assert_eq!(ids.lines().count(), 1, "{ids}");
        let whole = coracle.run(["images", "-q", "--no-trunc"]).ok();
        assert!(whole.starts_with(&format!("sha256:{}", ids.trim())), "{whole}");
        let table = coracle.run(["images", "--digests"]).ok();
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(
            header,
            ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
        );
        let line = coracle
            .run(["images", "--format", "table {{.Tag}}\t{{.ID}}", "mine"])
            .ok();
        assert_eq!(line, format!("TAG       IMAGE ID\n1         {ids}"));
        let json = coracle.run(["images", "--format", "json", "mine"]).ok();
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (name, value) in [
            ("Repository", "mine"),
            ("Tag", "1"),
            ("ID", ids.trim()),
            ("Containers", "N/A"),
            ("Digest", "<none>"),
        ] {
            assert_eq!(object[name], value, "{name}");
        }
    }
}
