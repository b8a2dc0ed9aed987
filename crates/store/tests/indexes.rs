//! Indexes and artifacts: what leads where, and what garbage collection keeps for their sake.

#![cfg(test)]

mod fixture;

use fixture::{Fixture, Tar};
use oci::{Digest, Platform, Reference};
use store::{Image, Lease, NewImage, StoreError};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Stores a manifest that stands for an image's; its digest is all that counts here.
fn manifest(fixture: &Fixture, lease: &Lease, architecture: &str) -> Digest {
    let text = format!(r#"{{"schemaVersion":2,"note":"{architecture}"}}"#);
    fixture.store.put_blob(lease, text.as_bytes()).unwrap()
}

fn index(entries: &[(Digest, &str)]) -> Vec<u8> {
    let entries: Vec<String> = entries
        .iter()
        .map(|(digest, platform)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":9,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    )
    .into_bytes()
}

/// Records an image without layers as one of an index's, under a tag.
fn member(
    fixture: &Fixture,
    architecture: &str,
    raw: &[u8],
    entry: Digest,
    tag: &Reference,
) -> Result<Image, StoreError> {
    let raw_config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    );
    let image = NewImage {
        raw_config: raw_config.as_bytes(),
        manifest: Some(entry),
        layers: &[],
        parent: None,
        tags: std::slice::from_ref(tag),
        repository_digest: None,
    };
    fixture.store.record_member(&image, raw, &entry)
}

#[test]
fn a_tag_leads_to_this_machines_image_and_to_the_others() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let host = Platform::host();
    let ours = host.architecture.as_str();
    let entries = [
        (manifest(&fixture, &lease, "riscv64"), "linux/riscv64"),
        (manifest(&fixture, &lease, "here"), "linux/here"),
        (manifest(&fixture, &lease, "unknown"), "unknown/unknown"),
        (manifest(&fixture, &lease, "s390x"), "linux/s390x"),
    ];
    let text = String::from_utf8(index(&entries)).unwrap();
    let raw = text.replace(r#""here""#, &format!("\"{ours}\"")).into_bytes();
    let listed = fixture.store.put_blob(&lease, &raw).unwrap();
    let tag = reference("app:1");
    let leads = || fixture.store.image_by_reference(&tag).unwrap().unwrap().platform;
    // The first that comes, then ours, and ours it stays.
    member(&fixture, "riscv64", &raw, entries[0].0, &tag).unwrap();
    assert_eq!(leads().architecture, "riscv64");
    member(&fixture, ours, &raw, entries[1].0, &tag).unwrap();
    assert_eq!(leads(), host);
    let foreign = member(&fixture, "s390x", &raw, entries[3].0, &tag).unwrap();
    assert_eq!(leads(), host);
    assert!(foreign.tags.is_empty());
    assert_eq!(foreign.variant_of, std::slice::from_ref(&tag));
    let wanted = Platform::new("linux", "s390x", "");
    let found = fixture.store.image_for(&tag, &wanted).unwrap().unwrap();
    assert_eq!(found.id, foreign.id);
    let other = Platform::new("linux", "ppc64le", "");
    assert!(fixture.store.image_for(&tag, &other).unwrap().is_none());
    let kept = fixture.store.index_by_reference(&tag).unwrap().unwrap();
    assert_eq!(kept.digest, Some(listed));
    // What is for no platform is listed, but is no platform.
    assert_eq!((kept.members.len(), kept.platforms().count()), (4, 3));
    assert!(!kept.is_whole());

    // All that it lists stays while a name leads to it, whatever else goes.
    drop(lease);
    fixture.store.collect_garbage().unwrap();
    for digest in entries.iter().map(|(digest, _)| digest).chain([&listed]) {
        assert!(fixture.store.open_blob(digest).unwrap().is_some(), "{digest}");
    }
    let our_id = fixture.store.image_by_reference(&tag).unwrap().unwrap().id;
    fixture.store.remove_image(&our_id).unwrap();
    assert_ne!(leads(), host, "the name leads to another platform's");
    fixture.store.untag(&tag).unwrap();
    for image in fixture.store.images().unwrap() {
        assert!(image.variant_of.is_empty());
        fixture.store.remove_image(&image.id).unwrap();
    }
    fixture.store.collect_garbage().unwrap();
    assert!(fixture.store.open_blob(&listed).unwrap().is_none());
    assert_eq!(fixture.store.usage().unwrap().blobs, 0);
}

#[test]
fn an_index_that_was_made_here_gets_its_bytes_later() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let entries = [
        (manifest(&fixture, &lease, "amd64"), "linux/amd64"),
        (manifest(&fixture, &lease, "s390x"), "linux/s390x"),
    ];
    let raw = index(&entries);
    let aside = reference("aside:1");
    let images = [
        member(&fixture, "amd64", &raw, entries[0].0, &aside).unwrap().id,
        member(&fixture, "s390x", &raw, entries[1].0, &aside).unwrap().id,
    ];
    fixture.store.untag(&aside).unwrap();
    let tag = reference("made:1");
    fixture
        .store
        .record_made_index(&images, std::slice::from_ref(&tag))
        .unwrap();
    let made = fixture.store.index_by_reference(&tag).unwrap().unwrap();
    assert_eq!((made.digest, made.is_whole()), (None, true));
    fixture.store.collect_garbage().unwrap();
    fixture.store.put_blob(&lease, &raw).unwrap();
    let digest = fixture.store.complete_index(&made.id, &raw).unwrap();
    let whole = fixture.store.index_by_reference(&tag).unwrap().unwrap();
    assert_eq!((whole.digest, whole.is_whole()), (Some(digest), true));
    let ids: Vec<_> = whole.members.iter().filter_map(|member| member.image).collect();
    assert_eq!(ids, images);
    assert!(
        fixture
            .store
            .record_made_index(&[digest], std::slice::from_ref(&tag))
            .is_err(),
        "there is no such image"
    );
}

#[test]
fn what_is_no_index_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let layer = fixture
        .unpack(&lease, &Tar::default().file("f", "1").finish())
        .unwrap();
    let tag = reference("app:1");
    let digest = layer.diff_id;
    let both = format!(
        r#"{{"schemaVersion":2,"manifests":[],"layers":[],"config":{{"mediaType":"x","digest":"{digest}","size":1}}}}"#
    );
    for raw in [&b"no json"[..], b"{}", both.as_bytes()] {
        assert!(member(&fixture, "amd64", raw, digest, &tag).is_err());
        assert!(fixture.store.images().unwrap().is_empty());
        assert!(fixture.store.image_by_reference(&tag).unwrap().is_none());
    }
}

#[test]
fn an_artifact_has_its_blobs_while_something_leads_to_it() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let blob = fixture.store.put_blob(&lease, b"a chart").unwrap();
    let text = |note: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"x/{note}",
                "config":{{"mediaType":"x/config","digest":"{blob}","size":7}},"layers":[]}}"#
        )
    };
    let raw = text("named");
    fixture.store.put_blob(&lease, raw.as_bytes()).unwrap();
    let (tag, known) = (reference("chart:1"), reference("r.example/chart:1"));
    let artifact = fixture
        .store
        .record_artifact(raw.as_bytes(), std::slice::from_ref(&tag), Some(&known))
        .unwrap();
    assert_eq!(
        (artifact.kind.as_str(), artifact.size),
        ("x/named", raw.len() as u64 + 7)
    );
    // Listed by an index alone.
    let raw = text("listed");
    let attestation = fixture.store.put_blob(&lease, raw.as_bytes()).unwrap();
    fixture.store.record_artifact(raw.as_bytes(), &[], None).unwrap();
    let image = manifest(&fixture, &lease, "amd64");
    let raw = index(&[(image, "linux/amd64"), (attestation, "unknown/unknown")]);
    fixture.store.put_blob(&lease, &raw).unwrap();
    let app = reference("app:1");
    let image = member(&fixture, "amd64", &raw, image, &app).unwrap();
    drop(lease);
    fixture.store.collect_garbage().unwrap();
    let all = fixture.store.artifacts().unwrap();
    assert_eq!(all.len(), 1, "one has a name");
    assert!(
        fixture
            .store
            .index_by_reference(&app)
            .unwrap()
            .unwrap()
            .is_whole()
    );
    fixture.store.remove_image(&image.id).unwrap();
    fixture.store.collect_garbage().unwrap();
    assert!(fixture.store.open_blob(&attestation).unwrap().is_none());
    assert!(
        fixture.store.open_blob(&blob).unwrap().is_some(),
        "the other one has it, too"
    );
    // A name may lead to an image next, and then no longer to the artifact.
    fixture.store.untag_artifact(&artifact.digest, &tag).unwrap();
    let by_digest = reference(&format!("r.example/chart@{}", artifact.digest));
    assert!(fixture.store.artifact_by_reference(&by_digest).unwrap().is_some());
    fixture
        .store
        .untag_artifact(&artifact.digest, &by_digest)
        .unwrap();
    fixture.store.collect_garbage().unwrap();
    assert!(fixture.store.open_blob(&blob).unwrap().is_none());
    assert_eq!(fixture.store.usage().unwrap().blobs, 0);
}

#[test]
fn a_blob_that_is_not_what_it_should_be_is_refused() {
    let fixture = Fixture::new();
    let lease = fixture.store.lease().unwrap();
    let digest = fixture.store.put_blob(&lease, b"right").unwrap();
    for (size, bytes) in [
        (5, &b"wrong"[..]),
        (5, b"rig"),
        (5, b"right and more"),
        (4, b"right"),
    ] {
        let refused = fixture
            .store
            .put_blob_from(&lease, (digest, size), &mut &bytes[..]);
        assert!(matches!(refused, Err(StoreError::Digest { .. })), "{bytes:?}");
    }
    fixture
        .store
        .put_blob_from(&lease, (digest, 5), &mut &b"right"[..])
        .unwrap();
}
