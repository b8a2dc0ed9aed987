//! Images, their names, and what garbage collection keeps for their sake.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar};
use oci::{Digest, Reference};
use store::{Image, Layer, NewImage, Reclaimed, StoreError};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn config(layers: &[&Layer], note: &str, architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| format!("\"{}\"", layer.diff_id))
        .collect();
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","author":"{note}","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
    .into_bytes()
}

fn record(fixture: &Fixture, layers: &[&Layer], note: &str, tags: &[Reference]) -> Image {
    let ids: Vec<_> = layers.iter().map(|layer| layer.id.clone()).collect();
    fixture
        .store
        .record_image(&NewImage {
            raw_config: &config(layers, note, "amd64"),
            manifest: None,
            layers: &ids,
            parent: None,
            tags,
            repository_digest: None,
        })
        .unwrap()
}

#[test]
fn names_lead_to_images() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = fixture
        .unpack(&lease, &Tar::default().file("f", "12345").finish())
        .unwrap();
    let (latest, other) = (reference("app"), reference("example.com/app:1"));
    let first = record(
        &fixture,
        &[&layer, &layer],
        "first",
        &[latest.clone(), other.clone()],
    );
    assert_eq!(first.size, 10);
    assert_eq!(first.tags, [latest.clone(), other.clone()]);
    assert_eq!(first.layers, [layer.clone(), layer.clone()]);
    let second = record(&fixture, &[&layer], "second", std::slice::from_ref(&latest));
    let found = |name: &Reference| {
        fixture
            .store
            .image_by_reference(name)
            .unwrap()
            .map(|image| image.id)
    };
    assert_eq!(found(&latest), Some(second.id));
    assert_eq!(found(&other), Some(first.id));
    assert_eq!(found(&reference("app:2")), None);
    assert_eq!(fixture.store.tag(&first.id, &latest).unwrap(), Some(second.id));
    assert!(matches!(
        fixture.store.tag(&Digest::from_sha256([0; 32]), &latest),
        Err(StoreError::NoSuchImage(_))
    ));
    assert!(fixture.store.untag(&latest).unwrap());
    assert!(!fixture.store.untag(&latest).unwrap());
    assert_eq!(fixture.store.images().unwrap().len(), 2);
    let by_prefix = |hex: &str| fixture.store.images_by_prefix(hex).unwrap().len();
    assert_eq!(by_prefix(&first.id.hex()), 1);
    assert_eq!(by_prefix(&first.id.short()), 1);
    assert_eq!(by_prefix(""), 0);
    assert_eq!(by_prefix("%"), 0);
    fixture.store.remove_image(&first.id).unwrap();
    assert!(matches!(
        fixture.store.remove_image(&first.id),
        Err(StoreError::NoSuchImage(_))
    ));
    assert_eq!(found(&other), None);
}

#[test]
fn an_indexs_digest_leads_to_this_machines_image() {
    let fixture = Fixture::new();
    let digest = reference(&format!("example.com/app@sha256:{}", "a".repeat(64)));
    let host = oci::Platform::host().architecture;
    let foreign = if host == "s390x" { "amd64" } else { "s390x" };
    let mut ids = Vec::new();
    for architecture in [host.as_str(), foreign] {
        let image = fixture
            .store
            .record_image(&NewImage {
                raw_config: &config(&[], "", architecture),
                manifest: None,
                layers: &[],
                parent: None,
                tags: &[],
                repository_digest: Some(&digest),
            })
            .unwrap();
        assert_eq!(image.repository_digests, std::slice::from_ref(&digest));
        ids.push(image.id);
    }
    assert_eq!(
        fixture.store.image_by_reference(&digest).unwrap().unwrap().id,
        ids[0]
    );
    assert!(fixture.store.untag(&digest).unwrap());
    assert!(fixture.store.image_by_reference(&digest).unwrap().is_none());
}

#[test]
fn bad_configurations_are_refused() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = fixture
        .unpack(&lease, &Tar::default().file("f", "").finish())
        .unwrap();
    for (what, raw) in [
        ("no JSON", b"{".to_vec()),
        ("no rootfs", br#"{"architecture":"amd64"}"#.to_vec()),
        ("other layers", config(&[], "", "amd64")),
        ("too many layers", config(&[&layer, &layer], "", "amd64")),
        (
            "not layers",
            br#"{"rootfs":{"type":"zip","diff_ids":[]}}"#.to_vec(),
        ),
        (
            "a path for a digest",
            br#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#.to_vec(),
        ),
    ] {
        let outcome = fixture.store.record_image(&NewImage {
            raw_config: &raw,
            manifest: None,
            layers: std::slice::from_ref(&layer.id),
            parent: None,
            tags: &[reference("app")],
            repository_digest: None,
        });
        assert!(outcome.is_err(), "{what}");
        assert!(fixture.store.images().unwrap().is_empty(), "{what}");
        assert!(
            fixture
                .store
                .image_by_reference(&reference("app"))
                .unwrap()
                .is_none(),
            "{what}"
        );
    }
}

#[test]
fn garbage_is_what_nothing_refers_to() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let unpack = |name: &str| {
        fixture
            .unpack(&lease, &Tar::default().file(name, "x").finish())
            .unwrap()
    };
    let (of_image, of_container, of_step, of_none) = (unpack("1"), unpack("2"), unpack("3"), unpack("4"));
    let manifest = fixture.store.put_blob(&lease, b"manifest").unwrap();
    let stray = fixture.store.put_blob(&lease, b"stray").unwrap();
    let image = fixture
        .store
        .record_image(&NewImage {
            raw_config: &config(&[&of_image], "", "amd64"),
            manifest: Some(manifest),
            layers: std::slice::from_ref(&of_image.id),
            parent: None,
            tags: &[],
            repository_digest: None,
        })
        .unwrap();
    let database = state::Database::open(fixture.root()).unwrap();
    database
        .write(|t| {
            t.execute("INSERT INTO containers VALUES ('c', 'n', 'i', 0, '', '', 0)", [])?;
            t.execute(
                "INSERT INTO container_layers VALUES ('c', 0, ?1)",
                [of_container.id.as_str()],
            )?;
            t.execute(
                "INSERT INTO build_steps VALUES ('k', ?1, '', '', 0.0, 0, 0)",
                [of_step.id.as_str()],
            )?;
            Ok::<_, state::StateError>(())
        })
        .unwrap();
    std::fs::create_dir(fixture.root().join("layers/unrecorded")).unwrap();
    drop(lease);
    assert_eq!(fixture.store.usage().unwrap().build_cache, 1);
    // Layer 4 with its blob, and the stray blob.
    let reclaimed = fixture.store.collect_garbage().unwrap();
    assert_eq!((reclaimed.layers, reclaimed.blobs), (1, 2));
    assert!(fixture.store.open_blob(&manifest).unwrap().is_some());
    assert!(fixture.store.open_blob(&stray).unwrap().is_none());
    assert!(fixture.layer(&of_container).exists() && fixture.layer(&of_step).exists());
    assert!(!fixture.layer(&of_none).exists() && !fixture.root().join("layers/unrecorded").exists());
    assert_eq!(fixture.store.collect_garbage().unwrap(), Reclaimed::default());
    fixture.store.remove_image(&image.id).unwrap();
    let reclaimed = fixture.store.collect_garbage().unwrap();
    assert_eq!((reclaimed.layers, reclaimed.blobs), (1, 2));
    assert!(!fixture.layer(&of_image).exists());
}

#[test]
fn an_image_without_layers_is_the_skeleton() {
    let fixture = Fixture::new();
    let overlay = fixture.store.overlay(&[], None, true);
    assert_eq!(overlay.lower.len(), 1);
    for name in [
        "proc",
        "sys",
        "dev",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
    ] {
        assert!(overlay.lower[0].join(name).exists(), "{name}");
    }
}
