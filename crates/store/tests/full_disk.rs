//! A disk without space or inodes.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar, open};
use std::path::{Path, PathBuf};

/// A small filesystem at a path, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(&*options),
        )
        .unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_named_and_left_as_it_was() {
    for options in ["size=3m", "size=64m,nr_inodes=300"] {
        let directory = tempfile::tempdir().unwrap();
        let small = Small::mount(directory.path(), options);
        let store = open(directory.path());
        let fixture = Fixture { directory, store };
        let lease = fixture.store.lease().unwrap();
        let kept = fixture
            .unpack(&lease, &Tar::default().file("kept", "x").finish())
            .unwrap();
        let before = fixture.leftovers();
        let mut large = Tar::default();
        for number in 0..400 {
            large = large.file(&format!("f{number}"), &"x".repeat(12_000));
        }
        let large = large.finish();
        let error = fixture.unpack(&lease, &large).unwrap_err();
        assert!(error.is_no_space(), "{options}: {error:?}");
        assert!(error.hint().unwrap().contains("prune"));
        assert_eq!(fixture.leftovers(), before, "{options}");
        let config = oci::ImageConfig::default();
        let error = fixture
            .store
            .import(&mut &large[..], config, "", None)
            .unwrap_err();
        assert!(error.is_no_space(), "{options}: {error:?}");
        assert_eq!(fixture.leftovers(), before, "{options}");
        let archive = Tar::default()
            .raw(b'0', b"layer", b"", 0o644, &vec![0; 4 << 20])
            .finish();
        if options.starts_with("size=3m") {
            assert!(
                fixture
                    .store
                    .load(&mut &archive[..], &[])
                    .unwrap_err()
                    .is_no_space()
            );
            assert_eq!(fixture.leftovers(), before, "{options}");
        }
        // What is there can be taken away, and then there is space again.
        drop(lease);
        assert_eq!(fixture.store.collect_garbage().unwrap().layers, 1);
        assert!(!fixture.layer(&kept).exists());
        let lease = fixture.store.lease().unwrap();
        fixture
            .unpack(&lease, &Tar::default().file("again", "x").finish())
            .unwrap();
        drop(lease);
        drop(small);
    }
}
