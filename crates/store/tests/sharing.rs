//! Several threads and processes on one store, and processes that die.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, LAYER, Tar, descriptor, open, sha256};
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

fn tar() -> Vec<u8> {
    let mut tar = Tar::default();
    for number in 0..400 {
        tar = tar
            .directory(&format!("d{number}"))
            .file(&format!("d{number}/file"), &"content".repeat(number));
    }
    tar.finish()
}

#[test]
fn threads_and_stores_unpack_a_layer_once() {
    let fixture = Fixture::new();
    let tar = tar();
    let opened = AtomicU32::new(0);
    let barrier = Barrier::new(8);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    // A database connection of its own, as another process would have.
                    let store = open(fixture.root());
                    let lease = store.lease().unwrap();
                    barrier.wait();
                    let layer = store
                        .unpack_layer(&lease, &descriptor(LAYER, &tar), &sha256(&tar), &mut || {
                            opened.fetch_add(1, Ordering::SeqCst);
                            Ok(Box::new(Cursor::new(tar.clone())))
                        })
                        .unwrap();
                    // No lease may go before all have theirs, or a collection could find the layer unused.
                    barrier.wait();
                    layer.id
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(
        std::fs::read_dir(fixture.root().join("layers")).unwrap().count(),
        1
    );
    assert_eq!(
        std::fs::read_dir(fixture.root().join("leases")).unwrap().count(),
        0
    );
}

/// A reader that says when its middle is reached, and then never goes on.
struct Stuck(Cursor<Vec<u8>>, u64);

impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.position() >= self.1 {
            println!("STUCK");
            loop {
                std::thread::park();
            }
        }
        let most = buffer.len().min(4096);
        self.0.read(&mut buffer[..most])
    }
}

/// What the process does that [`a_killed_process_leaves_nothing`] starts and kills.
fn get_stuck(root: &std::path::Path) {
    let store = open(root);
    let at: u64 = std::env::var("STUCK_AT").unwrap().parse().unwrap();
    let lease = store.lease().unwrap();
    let snapshot = store.begin_snapshot(&lease, &[]).unwrap();
    std::fs::write(snapshot.upper.join("file"), "half").unwrap();
    store.put_blob(&lease, b"leased by the dead").unwrap();
    let tar = tar();
    store
        .unpack_layer(&lease, &descriptor(LAYER, &tar), &sha256(&tar), &mut || {
            Ok(Box::new(Stuck(Cursor::new(tar.clone()), at)))
        })
        .unwrap();
}

#[test]
fn a_killed_process_leaves_nothing() {
    // This test again, as the process that is killed.
    if let Some(root) = std::env::var_os("STORE_ROOT") {
        return get_stuck(std::path::Path::new(&root));
    }
    let fixture = Fixture::new();
    let tar = tar();
    for at in [0, 4096, 300_000, tar.len() as u64] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_nothing", "--nocapture"])
            .env("STORE_ROOT", fixture.root())
            .env("STUCK_AT", at.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = String::new();
        let mut pipe = child.stdout.take().unwrap();
        while !output.contains("STUCK") {
            let mut byte = [0];
            assert_eq!(pipe.read(&mut byte).unwrap(), 1, "the child ended: {output}");
            output.push(char::from(byte[0]));
        }
        assert_ne!(fixture.leftovers(), Vec::<PathBuf>::new(), "it was at work");
        // While it lives, nobody touches what is its.
        let before = fixture.leftovers();
        open(fixture.root()).collect_garbage().unwrap();
        assert_eq!(fixture.leftovers(), before);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(fixture.root());
        store.collect_garbage().unwrap();
        assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new(), "killed at byte {at}");
        assert_eq!(
            std::fs::read_dir(fixture.root().join("leases")).unwrap().count(),
            0
        );
    }
    // The dead one's lock passes on.
    let lease = fixture.store.lease().unwrap();
    fixture.unpack(&lease, &tar).unwrap();
}

#[test]
fn many_may_open_a_new_store_at_once() {
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    open(directory.path());
                });
            }
        });
        assert!(directory.path().join("skeleton/etc/resolv.conf").exists());
        for name in ["tmp", "leases"] {
            assert_eq!(
                std::fs::read_dir(directory.path().join(name)).unwrap().count(),
                0,
                "{name}"
            );
        }
    }
}

#[test]
fn a_lease_keeps_and_its_end_lets_go() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = fixture.unpack(&lease, &tar()).unwrap();
    let blob = fixture.store.put_blob(&lease, b"content").unwrap();
    assert_eq!(
        fixture.store.collect_garbage().unwrap(),
        store::Reclaimed::default()
    );
    let second = fixture.store.lease().unwrap();
    assert!(
        fixture
            .store
            .find_layer(&second, &layer.diff_id)
            .unwrap()
            .is_some()
    );
    drop(lease);
    let reclaimed = fixture.store.collect_garbage().unwrap();
    assert_eq!((reclaimed.layers, reclaimed.blobs), (0, 1));
    assert!(fixture.store.open_blob(&blob).unwrap().is_none());
    drop(second);
    let reclaimed = fixture.store.collect_garbage().unwrap();
    assert_eq!((reclaimed.layers, reclaimed.blobs), (1, 1));
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn collecting_beside_unpacking_takes_nothing_that_is_leased() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let root = fixture.root();
            scope.spawn(move || {
                let store = open(root);
                for round in 0..10 {
                    let lease = store.lease().unwrap();
                    // Two workers share each layer.
                    let tar = Tar::default()
                        .file("f", &format!("{} {round}", worker / 2))
                        .finish();
                    let layer = fixture::unpack(&store, &lease, &tar).unwrap();
                    assert!(store.layer_path(&layer.id).join("f").exists());
                    std::thread::yield_now();
                    assert!(
                        store.layer_path(&layer.id).join("f").exists(),
                        "collected while leased"
                    );
                    let mut out = Vec::new();
                    store.write_layer_tar(&layer, &mut out).unwrap();
                    assert_eq!(out, tar);
                }
            });
        }
        let root = fixture.root();
        scope.spawn(move || {
            let store = open(root);
            for _ in 0..20 {
                store.collect_garbage().unwrap();
            }
        });
    });
    fixture.store.collect_garbage().unwrap();
    assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
}
