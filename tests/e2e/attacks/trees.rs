//! Trees of containers and images that the engine reads and writes from outside: `cp`, volumes, archives.

use super::{attacker, image, image_with_config, volume_directory};
use crate::sandbox;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use testkit::attack::SECRET;
use testkit::{Canaries, Swapper, attack};

/// CVE-2018-15664, CVE-2026-41568: a container swaps a directory for a link while files are copied in and out.
#[test]
fn cp_never_leaves_a_running_container() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    coracle
        .run([
            "run",
            "-d",
            "--name",
            "it",
            "-v=shared:/data",
            "busybox",
            "sleep",
            "1000",
        ])
        .ok();
    let directory = volume_directory(&coracle, "shared");
    fs::create_dir(directory.join("a")).unwrap();
    fs::write(directory.join("a/secret"), "the container's own").unwrap();
    symlink(canaries.path(), directory.join("link")).unwrap();
    let evil = coracle.write("evil/secret", "overwritten");
    let swapper = Swapper::start(directory.join("a"), directory.join("link"));
    for round in 0..attack::rounds() {
        for source in [
            "it:/data/a/secret",
            "it:/data/a/.",
            "it:/data/a",
            "it:/data/link/secret",
        ] {
            let copied = coracle.run(["cp", source, "-"]);
            assert!(!copied.stdout.contains(SECRET), "{source} was read from the host");
        }
        // A link comes out as a link, and is not written through.
        let out = coracle.path().join(format!("out{round}"));
        coracle.run(["cp", "it:/data/a", out.to_str().unwrap()]);
        // To a place of its own, for who copies onto a link means its end.
        let whole = coracle.path().join(format!("whole{round}"));
        coracle.run(["cp", "it:/data/a/.", whole.to_str().unwrap()]);
        coracle.run(["cp", evil.to_str().unwrap(), "it:/data/a/secret"]);
        coracle.run(["cp", evil.to_str().unwrap(), "it:/data/a/new"]);
        canaries.assert_untouched("cp");
    }
    drop(swapper);
}

/// The same in a container that does not run, whose image has the links.
#[test]
fn cp_never_leaves_a_stopped_container() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let outside = canaries.path().to_owned();
    image(&coracle, "links", &[], |root| {
        symlink(&outside, root.join("absolute")).unwrap();
        symlink(
            format!("../../../../../../..{}", outside.display()),
            root.join("relative"),
        )
        .unwrap();
        symlink(outside.join("secret"), root.join("file")).unwrap();
        symlink("absolute", root.join("chain")).unwrap();
        symlink("/tmp", root.join("inside")).unwrap();
    });
    coracle
        .run(["create", "--name", "it", "-v=shared:/data", "links", "true"])
        .ok();
    symlink(canaries.path(), volume_directory(&coracle, "shared").join("link")).unwrap();
    let evil = coracle.write("evil/secret", "overwritten");
    let evil = evil.to_str().unwrap();
    for link in ["absolute", "relative", "chain", "data/link"] {
        for name in ["secret", "new", "empty/", "etc/passwd"] {
            let inside = format!("it:/{link}/{name}");
            let outcome = coracle.run(["cp", &inside, "-"]);
            assert!(!outcome.stdout.contains(SECRET), "{inside}");
            coracle.run(["cp", evil, &inside]);
            canaries.assert_untouched(&inside);
        }
    }
    let followed = coracle.run(["cp", "-L", "it:/file", "-"]);
    assert!(!followed.stdout.contains(SECRET), "{followed:?}");
    coracle.run(["cp", evil, "it:/file"]);
    coracle.run(["cp", evil, "it:/file/"]);
    canaries.assert_untouched("cp to a link");
    // Links that stay inside are still links.
    coracle.run(["cp", evil, "it:/inside/arrived"]).ok();
    let arrived = coracle.run(["cp", "it:/tmp/arrived", "-"]).ok();
    assert!(arrived.contains("overwritten"));
}

/// CVE-2019-14271, CVE-2026-41567: nothing of an image is executed or loaded to copy its files, whatever it is called.
#[test]
fn nothing_of_an_image_runs_outside() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    // Each of them is the attacker's program, under a name that engines have looked for in the wrong tree. It would
    // have to be executed with the host in sight; so it is set up to write there.
    let marker = canaries.path().join("executed");
    let trap = format!("#!/bin/sh\necho executed > {}\n", marker.display());
    image(&coracle, "traps", &["VOLUME /data"], |root| {
        for name in [
            "xz", "unxz", "gzip", "unpigz", "zstd", "tar", "ps", "nsenter", "mount", "id", "getent",
        ] {
            for directory in ["bin", "usr/bin"] {
                let path = root.join(directory).join(name);
                if path.symlink_metadata().is_ok() {
                    fs::remove_file(&path).unwrap();
                }
                fs::write(&path, &trap).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::create_dir_all(root.join("lib/x86_64-linux-gnu")).unwrap();
        for library in ["libnss_files.so.2", "libnss_dns.so.2", "libc.so.6"] {
            fs::copy(attacker(), root.join("lib/x86_64-linux-gnu").join(library)).unwrap();
        }
    });
    coracle
        .run(["run", "-d", "--name", "it", "traps", "sleep", "1000"])
        .ok();
    let file = coracle.write("in/file", "content");
    let directory = file.parent().unwrap().to_str().unwrap();
    coracle.run(["cp", directory, "it:/data"]).ok();
    coracle.run(["cp", "it:/etc", "-"]).ok();
    let compressed = coracle.path().join("in.tar.xz");
    let status = std::process::Command::new("tar")
        .args(["-cJf", compressed.to_str().unwrap(), "-C", directory, "file"])
        .status()
        .unwrap();
    assert!(status.success());
    // Docker unpacks it; refusing is as good.
    coracle.run_with_input(["cp", "-", "it:/tmp"], &fs::read(&compressed).unwrap());
    coracle.run(["export", "-o", "/dev/null", "it"]).ok();
    coracle.run(["run", "--rm", "-u", "app", "traps", "true"]).ok();
    // podman CVE-2022-1227.
    coracle.run(["top", "it"]).ok();
    coracle.run(["stop", "-t", "0", "it"]).ok();
    assert!(!marker.exists(), "a program of the image ran outside");
    canaries.assert_untouched("the image's program");
}

/// podman CVE-2019-10152, containerd CVE-2022-23648: what an image has at a volume's place is copied into the volume.
#[test]
fn copying_into_a_volume_never_reads_the_host() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let outside = canaries.path().to_owned();
    let volumes = [
        "VOLUME /link",
        "VOLUME /relative",
        "VOLUME /a/../../../link/etc",
        "VOLUME /dir",
    ];
    image(&coracle, "volumes", &volumes, |root| {
        symlink(&outside, root.join("link")).unwrap();
        symlink(
            format!("../../../../..{}", outside.display()),
            root.join("relative"),
        )
        .unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        symlink(outside.join("secret"), root.join("dir/secret")).unwrap();
        symlink(&outside, root.join("dir/etc")).unwrap();
    });
    let look =
        "cat /link/secret /relative/secret /link/etc/passwd /dir/secret /dir/etc/secret 2>/dev/null; true";
    let seen = coracle.run(["run", "--rm", "volumes", "sh", "-c", look]);
    assert!(
        !seen.stdout.contains(SECRET) && !seen.stdout.contains("intruder"),
        "{seen:?}"
    );
    canaries.assert_untouched("copying into a volume");
    let named = coracle.run([
        "run",
        "--rm",
        "-v=one:/link",
        "-v=two:/relative/etc",
        "volumes",
        "sh",
        "-c",
        look,
    ]);
    assert!(
        !named.stdout.contains(SECRET) && !named.stdout.contains("intruder"),
        "{named:?}"
    );
    canaries.assert_untouched("copying into a volume with a name");
    // One that has something in it stays as it is.
    coracle
        .run(["run", "--rm", "-v=full:/x", "busybox", "touch", "/x/kept"])
        .ok();
    let kept = coracle
        .run(["run", "--rm", "-v=full:/dir", "volumes", "ls", "-A", "/dir"])
        .ok();
    assert_eq!(kept, "kept\n");
}

/// podman CVE-2026-57231: an image's environment is what it says, and never the host's.
#[test]
fn an_image_does_not_read_the_hosts_environment() {
    let coracle = sandbox();
    image_with_config(&coracle, "env", |config| {
        config["config"]["Env"] = serde_json::json!(["PATH=/bin", "SECRET", "HOME_OF_HOST"]);
    });
    let run = |flags: &[&str]| {
        let mut command = coracle.command([&["run", "--rm"], flags, &["env", "env"]].concat());
        command.env("SECRET", SECRET).env("ASKED_FOR", "given");
        testkit::sandbox::outcome(&command.output().unwrap())
    };
    let seen = run(&["-e", "ASKED_FOR"]);
    assert!(!seen.stdout.contains(SECRET), "{seen:?}");
    assert!(seen.ok().contains("ASKED_FOR=given\n"));
}
