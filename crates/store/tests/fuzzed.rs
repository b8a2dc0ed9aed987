//! Archives changed at random: whatever comes of them, nothing outside changes, and a refusal leaves nothing.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar};
use proptest::prelude::*;
use std::path::PathBuf;

/// A member with a name and target that like to lead out.
fn member() -> impl Strategy<Value = (u8, String, String, Vec<u8>)> {
    let path = prop_oneof![
        Just("a"),
        Just("b"),
        Just("a/b"),
        Just("b/a"),
        Just("a/b/c"),
        Just("../x"),
        Just("/a"),
        Just("a/../../x"),
        Just("."),
        Just("a/.wh.b"),
        Just(".wh.a"),
        Just("a/.wh..wh..opq"),
        Just(".wh..."),
        Just("b/../a/b"),
        Just(""),
    ];
    let target = prop_oneof![
        Just("a"),
        Just("b"),
        Just("a/b"),
        Just("../.."),
        Just("/"),
        Just("CANARY"),
        Just("CANARY/file"),
        Just("../../../../../../../../../../../../../../../tmp"),
        Just("."),
        Just(""),
    ];
    let flag = prop_oneof![4 => Just(b'0'), 3 => Just(b'1'), 4 => Just(b'2'), 1 => Just(b'3'), 4 => Just(b'5'), 1 => Just(b'6')];
    (flag, path, target, prop::collection::vec(any::<u8>(), 0..50))
        .prop_map(|(flag, path, target, data)| (flag, path.to_owned(), target.to_owned(), data))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_gets_out(
        members in prop::collection::vec(member(), 1..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        repair in any::<bool>(),
    ) {
        thread_local! {
            static FIXTURE: Fixture = Fixture::new();
        }
        FIXTURE.with(|fixture| {
            let canary = fixture.root().join("canary");
            std::fs::create_dir_all(&canary).unwrap();
            std::fs::write(canary.join("file"), "as it was").unwrap();
            let mut tar = Tar::default();
            for (flag, path, target, data) in &members {
                let target = target.replace("CANARY", canary.to_str().unwrap());
                let data = if *flag == b'0' { &data[..] } else { b"" };
                let link = if matches!(flag, b'1' | b'2') { target.as_bytes() } else { b"" };
                tar = tar.raw(*flag, path.as_bytes(), link, 0o6777, data);
            }
            let mut bytes = tar.finish();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
                if repair {
                    // A wrong checksum would hide what the change does.
                    let block = at / 512 * 512;
                    let mut header: [u8; 512] = bytes[block..block + 512].try_into().unwrap();
                    fixture::seal(&mut header);
                    bytes[block..block + 512].copy_from_slice(&header);
                }
            }
            let before: Vec<_> = std::fs::read_dir(fixture.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let lease = fixture.store.lease().unwrap();
            let outcome = fixture.unpack(&lease, &bytes);
            // A layer that needs others keeps its blob for the next attempt.
            if outcome.is_err() && !matches!(outcome, Err(store::StoreError::NeedsParents { .. })) {
                assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
            }
            drop(lease);
            fixture.store.collect_garbage().unwrap();
            assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
            let after: Vec<_> = std::fs::read_dir(fixture.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(before, after);
            let names: Vec<_> = std::fs::read_dir(&canary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["file"]);
            assert_eq!(std::fs::read_to_string(canary.join("file")).unwrap(), "as it was");
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(canary.join("file")).unwrap());
            assert_eq!(mode & 0o7000, 0);
        });
    }

    #[test]
    fn archives_of_images_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        manifest in "[\\[\\]{}\":,a-zA-Z./]{0,80}",
    ) {
        thread_local! {
            static FIXTURE: Fixture = Fixture::new();
        }
        FIXTURE.with(|fixture| {
            let archive = Tar::default().file("manifest.json", &manifest).file("index.json", &manifest).finish();
            for archive in [&bytes[..], &archive] {
                assert!(fixture.store.load(&mut &archive[..], &[]).is_err());
                assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
            }
        });
    }
}
