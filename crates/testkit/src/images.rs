//! Images made in code.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Applets of busybox that the test image has.
const APPLETS: [&str; 62] = [
    "[",
    "adduser",
    "ash",
    "awk",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mount",
    "mv",
    "nc",
    "nslookup",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "tail",
    "tar",
    "test",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "wc",
    "whoami",
    "yes",
];

/// Writes a docker-archive of an image with the host's static busybox to `directory` and returns its path. It has a
/// user `app` (1000) in the groups `app` (1000) and `staff` (50), and the name `busybox:latest`.
pub fn busybox(directory: &Path) -> PathBuf {
    let root = directory.join("busybox-root");
    for name in ["bin", "etc", "home/app", "root", "tmp", "usr/bin", "var"] {
        fs::create_dir_all(root.join(name)).expect("the root filesystem is made");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("the package busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("an applet is linked");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("passwd is written");
    fs::write(root.join("etc/group"), "root:x:0:\nstaff:x:50:app\napp:x:1000:\n").expect("group is written");
    set_mode(&root.join("tmp"), 0o1777);
    let layer = directory.join("layer.tar");
    tar(&root, &layer, &["."]);
    let digest = sha256(&layer);
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "made for tests"}],
        "created": "2020-01-01T00:00:00Z",
    });
    fs::write(directory.join("config.json"), config.to_string()).expect("the configuration is written");
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["busybox:latest"], "Layers": ["layer.tar"]}]);
    fs::write(directory.join("manifest.json"), manifest.to_string()).expect("the manifest is written");
    let archive = directory.join("busybox.tar");
    tar(
        directory,
        &archive,
        &["manifest.json", "config.json", "layer.tar"],
    );
    archive
}

fn tar(directory: &Path, archive: &Path, members: &[&str]) {
    let status = Command::new("tar")
        .args([
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--sort=name",
            "--mtime=@1577836800",
            "-cf",
        ])
        .arg(archive)
        .arg("-C")
        .arg(directory)
        .args(members)
        .status()
        .expect("tar runs");
    assert!(status.success(), "tar failed");
}

fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).expect("the layer is readable");
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let digest: [u8; 32] = digest.as_ref().try_into().expect("sha256 has 32 bytes");
    oci::Digest::from_sha256(digest).hex()
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
}
