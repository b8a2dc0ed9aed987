//! Whiteouts against the specification: they hide what lower layers have, and nothing of their own.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use store::{Layer, Lease, StoreError, Times};

fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_char_device() && about.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let tree = sys::path::Tree::open(path).unwrap();
    tree.xattrs(Path::new("."))
        .unwrap()
        .iter()
        .any(|(name, value)| name == "trusted.overlay.opaque" && value == b"y")
}

fn tar_of(fixture: &Fixture, layer: &Layer) -> Vec<u8> {
    let mut tar = Vec::new();
    fixture.store.write_layer_tar(layer, &mut tar).unwrap();
    tar
}

#[test]
fn a_whiteout_hides_only_what_is_below() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let (file, whiteout) = (("d/x", "own"), ("d/.wh.x", ""));
    for order in [[file, whiteout], [whiteout, file]] {
        let tar = order
            .iter()
            .fold(Tar::default().directory("d"), |tar, (path, data)| {
                tar.file(path, data)
            });
        let layer = fixture.unpack(&lease, &tar.finish()).unwrap();
        assert_eq!(
            std::fs::read_to_string(fixture.layer(&layer).join("d/x")).unwrap(),
            "own"
        );
    }
    let layer = fixture
        .unpack(&lease, &Tar::default().file("a/b/.wh.gone", "").finish())
        .unwrap();
    assert!(is_whiteout(&fixture.layer(&layer).join("a/b/gone")));
    assert!(!fixture.layer(&layer).join("a/b/.wh.gone").exists());
}

#[test]
fn a_directory_beside_its_own_whiteout_is_opaque() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    for tar in [
        Tar::default().file(".wh.d", "").directory("d").file("d/own", ""),
        Tar::default().directory("d").file("d/own", "").file(".wh.d", ""),
        Tar::default().file(".wh.d", "").file("d/own", ""),
        Tar::default()
            .directory("d")
            .file("d/.wh..wh..opq", "")
            .file("d/own", ""),
        Tar::default()
            .directory("d")
            .file("d/own", "")
            .file("d/.wh..wh..opq", ""),
    ] {
        let layer = fixture.unpack(&lease, &tar.finish()).unwrap();
        assert!(is_opaque(&fixture.layer(&layer).join("d")));
        assert!(fixture.layer(&layer).join("d/own").exists());
    }
}

#[test]
fn the_root_may_be_opaque_and_aufs_remains_are_left_out() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let tar = Tar::default()
        .file(".wh..wh..opq", "")
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "x")
        .directory("d")
        .file("d/.wh..wh.aufs", "")
        .finish();
    let layer = fixture.unpack(&lease, &tar).unwrap();
    assert!(is_opaque(&fixture.layer(&layer)));
    let names: Vec<_> = std::fs::read_dir(fixture.layer(&layer))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["d"]);
}

/// Makes a layer by mounting a snapshot and working in it.
fn build(fixture: &Fixture, lease: &Lease, parents: &[store::LayerId], work: impl Fn(&Path)) -> Layer {
    let snapshot = fixture.store.begin_snapshot(lease, parents).unwrap();
    let merged = fixture.root().join("merged");
    std::fs::create_dir_all(&merged).unwrap();
    let overlay = fixture
        .store
        .overlay(parents, Some((&snapshot.upper, &snapshot.work)), true);
    let lower: Vec<_> = overlay.lower.iter().map(|path| path.to_str().unwrap()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off",
        lower.join(":"),
        snapshot.upper.display(),
        snapshot.work.display()
    );
    let options = std::ffi::CString::new(options).unwrap();
    rustix::mount::mount(
        "overlay",
        &merged,
        "overlay",
        rustix::mount::MountFlags::empty(),
        Some(&*options),
    )
    .unwrap();
    let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&merged)));
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::DETACH).unwrap();
    worked.unwrap();
    fixture
        .store
        .commit_snapshot(lease, snapshot, Times::NoLaterThan(1_000_000_000))
        .unwrap()
}

#[test]
fn what_overlayfs_wrote_travels_as_a_tar_and_comes_back() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let base = Tar::default()
        .directory("d")
        .file("d/one", "1")
        .file("d/two", "2")
        .directory("e")
        .file("e/three", "3")
        .file("gone", "")
        .finish();
    let base = fixture.unpack(&lease, &base).unwrap();
    let top = build(&fixture, &lease, std::slice::from_ref(&base.id), |root| {
        std::fs::remove_file(root.join("gone")).unwrap();
        std::fs::write(root.join("d/one"), "new").unwrap();
        std::fs::remove_dir_all(root.join("e")).unwrap();
        std::fs::create_dir(root.join("e")).unwrap();
        std::fs::write(root.join("e/four"), "4").unwrap();
        assert!(
            root.join("etc/resolv.conf").exists(),
            "the skeleton is at the bottom"
        );
    });
    let path = fixture.layer(&top);
    assert!(is_whiteout(&path.join("gone")));
    assert!(is_opaque(&path.join("e")));
    assert!(!path.join("etc").exists());
    for name in ["d/one", "e", "e/four"] {
        let tree = sys::path::Tree::open(&path).unwrap();
        let foreign: Vec<_> = tree.xattrs(Path::new(name)).unwrap();
        assert!(
            foreign.iter().all(|(name, _)| name == "trusted.overlay.opaque"),
            "{name}: {foreign:?}"
        );
    }
    assert_eq!(
        std::fs::metadata(path.join("e/four")).unwrap().mtime(),
        1_000_000_000
    );
    let tar = tar_of(&fixture, &top);
    let second = Fixture::new();
    let lease = second.store.lease().unwrap();
    let copy = second.unpack(&lease, &tar).unwrap();
    assert!(is_whiteout(&second.layer(&copy).join("gone")));
    assert!(is_opaque(&second.layer(&copy).join("e")));
    let again = second.store.begin_snapshot(&lease, &[]).unwrap();
    std::fs::remove_dir(&again.upper).unwrap();
    std::process::Command::new("cp")
        .arg("-a")
        .arg(second.layer(&copy))
        .arg(&again.upper)
        .status()
        .unwrap();
    let made = second
        .store
        .commit_snapshot(&lease, again, Times::AsFound)
        .unwrap();
    assert_eq!(made.id, copy.id, "the same tree gives the same layer");
}

#[test]
fn the_same_snapshot_twice_is_one_layer() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let make = || {
        let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
        std::fs::write(snapshot.upper.join("file"), "same").unwrap();
        fixture
            .store
            .commit_snapshot(&lease, snapshot, Times::Exactly(5))
            .unwrap()
    };
    let (first, second) = (make(), make());
    assert_eq!(first, second);
    assert_eq!(
        std::fs::read_dir(fixture.root().join("snapshots"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_no_tar_can_say_is_refused() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
    std::fs::write(snapshot.upper.join(".wh.me"), "").unwrap();
    assert!(matches!(
        fixture.store.commit_snapshot(&lease, snapshot, Times::AsFound),
        Err(StoreError::Snapshot { .. })
    ));
    let snapshot = fixture.store.begin_snapshot(&lease, &[]).unwrap();
    std::fs::create_dir(snapshot.upper.join("d")).unwrap();
    let tree = sys::path::Tree::open(&snapshot.upper).unwrap();
    tree.set_xattr(Path::new("d"), "trusted.overlay.redirect".as_ref(), b"/etc")
        .unwrap();
    assert!(matches!(
        fixture.store.commit_snapshot(&lease, snapshot, Times::AsFound),
        Err(StoreError::Snapshot { .. })
    ));
    assert_eq!(fixture.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn hard_links_reach_lower_layers_when_these_are_given() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let lower = fixture
        .unpack(&lease, &Tar::default().file("d/original", "content").finish())
        .unwrap();
    let hides = fixture
        .unpack(&lease, &Tar::default().file("d/.wh.original", "").finish())
        .unwrap();
    let tar = Tar::default()
        .hard_link("one", "d/original")
        .hard_link("two", "/d/original")
        .finish();
    let blob = fixture::descriptor(fixture::LAYER, &tar);
    let diff_id = fixture::sha256(&tar);
    let mut opened = 0;
    let mut open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
        opened += 1;
        Ok(Box::new(std::io::Cursor::new(tar.clone())))
    };
    assert!(matches!(
        fixture.store.unpack_layer(&lease, &blob, &diff_id, &mut open),
        Err(StoreError::NeedsParents { .. })
    ));
    let hidden = [lower.id.clone(), hides.id];
    fixture
        .store
        .unpack_layer_over(&lease, &blob, &diff_id, &hidden, &mut open)
        .expect_err("it is whited out");
    let layer = fixture
        .store
        .unpack_layer_over(&lease, &blob, &diff_id, &[lower.id], &mut open)
        .unwrap();
    assert_eq!(opened, 1, "the blob is kept between the attempts");
    let about = |name: &str| std::fs::metadata(fixture.layer(&layer).join(name)).unwrap();
    assert_eq!(
        std::fs::read_to_string(fixture.layer(&layer).join("one")).unwrap(),
        "content"
    );
    assert_eq!(
        (about("one").ino(), about("one").nlink()),
        (about("two").ino(), 2)
    );
}
