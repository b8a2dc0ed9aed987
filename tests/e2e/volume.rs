//! Volumes, binds, tmpfs.

use crate::sandbox;

#[test]
fn a_volume_keeps_data() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "--rm",
            "-v",
            "notes:/notes",
            "busybox",
            "sh",
            "-c",
            "echo data > /notes/note",
        ])
        .ok();
    assert_eq!(
        coracle
            .run([
                "run",
                "--rm",
                "-v",
                "notes:/notes:ro",
                "busybox",
                "cat",
                "/notes/note"
            ])
            .ok(),
        "data\n"
    );
    let written = coracle.run([
        "run",
        "--rm",
        "-v",
        "notes:/notes:ro",
        "busybox",
        "touch",
        "/notes/x",
    ]);
    assert!(written.fails(1).contains("Read-only"));
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "notes\n");
    assert_eq!(coracle.run(["volume", "rm", "notes"]).ok(), "notes\n");
}

#[test]
fn an_empty_volume_gets_the_images_content() {
    let coracle = sandbox();
    let listing = coracle
        .run(["run", "--rm", "-v", "home:/home", "busybox", "ls", "/home"])
        .ok();
    assert_eq!(listing, "app\n");
    coracle
        .run(["run", "--rm", "-v", "home:/home", "busybox", "rmdir", "/home/app"])
        .ok();
    let nocopy = coracle
        .run(["run", "--rm", "-v", "bare:/home:nocopy", "busybox", "ls", "/home"])
        .ok();
    assert_eq!(nocopy, "");
}

#[test]
fn binds_and_tmpfs() {
    let coracle = sandbox();
    let file = coracle.write("shared/file", "from the host\n");
    let directory = file.parent().unwrap().display().to_string();
    let bind = format!("{directory}:/shared");
    assert_eq!(
        coracle
            .run(["run", "--rm", "-v", &bind, "busybox", "cat", "/shared/file"])
            .ok(),
        "from the host\n"
    );
    coracle
        .run([
            "run",
            "--rm",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            "echo back > /shared/answer",
        ])
        .ok();
    assert_eq!(
        std::fs::read_to_string(coracle.path().join("shared/answer")).unwrap(),
        "back\n"
    );
    let mount = format!("type=bind,source={directory},target=/shared,readonly");
    assert_ne!(
        coracle
            .run(["run", "--rm", "--mount", &mount, "busybox", "touch", "/shared/x"])
            .code,
        0
    );
    let made = format!("{}/made/for/it:/x", coracle.path().display());
    coracle
        .run(["run", "--rm", "-v", &made, "busybox", "touch", "/x/y"])
        .ok();
    assert!(coracle.path().join("made/for/it/y").exists());
    let tmpfs = coracle
        .run([
            "run",
            "--rm",
            "--tmpfs",
            "/t:size=1m",
            "busybox",
            "grep",
            " /t ",
            "/proc/mounts",
        ])
        .ok();
    assert!(
        tmpfs.contains("size=1024k") && tmpfs.contains("nosuid") && tmpfs.contains("noexec"),
        "{tmpfs}"
    );
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let coracle = sandbox();
    coracle
        .run(["create", "--name", "user", "-v", "kept:/x", "busybox"])
        .ok();
    let refused = coracle.run(["volume", "rm", "kept"]).fails(1);
    assert!(refused.contains("volume is in use"), "{refused}");
    assert_eq!(
        coracle.run(["volume", "inspect", "-f", "{{.Name}}", "kept"]).ok(),
        "kept\n"
    );
    coracle.run(["volume", "create", "other"]).ok();
    assert!(coracle.run(["volume", "prune", "-af"]).ok().contains("other"));
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "kept\n");
}
