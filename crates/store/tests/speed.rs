//! How long unpacking takes, printed beside GNU tar's time for the same work. Run by hand:
//! `SPEED_TREE=/usr/share cargo test -p store --test speed -- --ignored --nocapture`, optimised.

#![cfg(test)]

mod fixture;

use fixture::Fixture;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn run(command: &mut Command) -> Duration {
    let began = Instant::now();
    assert!(command.status().unwrap().success(), "{command:?}");
    began.elapsed()
}

#[test]
#[ignore = "a measurement"]
fn unpacking_a_tree() {
    let tree = std::env::var("SPEED_TREE").unwrap();
    let work = tempfile::tempdir().unwrap();
    let (plain, packed) = (work.path().join("layer.tar"), work.path().join("layer.tar.gz"));
    run(Command::new("tar")
        .arg("-C")
        .arg(&tree)
        .arg("-cf")
        .arg(&plain)
        .arg("."));
    run(Command::new("sh")
        .arg("-c")
        .arg(format!("gzip -6 < {} > {}", plain.display(), packed.display())));
    let diff_id = fixture::sha256(&std::fs::read(&plain).unwrap());
    let content = std::fs::read(&packed).unwrap();
    let blob = fixture::descriptor(fixture::LAYER_GZIP, &content);
    for round in 0..3 {
        let theirs = work.path().join(format!("theirs{round}"));
        std::fs::create_dir(&theirs).unwrap();
        let tar = run(Command::new("tar")
            .arg("-C")
            .arg(&theirs)
            .args(["--numeric-owner", "-xpzf"])
            .arg(&packed));
        let fixture = Fixture::new();
        let lease = fixture.store.lease().unwrap();
        let began = Instant::now();
        let layer = fixture
            .store
            .unpack_layer(&lease, &blob, &diff_id, &mut || {
                Ok(Box::new(File::open(Path::new(&packed))?))
            })
            .unwrap();
        let unpack = began.elapsed();
        let began = Instant::now();
        fixture.store.layer_tar_size(&layer).unwrap();
        println!(
            "{} bytes in {} packed: unpacked in {unpack:?}, GNU tar without hashing {tar:?}; size told in {:?}",
            layer.size,
            content.len(),
            began.elapsed()
        );
    }
}
