//! Volumes whose content a container changes while the engine reads them, and archives that become volumes.

use super::volume_directory;
use crate::sandbox;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::attack::SECRET;
use testkit::{Canaries, Sandbox, Swapper, attack};

/// Makes a volume that is in use, with a directory and a link out that change places.
fn shared(coracle: &Sandbox, canaries: &Canaries) -> (PathBuf, Swapper) {
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
    let directory = volume_directory(coracle, "shared");
    fs::create_dir_all(directory.join("a/etc")).unwrap();
    fs::write(directory.join("a/secret"), "the container's own").unwrap();
    fs::write(directory.join("a/etc/passwd"), "the container's own").unwrap();
    symlink(canaries.path(), directory.join("link")).unwrap();
    let swapper = Swapper::start(directory.join("a"), directory.join("link"));
    (directory, swapper)
}

/// CVE-2018-15664, podman CVE-2019-10152 and their like: a container swaps a directory for a link while its volume is
/// copied, compared, measured, written as an archive.
#[test]
fn copies_and_comparisons_never_leave_the_volume() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let (_directory, swapper) = shared(&coracle, &canaries);
    coracle
        .run(["volume", "snapshot", "--live", "shared", "first"])
        .ok();
    for round in 0..attack::rounds() {
        let tag = format!("v{round}");
        // They may fail, for the tree is moving.
        coracle.run(["volume", "snapshot", "--live", "shared", &tag]);
        canaries.assert_untouched("volume snapshot --live");
        coracle.run(["volume", "snapshot", "shared"]);
        canaries.assert_untouched("volume snapshot");
        let exported = coracle.run(["volume", "export", "--live", "shared"]);
        assert!(!exported.stdout.contains(SECRET), "the host's file was exported");
        canaries.assert_untouched("volume export");
        coracle.run(["volume", "diff", "shared", "first"]);
        canaries.assert_untouched("volume diff");
        coracle.run(["volume", "clone", "--live", "shared", &format!("clone{round}")]);
        canaries.assert_untouched("volume clone");
        coracle.run(["system", "df", "-v"]);
        canaries.assert_untouched("system df");
    }
    drop(swapper);
    coracle.run(["rm", "-f", "it"]).ok();
    coracle.run(["volume", "restore", "shared", "first"]).ok();
    coracle.run(["volume", "rm", "--versions", "shared"]).ok();
    canaries.assert_untouched("volume restore and rm");
}

/// A part of a volume is found inside of it (CVE-2023-0778 and the races of subPath, CVE-2021-25741).
#[test]
fn a_swapped_part_of_a_volume_never_leads_out() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let (_directory, swapper) = shared(&coracle, &canaries);
    for _ in 0..attack::rounds() {
        for part in ["a", "a/etc", "link/etc", "a/secret"] {
            let mount = format!("type=volume,src=shared,dst=/part,volume-subpath={part}");
            let script =
                "cat /part /part/secret /part/passwd; echo written > /part/new; echo written > /part";
            let seen = coracle.run(["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script]);
            assert!(
                !seen.stdout.contains(SECRET) && !seen.stdout.contains("intruder"),
                "{part}: the host's file was read"
            );
            canaries.assert_untouched(part);
        }
    }
    drop(swapper);
    coracle.run(["rm", "-f", "it"]).ok();
}

fn tar(path: &Path, script: &str) {
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}

/// CVE-2014-9356 and the like: an archive that becomes a volume writes where the volume is, whatever it names.
#[test]
fn an_archive_never_writes_outside_of_its_volume() {
    let coracle = sandbox();
    let canaries = Canaries::plant(coracle.path().join("canaries"));
    let outside = canaries.path().display().to_string();
    let write = |members: &str| {
        format!(
            "import io, sys, tarfile\n\
             out = tarfile.open(sys.argv[1], 'w')\n\
             def file(name):\n\
             \x20   info = tarfile.TarInfo(name); data = b'overwritten'; info.size = len(data)\n\
             \x20   out.addfile(info, io.BytesIO(data))\n\
             def link(name, target, kind=tarfile.SYMTYPE):\n\
             \x20   info = tarfile.TarInfo(name); info.type = kind; info.linkname = target; out.addfile(info)\n\
             {members}\n\
             out.close()\n"
        )
    };
    let up = "../".repeat(20);
    for (number, members) in [
        format!("file('{up}{outside}/new')"),
        format!("file('{outside}/new')"),
        format!("link('l', '{outside}'); file('l/new'); file('l/secret')"),
        format!("link('l', '{up}{outside}'); file('l/new'); file('l/empty/new')"),
        format!("link('l', '{outside}/secret'); file('l')"),
        format!("link('h', '{outside}/secret', tarfile.LNKTYPE); file('h')"),
        format!("link('l', '{outside}'); link('h', 'l/secret', tarfile.LNKTYPE); file('h')"),
        format!("link('d', '{outside}'); link('d/e', 'x'); link('d', 'y')"),
        format!("link('.', '{outside}'); file('./new')"),
    ]
    .iter()
    .enumerate()
    {
        let archive = coracle.path().join(format!("{number}.tar"));
        tar(&archive, &write(members));
        let name = format!("volume{number}");
        coracle.run(["volume", "import", &name, archive.to_str().unwrap()]);
        canaries.assert_untouched(members);
        let look = "cat /data/l /data/l/secret /data/h; echo written > /data/h; true";
        let seen = coracle.run([
            "run",
            "--rm",
            "-v",
            &format!("{name}:/data"),
            "busybox",
            "sh",
            "-c",
            look,
        ]);
        assert!(
            !seen.stdout.contains(SECRET),
            "{members}: the host's file was read"
        );
        canaries.assert_untouched(members);
    }
}
