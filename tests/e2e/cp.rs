//! `cp`.

use crate::sandbox;
use std::fs;

#[test]
fn files_and_directories_go_both_ways() {
    let coracle = sandbox();
    coracle.run(["create", "--name", "it", "busybox"]).ok();
    let file = coracle.write("in/file", "from the host\n");
    let directory = file.parent().unwrap().to_str().unwrap().to_owned();
    coracle
        .run(["cp", file.to_str().unwrap(), "it:/tmp/renamed"])
        .ok();
    coracle.run(["cp", &directory, "it:/tmp"]).ok();
    let out = coracle.path().join("out");
    coracle.run(["cp", "it:/tmp/renamed", out.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), "from the host\n");
    let tree = coracle.path().join("tree");
    coracle.run(["cp", "it:/tmp/.", tree.to_str().unwrap()]).ok();
    assert_eq!(
        fs::read_to_string(tree.join("in/file")).unwrap(),
        "from the host\n"
    );
    let missing = coracle.run(["cp", "it:/nosuch", "-"]).fails(1);
    assert!(missing.contains("/nosuch"), "{missing}");
}

#[test]
fn a_running_container_is_reached_too_and_links_lead_nowhere_else() {
    let coracle = sandbox();
    let canary = coracle.write("canary", "untouched\n");
    let script = format!(
        "ln -s {} /tmp/link; ln -s / /tmp/root; echo ready; sleep 100",
        canary.display()
    );
    coracle
        .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", &script])
        .ok();
    while !coracle.run(["logs", "it"]).ok().contains("ready") {}
    let evil = coracle.write("evil", "evil\n");
    // The link's target does not exist inside the container, so a file cannot be written through it to the host.
    coracle.run(["cp", evil.to_str().unwrap(), "it:/tmp/link"]);
    coracle
        .run(["cp", evil.to_str().unwrap(), "it:/tmp/root/inside"])
        .ok();
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched\n");
    assert_eq!(coracle.run(["exec", "it", "cat", "/inside"]).ok(), "evil\n");
    assert!(!std::path::Path::new("/inside").exists());
    coracle.run(["rm", "-f", "it"]).ok();
}

mod both {
    use crate::both;
    use std::process::Stdio;

    #[test]
    fn what_stands_where_decides_what_becomes_of_it() {
        let coracle = both();
        let script = "mkdir -p /c/dir; echo one >/c/file; ln -s dir /c/link; sleep 1000";
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sh", "-c", script])
            .ok();
        while coracle.run(["exec", "it", "test", "-L", "/c/link"]).code != 0 {}
        coracle.write("h/file", "a\n");
        coracle.write("h/dir/inner", "b\n");
        std::fs::create_dir(coracle.path().join("out")).unwrap();
        for (from, to) in [
            ("h/file", "it:/c/dir"),
            ("h/file", "it:/c/link/renamed"),
            ("h/dir", "it:/c/new"),
            ("h/dir", "it:/c/new"),
            ("h/dir/.", "it:/c/dir"),
            ("it:/c/dir", "out"),
            ("it:/c/dir/.", "out/content"),
            ("it:/c/file", "out/renamed"),
            ("it:c/file", "out"),
        ] {
            coracle.run(["cp", "-q", from, to]).ok();
        }
        let there = coracle
            .run(["exec", "it", "sh", "-c", "cd /c; find . -type f | sort"])
            .ok();
        assert_eq!(
            there,
            "./dir/file\n./dir/inner\n./dir/renamed\n./file\n./new/dir/inner\n./new/inner\n"
        );
        for file in ["dir/inner", "dir/file", "content/renamed", "renamed", "file"] {
            assert!(coracle.path().join("out").join(file).is_file(), "{file}");
        }
        for (from, to, part) in [
            (
                "h/file",
                "it:/nosuch/x",
                "Could not find the file /nosuch in container it",
            ),
            ("h/file", "it:/c/nosuch/", "no such directory"),
            ("h/dir", "it:/c/file", "cannot copy directory"),
            ("h/nosuch", "it:/c", "no such file or directory"),
            (
                "it:/nosuch",
                "out",
                "Could not find the file /nosuch in container it",
            ),
            ("it:/c/file/", "out", "not a directory"),
            ("it:/c/dir", "out/file", "cannot copy directory"),
            ("it:/c/file", "nosuch/x", "does not exist"),
            (
                "it:/c/file",
                "it:/c/x",
                "copying between containers is not supported",
            ),
            ("h/file", "h/x", "must specify at least one container source"),
            ("h/file", "nosuch:/x", "No such container: nosuch"),
        ] {
            let message = coracle.run(["cp", from, to]).fails(1);
            assert!(message.contains(part), "{from} {to}: {message}");
        }
        coracle.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn archives_go_in_and_out_as_streams() {
        let coracle = both();
        coracle
            .run(["run", "-d", "--name", "it", "busybox", "sleep", "1000"])
            .ok();
        coracle
            .run([
                "exec",
                "it",
                "sh",
                "-c",
                "mkdir -p /c/dir; echo x >/c/dir/file; chown 7:8 /c/dir/file",
            ])
            .ok();
        let listed = |path: &str| -> Vec<String> {
            let mut export = coracle.start(["cp", path, "-"]);
            let tar = std::process::Command::new("tar")
                .arg("t")
                .stdin(Stdio::from(export.stdout.take().unwrap()))
                .output()
                .unwrap();
            assert!(export.wait().unwrap().success());
            String::from_utf8(tar.stdout)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(listed("it:/c"), ["c/", "c/dir/", "c/dir/file"]);
        assert_eq!(listed("it:/c/."), ["./", "./dir/", "./dir/file"]);
        assert_eq!(listed("it:/c/dir/file"), ["file"]);
        let mut export = coracle.start(["cp", "it:/c/.", "-"]);
        coracle.run(["exec", "it", "mkdir", "/d"]).ok();
        let into = coracle
            .command(["cp", "-", "it:/d"])
            .stdin(Stdio::from(export.stdout.take().unwrap()))
            .status()
            .unwrap();
        assert!(into.success() && export.wait().unwrap().success());
        // Owners are numbers, and stay what they are.
        assert_eq!(
            coracle
                .run(["exec", "it", "stat", "-c", "%u:%g", "/d/dir/file"])
                .ok(),
            "7:8\n"
        );
        let refused = coracle
            .run_with_input(["cp", "-", "it:/c/dir/file"], b"")
            .fails(1);
        assert!(refused.contains("must be a directory"), "{refused}");
        coracle.run(["rm", "-f", "it"]).ok();
    }

    #[test]
    fn a_volume_of_a_read_only_container_can_be_written() {
        let coracle = both();
        coracle.write("file", "x\n");
        coracle
            .run([
                "run",
                "-d",
                "--name",
                "it",
                "--read-only",
                "-v",
                "/vol",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        coracle.run(["cp", "-q", "file", "it:/vol"]).ok();
        assert_eq!(coracle.run(["exec", "it", "cat", "/vol/file"]).ok(), "x\n");
        let refused = coracle.run(["cp", "file", "it:/tmp"]).fails(1);
        assert!(
            refused.contains("container rootfs is marked read-only"),
            "{refused}"
        );
        coracle.run(["rm", "-fv", "it"]).ok();
    }
}
