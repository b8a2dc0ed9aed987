//! `--storage-opt size=`, on filesystems that limit projects.

use crate::{host, sandbox};
use std::path::PathBuf;
use std::process::Command;
use testkit::{Outcome, Sandbox};

/// A filesystem in a file, mounted.
struct Disk {
    mounted: PathBuf,
}

impl Disk {
    fn new(sandbox: &Sandbox, make: &[&str], options: &str) -> Self {
        let image = sandbox.path().join("disk");
        let mounted = sandbox.path().join("mounted");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(400 << 20).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        let run = |program: &str, arguments: &[&str], more: &[&std::path::Path]| {
            let output = Command::new(program).args(arguments).args(more).output().unwrap();
            assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        };
        run(make[0], &make[1..], &[&image]);
        run("mount", &["-o", options], &[&image, &mounted]);
        Self { mounted }
    }

    /// Runs a command on a root in it.
    fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
        let mut command = sandbox.command(arguments);
        command.env("CORACLE_ROOT", self.mounted.join("root"));
        testkit::outcome(&command.output().unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        host("umount", &[self.mounted.to_str().unwrap()]);
    }
}

fn limits_what_is_written(make: &[&str], options: &str) {
    let sandbox = sandbox();
    let disk = Disk::new(&sandbox, make, options);
    let archive = testkit::images::busybox(sandbox.path());
    disk.run(&sandbox, &["load", "-q", "-i", archive.to_str().unwrap()])
        .ok();

    let write = "dd if=/dev/zero of=/first bs=1M count=6 && mkdir /deep && dd if=/dev/zero of=/deep/second bs=1M count=6";
    let limited = [
        "run",
        "--name",
        "limited",
        "--storage-opt",
        "size=10m",
        "busybox",
        "sh",
        "-c",
        write,
    ];
    let refused = disk.run(&sandbox, &limited);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("No space left on device") || refused.stderr.contains("uota exceeded"),
        "{}",
        refused.stderr
    );
    // It is a limit of what is in the container, not of one run; and what is removed counts no more.
    let again = disk.run(&sandbox, &["start", "-a", "limited"]);
    assert_eq!(again.code, 1, "{again:?}");
    let shown = disk.run(
        &sandbox,
        &["inspect", "-f", "{{.HostConfig.StorageOpt.size}}", "limited"],
    );
    assert_eq!(shown.ok(), "10m\n");
    let room = "dd if=/dev/zero of=/first bs=1M count=6 && mkdir /deep && echo >/deep/x && mv /deep /elsewhere && rm /first && dd if=/dev/zero of=/third bs=1M count=6";
    disk.run(
        &sandbox,
        &[
            "run",
            "--rm",
            "--storage-opt",
            "size=10m",
            "busybox",
            "sh",
            "-c",
            room,
        ],
    )
    .ok();
    // What is copied in counts, too.
    let large = sandbox.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(0).unwrap();
    std::fs::write(&large, vec![1; 12 << 20]).unwrap();
    disk.run(
        &sandbox,
        &[
            "create",
            "--name",
            "fresh",
            "--storage-opt",
            "size=10m",
            "busybox",
            "true",
        ],
    )
    .ok();
    let copied = disk.run(&sandbox, &["cp", large.to_str().unwrap(), "fresh:/large"]);
    assert_eq!(copied.code, 1, "{copied:?}");

    // Others are not limited.
    disk.run(&sandbox, &["run", "--rm", "busybox", "sh", "-c", write])
        .ok();
    disk.run(&sandbox, &["commit", "limited", "kept"]).ok();
    disk.run(&sandbox, &["system", "prune", "-af", "--volumes"]).ok();
    host("sync", &[]);
    let report = host(
        "sh",
        &["-c", &format!("ls {}/root/containers", disk.mounted.display())],
    );
    assert_eq!(report, "", "nothing is left of them");
}

#[test]
fn ext4_limits_what_is_written() {
    limits_what_is_written(
        &[
            "mkfs.ext4",
            "-q",
            "-O",
            "quota,project",
            "-E",
            "quotatype=prjquota",
        ],
        "loop,prjquota",
    );
}

#[test]
fn xfs_limits_what_is_written() {
    limits_what_is_written(&["mkfs.xfs", "-q"], "loop,prjquota");
}

#[test]
fn a_filesystem_that_only_counts_is_refused() {
    let sandbox = sandbox();
    let disk = Disk::new(&sandbox, &["mkfs.xfs", "-q"], "loop,pqnoenforce");
    let archive = testkit::images::busybox(sandbox.path());
    disk.run(&sandbox, &["load", "-q", "-i", archive.to_str().unwrap()])
        .ok();
    let limited = ["create", "--storage-opt", "size=10m", "busybox", "true"];
    let refused = disk.run(&sandbox, &limited).fails(1);
    assert!(
        refused.contains("--storage-opt is supported only for") && refused.contains("prjquota"),
        "{refused}"
    );
    disk.run(&sandbox, &["create", "busybox", "true"]).ok();
    disk.run(&sandbox, &["system", "prune", "-af"]).ok();
}
