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
