//! What a reboot may take: nothing that was made durable, and nothing false is served.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, LAYER_GZIP, Tar, descriptor, gzip, open, sha256};
use std::io::Cursor;
use store::{Layer, Lease, NewImage, Store, Times};

/// Makes the store believe that all of it was written in an earlier boot.
fn reboot(fixture: &Fixture) {
    let database = state::Database::open(fixture.root()).unwrap();
    database
        .write(|t| {
            t.execute("UPDATE layers SET boot = 'before'", [])?;
            t.execute("UPDATE blobs SET boot = 'before'", [])?;
            t.execute("DELETE FROM settings WHERE name = 'store.boot'", [])?;
            Ok::<_, state::StateError>(())
        })
        .unwrap();
}

fn pulled(store: &Store, lease: &Lease, content: &str) -> Layer {
    // Two members out of order: no tar that is made here from the directory has these bytes.
    let tar = Tar::default().file("z", content).file("a", content).finish();
    let packed = gzip(&tar);
    store
        .unpack_layer(
            lease,
            &descriptor(LAYER_GZIP, &packed),
            &sha256(&tar),
            &mut || Ok(Box::new(Cursor::new(packed.clone()))),
        )
        .unwrap()
}

fn built(store: &Store, lease: &Lease, content: &str) -> Layer {
    let snapshot = store.begin_snapshot(lease, &[]).unwrap();
    std::fs::write(snapshot.upper.join("file"), content).unwrap();
    store.commit_snapshot(lease, snapshot, Times::Exactly(1)).unwrap()
}

fn image(store: &Store, layer: &Layer, tag: &str) -> store::Image {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.diff_id
    );
    store
        .record_image(&NewImage {
            raw_config: config.as_bytes(),
            manifest: None,
            layers: std::slice::from_ref(&layer.id),
            parent: None,
            tags: &[tag.parse().unwrap()],
            repository_digest: None,
        })
        .unwrap()
}

#[test]
fn what_was_lost_is_made_again_or_dropped() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let lease = store.lease().unwrap();
    let whole = built(store, &lease, "whole");
    let torn_build = built(store, &lease, "torn");
    let torn_pull = pulled(store, &lease, "torn");
    let lost_pull = pulled(store, &lease, "lost");
    for (layer, tag) in [
        (&whole, "whole"),
        (&torn_build, "torn-build"),
        (&torn_pull, "torn-pull"),
        (&lost_pull, "lost-pull"),
    ] {
        image(store, layer, tag);
    }
    for (layer, name) in [(&torn_build, "file"), (&torn_pull, "a"), (&lost_pull, "a")] {
        // As ext4 leaves files whose data did not make it.
        std::fs::write(fixture.layer(layer).join(name), "").unwrap();
    }
    let (blob, _, _) = store.layer_blobs(&lost_pull.diff_id).unwrap().remove(0);
    std::fs::write(fixture.root().join("blobs/sha256").join(blob.hex()), "").unwrap();
    drop(lease);
    reboot(&fixture);
    let store = open(fixture.root());
    let there = |tag: &str| store.image_by_reference(&tag.parse().unwrap()).unwrap();
    assert_eq!(there("whole").unwrap().layers, std::slice::from_ref(&whole));
    assert_eq!(
        there("torn-pull").unwrap().layers,
        std::slice::from_ref(&torn_pull)
    );
    assert_eq!(
        std::fs::read_to_string(store.layer_path(&torn_pull.id).join("a")).unwrap(),
        "torn"
    );
    assert!(there("torn-build").is_none());
    assert!(there("lost-pull").is_none());
    assert!(store.open_blob(&blob).unwrap().is_none());
    let lease = store.lease().unwrap();
    assert!(store.find_layer(&lease, &torn_build.diff_id).unwrap().is_none());
    assert!(!fixture.layer(&torn_build).exists() && !fixture.layer(&lost_pull).exists());
}

#[test]
fn what_is_durable_is_not_looked_at_again() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = built(&fixture.store, &lease, "x");
    image(&fixture.store, &layer, "kept");
    fixture.store.make_durable().unwrap();
    fixture.store.make_durable().unwrap();
    std::fs::write(fixture.layer(&layer).join("file"), "changed, and nobody knows").unwrap();
    reboot(&fixture);
    let store = open(fixture.root());
    assert!(
        store
            .image_by_reference(&"kept".parse().unwrap())
            .unwrap()
            .is_some()
    );
}

#[test]
fn an_uncertain_layer_survives_in_its_own_boot() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = pulled(&fixture.store, &lease, "x");
    image(&fixture.store, &layer, "kept");
    drop(lease);
    let store = open(fixture.root());
    assert!(
        store
            .image_by_reference(&"kept".parse().unwrap())
            .unwrap()
            .is_some()
    );
}
