//! Versions of volumes: snapshot, versions, forget, diff, restore, clone, export, import.

use crate::sandbox;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::Sandbox;

fn data(coracle: &Sandbox, volume: &str) -> PathBuf {
    coracle.path().join("root/volumes").join(volume).join("_data")
}

/// Makes a volume with files of every kind.
fn furnish(coracle: &Sandbox, volume: &str) -> PathBuf {
    coracle.run(["volume", "create", volume]).ok();
    let data = data(coracle, volume);
    std::fs::create_dir_all(data.join("dir/deep")).unwrap();
    std::fs::write(data.join("dir/file"), "first").unwrap();
    std::fs::write(data.join("same"), "same").unwrap();
    std::fs::hard_link(data.join("same"), data.join("dir/twin")).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    std::os::unix::fs::chown(data.join("dir/file"), Some(70), Some(71)).unwrap();
    std::fs::set_permissions(data.join("dir/file"), PermissionsExt::from_mode(0o4750)).unwrap();
    std::os::unix::fs::chown(&data, Some(999), Some(998)).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
    data
}

/// What tar(1) makes of a directory: everything that there is to be kept.
fn tar_of(directory: &std::path::Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--numeric-owner", "--sort=name", "--xattrs", "--format=pax"])
        .args(["--pax-option=delete=atime,delete=ctime", "-cf", "-", "-C"])
        .args([directory.to_str().unwrap(), "."])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_version_is_kept_compared_restored_and_forgotten() {
    let coracle = sandbox();
    let data = furnish(&coracle, "pg");
    let before = tar_of(&data);
    assert_eq!(coracle.run(["volume", "snapshot", "pg", "one"]).ok(), "one\n");
    assert_eq!(coracle.run(["volume", "diff", "pg"]).ok(), "");
    std::fs::write(data.join("dir/file"), "second!").unwrap();
    std::fs::write(data.join("new"), "new").unwrap();
    std::fs::remove_file(data.join("link")).unwrap();
    let diff = "C /dir\nC /dir/file\nD /link\nA /new\n";
    assert_eq!(coracle.run(["volume", "diff", "pg"]).ok(), diff);
    assert_eq!(coracle.run(["volume", "diff", "pg", "one"]).ok(), diff);
    let sizes = coracle.run(["volume", "diff", "-s", "pg", "one"]).ok();
    assert!(
        sizes.contains("C        +2B /dir/file") && sizes.contains("A        +3B /new"),
        "{sizes}"
    );
    let lines = coracle.run(["volume", "diff", "--format", "json", "pg"]).ok();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(
        last,
        serde_json::json!({"Kind": "A", "Path": "/new", "Before": 0, "After": 3})
    );
    let tag = coracle.run(["volume", "snapshot", "pg"]).ok().trim().to_owned();
    assert!(
        tag.starts_with("20") && tag.ends_with('Z') && tag.len() == 16,
        "{tag}"
    );
    assert_eq!(coracle.run(["volume", "diff", "pg", "one", &tag]).ok(), diff);
    // What is the same in both is on the disk once, and never one with what is written to.
    let versions = data.with_file_name("_versions");
    let inodes: Vec<u64> = std::fs::read_dir(&versions)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.path().join("same").metadata().unwrap().ino())
        .collect();
    assert_eq!(inodes.len(), 2);
    assert_eq!(inodes[0], inodes[1]);
    assert_ne!(inodes[0], data.join("same").metadata().unwrap().ino());
    let listed = coracle.run(["volume", "versions", "pg", "-q"]).ok();
    assert_eq!(listed, format!("one\n{tag}\n"));
    let table = coracle.run(["volume", "versions"]).ok();
    assert!(
        table.starts_with("VOLUME NAME") && table.contains("snapshot"),
        "{table}"
    );
    assert_eq!(coracle.run(["volume", "snapshot", "pg", "one"]).code, 1);
    let offered = coracle.run(["__complete", "volume", "restore", "pg", "o"]).ok();
    assert!(offered.starts_with("one\t"), "{offered}");
    let offered = coracle.run(["__complete", "volume", "clone", "pg:"]).ok();
    assert!(offered.starts_with(&format!("pg:{tag}\t")), "{offered}");
    // Back, and what was there is kept.
    let restored = coracle.run(["volume", "restore", "pg", "one"]);
    assert!(restored.stderr.contains("is kept as its version"), "{restored:?}");
    restored.ok();
    assert_eq!(tar_of(&data), before);
    let all = coracle
        .run(["volume", "versions", "pg", "--format", "{{.Tag}} {{.Origin}}"])
        .ok();
    let replaced = all.lines().find(|line| line.ends_with(" replaced")).unwrap();
    let replaced = replaced.split(' ').next().unwrap();
    coracle
        .run(["volume", "restore", "--discard", "pg", replaced])
        .ok();
    assert_eq!(std::fs::read(data.join("dir/file")).unwrap(), b"second!");
    assert_eq!(
        coracle
            .run(["volume", "versions", "-q", "pg"])
            .ok()
            .lines()
            .count(),
        3
    );
    // A volume with versions goes only together with them.
    let refused = coracle.run(["volume", "rm", "-f", "pg"]).fails(1);
    assert!(refused.contains("volume has versions: one"), "{refused}");
    let pruned = coracle.run(["volume", "prune", "-af"]);
    assert!(
        pruned.stderr.contains("kept, because they have versions"),
        "{pruned:?}"
    );
    assert_eq!(
        coracle
            .run(["volume", "forget", "pg", "one", "nosuch", replaced])
            .fails(1)
            .trim(),
        "coracle: No such version: pg:nosuch"
    );
    assert_eq!(
        coracle.run(["volume", "versions", "-q", "pg"]).ok(),
        format!("{tag}\n")
    );
    coracle.run(["volume", "rm", "--versions", "pg"]).ok();
    assert!(!data.exists() && !versions.exists());
}

#[test]
fn clones_and_archives_have_all_that_the_volume_has() {
    let coracle = sandbox();
    let original = furnish(&coracle, "aa");
    let before = tar_of(&original);
    coracle.run(["volume", "snapshot", "aa", "vv"]).ok();
    std::fs::write(original.join("later"), "later").unwrap();
    coracle.run(["volume", "clone", "aa:vv", "bb"]).ok();
    assert_eq!(tar_of(&data(&coracle, "bb")), before);
    coracle.run(["volume", "clone", "aa", "cc"]).ok();
    assert_eq!(tar_of(&data(&coracle, "cc")), tar_of(&original));
    // Writing to the one is not writing to the other.
    std::fs::write(data(&coracle, "bb").join("same"), "other").unwrap();
    assert_eq!(std::fs::read(original.join("same")).unwrap(), b"same");
    assert!(
        coracle
            .run(["volume", "clone", "aa", "bb"])
            .fails(1)
            .contains("already")
    );
    let archive = coracle.path().join("a.tar");
    coracle
        .run(["volume", "export", "aa@vv", "-o", archive.to_str().unwrap()])
        .ok();
    coracle
        .run(["volume", "import", "dd", archive.to_str().unwrap()])
        .ok();
    let again = coracle.path().join("again.tar");
    coracle
        .run(["volume", "export", "-o", again.to_str().unwrap(), "dd"])
        .ok();
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    assert!(
        read(&archive) == read(&again),
        "the same tree gives the same bytes"
    );
    let imported = data(&coracle, "dd").join("dir/file").metadata().unwrap();
    assert_eq!(
        (imported.uid(), imported.gid(), imported.mode()),
        (70, 71, 0o104_750)
    );
    let top = data(&coracle, "dd").metadata().unwrap();
    assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (999, 998, 0o700));
    assert_eq!(
        data(&coracle, "dd").join("dir/twin").metadata().unwrap().ino(),
        data(&coracle, "dd").join("same").metadata().unwrap().ino()
    );
    // By pipes, compressed, into one that is empty; not into one that is not.
    let piped = Command::new("sh")
        .args(["-c", "gzip -c < again.tar"])
        .current_dir(coracle.path())
        .output()
        .unwrap();
    coracle.run(["volume", "create", "ee"]).ok();
    coracle
        .run_with_input(["volume", "import", "ee", "-"], &piped.stdout)
        .ok();
    assert_eq!(tar_of(&data(&coracle, "ee")), tar_of(&data(&coracle, "dd")));
    let refused = coracle.run(["volume", "import", "ee", archive.to_str().unwrap()]);
    assert!(refused.fails(1).contains("there is something in it"));
    let broken = coracle.run_with_input(["volume", "import", "ff", "-"], b"this is no archive");
    assert_ne!(broken.code, 0);
    assert!(coracle.run(["volume", "inspect", "ff"]).code != 0);
    assert!(!data(&coracle, "ff").exists());
    coracle.run(["volume", "rm", "--versions", "aa"]).ok();
}

#[test]
fn mistakes_are_told() {
    let coracle = sandbox();
    coracle.run(["volume", "create", "vv"]).ok();
    for (words, message) in [
        (&["snapshot", "nosuch"][..], "No such volume: nosuch"),
        (&["snapshot", "ls"], "versions are listed by"),
        (&["snapshot", "vv", "a/b"], "invalid tag"),
        (&["restore", "vv", "x"], "No such version: vv:x"),
        (&["clone", "vv:x", "ww"], "No such version: vv:x"),
        (&["diff", "vv"], "no versions to compare with"),
        (&["diff", "vv", "x"], "No such version: vv:x"),
        (&["clone", "vv", "a b"], "invalid characters"),
        (&["versions", "nosuch"], "No such volume: nosuch"),
        (&["import", "ww", "/nosuch/file"], "/nosuch/file"),
    ] {
        let error = coracle.run([&["volume"], words].concat()).fails(1);
        assert!(error.contains(message), "{words:?}: {error}");
    }
    assert_eq!(coracle.run(["volume", "ls", "-q"]).ok(), "vv\n");
    let update = coracle.run(["volume", "update", "vv"]).fails(1);
    assert!(update.contains("cluster volumes"), "{update}");
}

/// Rows are appended and synced one by one; a row counts as committed once it is told.
const APPEND: &str = "i=0; while true; do i=$((i+1)); echo $i >> /data/rows; sync /data/rows; echo $i; done";

/// Returns the numbers in a file of rows, and demands that none is torn or missing.
fn rows(text: &str) -> u64 {
    let mut last = 0;
    for line in text.lines() {
        let row: u64 = line.parse().unwrap();
        assert_eq!(row, last + 1);
        last = row;
    }
    assert!(text.is_empty() || text.ends_with('\n'), "the last row is torn");
    last
}

fn told(coracle: &Sandbox) -> u64 {
    let logs = coracle.run(["logs", "--tail", "1", "writer"]).ok();
    logs.trim().parse().unwrap_or(0)
}

#[test]
fn what_a_running_program_has_committed_is_in_the_snapshot() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "writer",
            "-v",
            "rows:/data",
            "busybox",
            "sh",
            "-c",
            APPEND,
        ])
        .ok();
    let begin = Instant::now();
    while told(&coracle) < 20 {
        assert!(begin.elapsed() < Duration::from_mins(1), "nothing is written");
    }
    // Something large beside it, that does not change: it is copied before the pause.
    std::fs::write(data(&coracle, "rows").join("ballast"), vec![7; 48 << 20]).unwrap();
    for round in 0..5 {
        let tag = format!("v{round}");
        let committed = told(&coracle);
        coracle.run(["volume", "snapshot", "rows", &tag]).ok();
        let running = coracle.run(["inspect", "-f", "{{.State.Status}}", "writer"]).ok();
        assert_eq!(running, "running\n");
        let clone = format!("clone{round}");
        coracle
            .run(["volume", "clone", &format!("rows:{tag}"), &clone])
            .ok();
        let seen = coracle
            .run([
                "run",
                "--rm",
                "-v",
                &format!("{clone}:/data"),
                "busybox",
                "cat",
                "/data/rows",
            ])
            .ok();
        let kept = rows(&seen);
        assert!(kept >= committed, "{kept} rows of {committed}");
        // It goes on.
        let begin = Instant::now();
        while told(&coracle) <= kept {
            assert!(begin.elapsed() < Duration::from_mins(1), "it writes no more");
        }
    }
    let frozen = coracle
        .run(["volume", "versions", "rows", "--format", "{{.Frozen}}"])
        .ok();
    assert!(frozen.lines().all(|line| line.ends_with("ms")), "{frozen}");
    // One that was paused stays so; what is live is said to be.
    coracle.run(["pause", "writer"]).ok();
    coracle.run(["volume", "snapshot", "rows", "paused"]).ok();
    let status = coracle.run(["inspect", "-f", "{{.State.Status}}", "writer"]).ok();
    assert_eq!(status, "paused\n");
    coracle.run(["unpause", "writer"]).ok();
    coracle.run(["volume", "snapshot", "--live", "rows", "live"]).ok();
    let origins = coracle
        .run(["volume", "versions", "rows", "--format", "{{.Tag}}={{.Origin}}"])
        .ok();
    assert!(
        origins.contains("live=live") && origins.contains("paused=snapshot"),
        "{origins}"
    );
    // An export is of one moment, too.
    let exported = coracle.path().join("rows.tar");
    let committed = told(&coracle);
    coracle
        .run(["volume", "export", "rows", "-o", exported.to_str().unwrap()])
        .ok();
    let listing = Command::new("tar")
        .args(["-xOf"])
        .arg(&exported)
        .arg("./rows")
        .output()
        .unwrap();
    assert!(rows(&String::from_utf8(listing.stdout).unwrap()) >= committed);
    let refused = coracle.run(["volume", "restore", "rows", "v0"]).fails(1);
    assert!(refused.contains("the container writer runs with it"), "{refused}");
    coracle.run(["rm", "-f", "writer"]).ok();
    coracle.run(["volume", "restore", "rows", "v0"]).ok();
    coracle.run(["volume", "rm", "--versions", "rows"]).ok();
}

#[test]
fn a_killed_snapshot_leaves_the_container_running_and_nothing_else() {
    let coracle = sandbox();
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "writer",
            "-v",
            "rows:/data",
            "busybox",
            "sh",
            "-c",
            APPEND,
        ])
        .ok();
    let big = data(&coracle, "rows").join("big");
    std::fs::write(&big, vec![7; 8 << 20]).unwrap();
    for point in [
        "version.staged",
        "version.first-pass",
        "version.frozen",
        "version.copied",
        "version.placed",
        "version.recorded",
    ] {
        let killed = coracle
            .command(["volume", "snapshot", "rows", "it"])
            .env("CORACLE_FAILPOINTS", format!("client:{point}#1=kill"))
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{point} was not reached");
        let status = coracle.run(["inspect", "-f", "{{.State.Status}}", "writer"]).ok();
        assert_eq!(status, "running\n", "{point}");
        let is_recorded = point == "version.recorded";
        let listed = coracle.run(["volume", "versions", "-q", "rows"]).ok();
        assert_eq!(listed, if is_recorded { "it\n" } else { "" }, "{point}");
        let versions = data(&coracle, "rows").with_file_name("_versions");
        let trees = std::fs::read_dir(versions)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count();
        assert_eq!(trees, usize::from(is_recorded), "{point}");
    }
    coracle.run(["rm", "-f", "writer"]).ok();
    coracle.run(["volume", "rm", "--versions", "rows"]).ok();
}

#[test]
fn a_killed_restore_has_happened_or_not_and_loses_nothing() {
    let coracle = sandbox();
    for (point, happened) in [
        ("restore.copied", false),
        ("restore.noted", false),
        ("restore.exchanged", true),
        ("restore.kept", true),
        ("restore.recorded", true),
    ] {
        coracle.run(["volume", "create", "vv"]).ok();
        let file = data(&coracle, "vv").join("file");
        std::fs::write(&file, "old").unwrap();
        coracle.run(["volume", "snapshot", "vv", "old"]).ok();
        std::fs::write(&file, "newer").unwrap();
        let killed = coracle
            .command(["volume", "restore", "vv", "old"])
            .env("CORACLE_FAILPOINTS", format!("client:{point}#1=kill"))
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{point} was not reached");
        let tags = coracle.run(["volume", "versions", "-q", "vv"]).ok();
        let now = std::fs::read_to_string(&file).unwrap();
        assert_eq!(now, if happened { "old" } else { "newer" }, "{point}");
        assert_eq!(tags.lines().count(), 1 + usize::from(happened), "{point}: {tags}");
        if happened {
            let kept = tags.lines().find(|tag| *tag != "old").unwrap();
            coracle
                .run(["volume", "clone", &format!("vv:{kept}"), "kept"])
                .ok();
            let file = data(&coracle, "kept").join("file");
            assert_eq!(std::fs::read_to_string(file).unwrap(), "newer", "{point}");
            coracle.run(["volume", "rm", "kept"]).ok();
        }
        coracle.run(["volume", "rm", "--versions", "vv"]).ok();
    }
}

#[test]
fn a_killed_clone_is_there_or_not() {
    let coracle = sandbox();
    furnish(&coracle, "vv");
    for (point, happened) in [
        ("volume.ready", false),
        ("volume.placed", false),
        ("volume.settled", true),
    ] {
        let killed = coracle
            .command(["volume", "clone", "vv", "ww"])
            .env("CORACLE_FAILPOINTS", format!("client:{point}#1=kill"))
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{point} was not reached");
        let there = coracle.run(["volume", "ls", "-q", "-f", "name=ww"]).ok();
        assert_eq!(there, if happened { "ww\n" } else { "" }, "{point}");
        assert_eq!(data(&coracle, "ww").exists(), happened, "{point}");
    }
}

/// Runs a test on a filesystem of its own.
struct Loop {
    image: PathBuf,
    place: PathBuf,
}

impl Loop {
    fn mount(coracle: &Sandbox, kind: &str, options: &[&str]) -> Self {
        let made = Self {
            image: coracle.path().join("disk"),
            place: coracle.path().join("root"),
        };
        std::fs::File::create(&made.image)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let status = Command::new(format!("mkfs.{kind}"))
            .args(options)
            .arg(&made.image)
            .output()
            .unwrap_or_else(|error| panic!("mkfs.{kind} is needed: {error}"));
        assert!(status.status.success(), "{status:?}");
        std::fs::create_dir_all(&made.place).unwrap();
        let status = Command::new("mount")
            .arg("-o")
            .arg("loop")
            .args([&made.image, &made.place])
            .status();
        assert!(status.unwrap().success());
        made
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.place).status().unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let coracle = crate::empty();
    let disk = Loop::mount(&coracle, "ext4", &["-q"]);
    coracle.run(["volume", "create", "vv"]).ok();
    std::fs::write(data(&coracle, "vv").join("big"), vec![1; 300 << 20]).unwrap();
    let error = coracle.run(["volume", "snapshot", "vv"]).fails(1);
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(coracle.run(["volume", "versions", "-q"]).ok(), "");
    coracle.run(["volume", "rm", "vv"]).ok();
    coracle.run(["volume", "create", "vv"]).ok();
    std::fs::write(data(&coracle, "vv").join("big"), vec![1; 200 << 20]).unwrap();
    coracle.run(["volume", "snapshot", "vv"]).ok();
    // What has not changed takes no room a second and a third time.
    for _ in 0..3 {
        coracle.run(["volume", "snapshot", "vv"]).ok();
    }
    coracle.run(["volume", "rm", "--versions", "vv"]).ok();
    drop(disk);
}

#[test]
fn where_files_share_blocks_a_version_takes_no_room() {
    let coracle = crate::empty();
    let disk = Loop::mount(&coracle, "btrfs", &["-q"]);
    coracle.run(["volume", "create", "vv"]).ok();
    let file = data(&coracle, "vv").join("big");
    // Of different bytes, so that nothing else makes it small. Three copies of it would not fit.
    let mut bytes: Vec<u8> = (0..200_u32 << 18)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    std::fs::write(&file, &bytes).unwrap();
    for round in 0..4_u8 {
        coracle
            .run(["volume", "snapshot", "vv", &format!("v{round}")])
            .ok();
        coracle
            .run([
                "volume",
                "clone",
                &format!("vv:v{round}"),
                &format!("clone{round}"),
            ])
            .ok();
        bytes[4096 * usize::from(round)] ^= 0xff;
        std::os::unix::fs::FileExt::write_all_at(
            &std::fs::File::options().write(true).open(&file).unwrap(),
            &bytes[..64 << 10],
            0,
        )
        .unwrap();
    }
    coracle.run(["volume", "restore", "vv", "v0"]).ok();
    bytes[0] ^= 0xff;
    bytes[4096] ^= 0xff;
    bytes[8192] ^= 0xff;
    bytes[12288] ^= 0xff;
    assert!(
        std::fs::read(&file).unwrap() == bytes,
        "the first version is what was there"
    );
    coracle
        .run([
            "volume",
            "rm",
            "--versions",
            "vv",
            "clone0",
            "clone1",
            "clone2",
            "clone3",
        ])
        .ok();
    drop(disk);
}

#[test]
fn an_export_is_read_by_others_and_refuses_nothing_to_a_pipe() {
    let coracle = sandbox();
    furnish(&coracle, "vv");
    let mut child = coracle.start(["volume", "export", "vv"]);
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    let listing = coracle.write("export.tar", "");
    std::fs::write(&listing, &bytes).unwrap();
    let output = Command::new("tar").arg("-tf").arg(&listing).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        names,
        "./\n./dir/\n./dir/deep/\n./dir/file\n./dir/twin\n./link\n./same\n"
    );
}
