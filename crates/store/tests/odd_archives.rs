//! Archives that GNU tar and Python's tarfile write in all their formats, and what GNU tar makes of them.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Name, kind, mode, owner, size, whole-second time, links and content of everything in a tree.
fn look(root: &Path) -> Vec<String> {
    fn visit(root: &Path, path: &Path, seen: &mut Vec<String>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let about = std::fs::symlink_metadata(&path).unwrap();
            let is_file = about.is_file();
            seen.push(format!(
                "{:?} {:o} {}:{} {} {} {:?} {}",
                path.strip_prefix(root).unwrap(),
                about.mode(),
                about.uid(),
                about.gid(),
                about.mtime(),
                if about.is_dir() { 0 } else { about.nlink() },
                std::fs::read_link(&path).ok(),
                if is_file {
                    fixture::sha256(&std::fs::read(&path).unwrap()).to_string()
                } else {
                    String::new()
                },
            ));
            if about.is_dir() {
                visit(root, &path, seen);
            }
        }
    }
    let mut seen = Vec::new();
    visit(root, root, &mut seen);
    seen.sort();
    seen
}

/// A tree with something of everything.
fn sources(root: &Path) {
    let long = "long-name-".repeat(9);
    std::fs::create_dir_all(root.join(&long).join(&long).join(&long)).unwrap();
    std::fs::write(root.join(&long).join(&long).join(&long).join("deep"), "deep").unwrap();
    std::fs::write(root.join("plain"), "plain".repeat(3000)).unwrap();
    std::fs::write(root.join("umlaut-äöü"), "").unwrap();
    std::fs::hard_link(root.join("plain"), root.join("second")).unwrap();
    std::os::unix::fs::symlink(format!("{long}/{long}/nowhere"), root.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    run(Command::new("mknod").arg(root.join("null")).args(["c", "1", "3"]));
    std::fs::write(root.join("foreign"), "x").unwrap();
    std::os::unix::fs::chown(root.join("foreign"), Some(1000), Some(2_000_000)).unwrap();
    run(Command::new("chmod").arg("6755").arg(root.join("foreign")));
    let old = std::fs::File::open(root.join("foreign")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(12_345_678))
        .unwrap();
}

fn holes(root: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(root.join("holes")).unwrap();
    for piece in 0..40_u64 {
        file.write_all_at(b"piece", piece * 200_000).unwrap();
    }
    file.set_len(40 * 200_000 + 77_777).unwrap();
    std::fs::File::create(root.join("nothing-but-hole"))
        .unwrap()
        .set_len(5_000_000)
        .unwrap();
}

#[test]
fn every_format_of_gnu_tar_is_read_as_gnu_tar_reads_it() {
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        let work = tempfile::tempdir().unwrap();
        let (from, theirs) = (work.path().join("from"), work.path().join("theirs"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&theirs).unwrap();
        sources(&from);
        if matches!(format, "v7" | "ustar") {
            // These cannot name all of it.
            for entry in std::fs::read_dir(&from).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() || path.is_symlink() || (format == "v7" && !path.is_file()) {
                    sys::fs::remove_all(&path).unwrap();
                }
            }
            if format == "v7" {
                std::fs::remove_file(from.join("foreign")).unwrap();
                for special in ["fifo", "null"] {
                    sys::fs::remove_all(&from.join(special)).unwrap();
                }
            }
        }
        let archive = work.path().join("archive.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&from)
            .args(["--numeric-owner", "--format", format, "-cf"])
            .arg(&archive)
            .arg("."));
        run(Command::new("tar")
            .arg("-C")
            .arg(&theirs)
            .args(["--numeric-owner", "-xpf"])
            .arg(&archive));
        let fixture = Fixture::new();
        let lease = fixture.store.lease().unwrap();
        let layer = fixture.unpack(&lease, &std::fs::read(&archive).unwrap()).unwrap();
        assert_eq!(look(&fixture.layer(&layer)), look(&theirs), "{format}");
    }
}

#[test]
fn every_kind_of_sparse_file_is_read_and_stays_sparse() {
    for arguments in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let work = tempfile::tempdir().unwrap();
        let from = work.path().join("from");
        std::fs::create_dir(&from).unwrap();
        holes(&from);
        std::fs::write(from.join("zz-after"), "found").unwrap();
        let archive = work.path().join("archive.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&from)
            .args(arguments)
            .args(["-S", "--sort=name", "-cf"])
            .arg(&archive)
            .arg("."));
        assert!(
            std::fs::metadata(&archive).unwrap().len() < 2_000_000,
            "GNU tar saw the holes"
        );
        let fixture = Fixture::new();
        let lease = fixture.store.lease().unwrap();
        let layer = fixture.unpack(&lease, &std::fs::read(&archive).unwrap()).unwrap();
        assert_eq!(look(&fixture.layer(&layer)), look(&from), "{arguments:?}");
        let about = std::fs::metadata(fixture.layer(&layer).join("holes")).unwrap();
        assert!(
            about.blocks() * 512 < about.len() / 2,
            "{arguments:?}: its holes take space"
        );
    }
}

#[test]
fn pythons_formats_are_read_as_gnu_tar_reads_them() {
    for format in ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"] {
        let work = tempfile::tempdir().unwrap();
        let (from, theirs) = (work.path().join("from"), work.path().join("theirs"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&theirs).unwrap();
        sources(&from);
        if format == "USTAR_FORMAT" {
            for name in ["foreign", "link"] {
                std::fs::remove_file(from.join(name)).unwrap();
            }
            for entry in std::fs::read_dir(&from).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    std::fs::remove_dir_all(path).unwrap();
                }
            }
        }
        let archive = work.path().join("archive.tar");
        let program = format!(
            "import sys, tarfile; t = tarfile.open(sys.argv[1], 'w', format=tarfile.{format}); t.add(sys.argv[2], '.'); t.close()"
        );
        run(Command::new("python3")
            .args(["-c", &program])
            .arg(&archive)
            .arg(&from));
        run(Command::new("tar")
            .arg("-C")
            .arg(&theirs)
            .args(["--numeric-owner", "-xpf"])
            .arg(&archive));
        let fixture = Fixture::new();
        let lease = fixture.store.lease().unwrap();
        let layer = fixture.unpack(&lease, &std::fs::read(&archive).unwrap()).unwrap();
        assert_eq!(look(&fixture.layer(&layer)), look(&theirs), "{format}");
    }
}

#[test]
fn what_we_write_gnu_tar_and_python_read() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
    sources(&snapshot.upper);
    let layer = fixture
        .store
        .commit_snapshot(&lease, snapshot, store::Times::AsFound)
        .unwrap();
    let work = tempfile::tempdir().unwrap();
    let archive = work.path().join("archive.tar");
    fixture
        .store
        .write_layer_tar(&layer, &mut std::fs::File::create(&archive).unwrap())
        .unwrap();
    let theirs = work.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    run(Command::new("tar")
        .arg("-C")
        .arg(&theirs)
        .args(["--numeric-owner", "-xpf"])
        .arg(&archive));
    assert_eq!(look(&theirs), look(&fixture.layer(&layer)));
    let program = "import sys, tarfile; print(len(tarfile.open(sys.argv[1]).getnames()))";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(&archive)
        .output()
        .unwrap();
    let count: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(count, look(&theirs).len());
}

#[test]
fn an_empty_layer_is_a_layer() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = fixture.unpack(&lease, &Tar::default().finish()).unwrap();
    assert_eq!(
        layer.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "Docker's digest of nothing"
    );
    let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
    assert_eq!(
        fixture
            .store
            .commit_snapshot(&lease, snapshot, store::Times::AsFound)
            .unwrap(),
        layer
    );
}
