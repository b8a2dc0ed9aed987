//! Attacks on the engine from inside a container or an image. Each is seen to succeed against an engine whose defence
//! has been taken out: `scripts/broken`, and the table in docs/isolation.md.

mod builds;
mod defaults;
mod descriptors;
mod host;
mod kernel;
mod masks;
mod mounts;
mod networks;
mod program;
mod rights;
mod trees;
mod users;
mod volumes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::{Sandbox, images};

/// Returns the attacker's program, compiled once.
fn attacker() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attacker");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/attacks/attacker.c");
        let status = Command::new("cc")
            .args(["-static", "-O1", "-o"])
            .args([&path, &source])
            .status()
            .unwrap();
        assert!(status.success(), "the attacker does not compile");
        (directory, path)
    });
    path
}

/// The flag that puts the attacker's program into a container as `/attacker`.
fn with_attacker() -> String {
    format!("-v={}:/attacker:ro", attacker().display())
}

/// Makes an image of busybox with other files, and instructions of a Dockerfile that set its configuration.
fn image(coracle: &Sandbox, name: &str, instructions: &[&str], change: impl FnOnce(&Path)) {
    let directory = coracle.path().join(format!("image-{name}"));
    std::fs::create_dir(&directory).unwrap();
    images::busybox(&directory);
    let root = directory.join("busybox-root");
    change(&root);
    let tar = directory.join("root.tar");
    let status = Command::new("tar")
        .args(["--numeric-owner", "-cf"])
        .arg(&tar)
        .arg("-C")
        .arg(&root)
        .arg(".")
        .status()
        .unwrap();
    assert!(status.success());
    let changes = instructions.iter().map(|instruction| format!("-c={instruction}"));
    let path = "-c=ENV PATH=/bin:/usr/bin".to_owned();
    let words = ["import".to_owned(), path].into_iter().chain(changes);
    coracle
        .run(words.chain([tar.display().to_string(), name.to_owned()]))
        .ok();
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Makes an image of busybox whose configuration is not what any tool would write.
fn image_with_config(coracle: &Sandbox, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let directory = coracle.path().join(format!("image-{name}"));
    std::fs::create_dir(&directory).unwrap();
    images::busybox(&directory);
    let edit = |file: &str, change: &mut dyn FnMut(&mut serde_json::Value)| {
        let file = directory.join(file);
        let mut document = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        change(&mut document);
        std::fs::write(file, document.to_string()).unwrap();
    };
    let mut change = Some(change);
    edit("config.json", &mut |config| {
        if let Some(change) = change.take() {
            change(config);
        }
    });
    edit("manifest.json", &mut |manifest| {
        manifest[0]["RepoTags"] = serde_json::json!([format!("{name}:latest")]);
    });
    let tar = directory.join("archive.tar");
    let status = Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&directory)
        .args(["manifest.json", "config.json", "layer.tar"])
        .status()
        .unwrap();
    assert!(status.success());
    coracle.run(["load", "-q", "-i", tar.to_str().unwrap()]).ok();
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Waits until a container has written a line.
fn wait_for_log(coracle: &Sandbox, container: &str, line: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let logs = coracle.run(["logs", container]);
        if logs.stdout.lines().any(|each| each == line) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{container} never said {line}: {logs:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a container to end and returns what it wrote.
fn finish(coracle: &Sandbox, container: &str) -> String {
    coracle.run(["wait", container]).ok();
    coracle.run(["logs", container]).ok()
}

/// The directory of a volume on the host.
fn volume_directory(coracle: &Sandbox, name: &str) -> PathBuf {
    let format = "{{.Mountpoint}}";
    let path = coracle.run(["volume", "inspect", "-f", format, name]).ok();
    PathBuf::from(path.trim())
}
