//! Artifacts: charts, signatures and whatever else registries keep that is no image.

use crate::empty;
use serde_json::{Value, json};
use testkit::Sandbox;
use testkit::registry::{FakeRegistry, digest_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CHART: &str = "application/vnd.cncf.helm.config.v1+json";

/// Puts a chart into the registry; returns its name and manifest.
fn put_chart(registry: &FakeRegistry) -> (String, Vec<u8>) {
    let (config, chart) = (
        br#"{"name":"db","version":"1.2.3"}"#,
        b"a chart, as helm packs it",
    );
    registry.put_blob("charts/db", config);
    registry.put_blob("charts/db", chart);
    let entry = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()});
    let mut layer = entry("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart);
    layer["annotations"] = json!({"org.opencontainers.image.title": "db-1.2.3.tgz"});
    // Spaces that no program of ours would write: what comes back must be these bytes.
    let manifest = format!(
        "{{ \"schemaVersion\": 2, \"mediaType\": \"{MANIFEST}\", \"config\": {},\n \"layers\": [{layer}], \
         \"annotations\": {{\"org.opencontainers.image.version\": \"1.2.3\"}} }}",
        entry(CHART, config)
    );
    registry.put_manifest("charts/db", Some("1.2.3"), MANIFEST, manifest.as_bytes());
    (
        format!("{}/charts/db:1.2.3", registry.host()),
        manifest.into_bytes(),
    )
}

fn pull(coracle: &Sandbox, registry: &FakeRegistry) -> (String, Vec<u8>) {
    let (name, manifest) = put_chart(registry);
    let pulled = coracle.run(["pull", &name]).ok();
    assert!(
        pulled.contains(&format!("Digest: {}", digest_of(&manifest)))
            && pulled.contains(&format!("Status: Downloaded newer artifact for {name}")),
        "{pulled}"
    );
    (name, manifest)
}

#[test]
fn a_chart_is_listed_and_shown_and_cannot_be_run() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, manifest) = pull(&coracle, &registry);
    let again = coracle.run(["pull", &name]).ok();
    assert!(again.contains("Status: Artifact is up to date"), "{again}");
    let digest = digest_of(&manifest);
    let listed = coracle
        .run([
            "images",
            "--no-trunc",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}",
        ])
        .ok();
    assert_eq!(listed, format!("{name} {digest} {digest}\n"));
    let tree = coracle.run(["images", "--tree"]).ok();
    assert!(tree.contains(&name) && tree.lines().count() == 2, "{tree}");
    for known in [
        name.clone(),
        digest.short(),
        format!("{}/charts/db@{digest}", registry.host()),
    ] {
        let text = coracle.run(["image", "inspect", &known]).ok();
        let shown: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(shown[0]["Id"], digest.to_string());
        assert_eq!(shown[0]["ArtifactType"], CHART);
        assert_eq!(shown[0]["MediaType"], MANIFEST);
        assert_eq!(shown[0]["RepoTags"], json!([name]));
        assert_eq!(
            shown[0]["Annotations"]["org.opencontainers.image.version"],
            "1.2.3"
        );
        assert_eq!(
            shown[0]["Layers"][0]["annotations"]["org.opencontainers.image.title"],
            "db-1.2.3.tgz"
        );
    }
    coracle.run(["inspect", &name]).ok();
    for command in [&["run", "--rm"][..], &["create"], &["history"]] {
        let refused = coracle.run(command.iter().copied().chain([name.as_str()]));
        assert_ne!(refused.code, 0);
        assert!(
            refused.stderr.contains(&format!("an artifact of type {CHART}")),
            "{}",
            refused.stderr
        );
    }
    coracle.write("Dockerfile", &format!("FROM {name}\n"));
    let refused = coracle.run(["build", "."]).fails(1);
    assert!(
        refused.contains(&format!("an artifact of type {CHART}")),
        "{refused}"
    );
    let other = coracle.run(["images", "--filter", "label=a"]).ok();
    assert_eq!(other.lines().count(), 1, "{other}");
}

#[test]
fn a_chart_goes_to_another_registry_byte_for_byte() {
    let (coracle, registry, other) = (empty(), FakeRegistry::start(), FakeRegistry::start());
    let (name, manifest) = pull(&coracle, &registry);
    let target = format!("{}/copy:1", other.host());
    coracle.run(["tag", &name, &target]).ok();
    let pushed = coracle.run(["push", &target]).ok();
    assert!(
        pushed.contains(&format!("1: digest: {}", digest_of(&manifest))),
        "{pushed}"
    );
    assert_eq!(other.object("/v2/copy/manifests/1").unwrap(), manifest);
    let read: Value = serde_json::from_slice(&manifest).unwrap();
    for blob in [&read["config"], &read["layers"][0]] {
        let path = format!("/v2/copy/blobs/{}", blob["digest"].as_str().unwrap());
        assert!(other.object(&path).is_some(), "{path}");
    }
    let second = format!("{}/copy:2", other.host());
    coracle.run(["tag", &target, &second]).ok();
    coracle
        .run(["push", "-q", "-a", &format!("{}/copy", other.host())])
        .ok();
    assert_eq!(other.object("/v2/copy/manifests/2").unwrap(), manifest);
}

#[test]
fn a_chart_is_saved_loaded_and_removed() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, manifest) = pull(&coracle, &registry);
    coracle.run(["save", "-o", "chart.tar", &name]).ok();
    coracle.run(["tag", &name, "other:1"]).ok();
    let gone = coracle.run(["rmi", &name]).ok();
    assert_eq!(gone, format!("Untagged: {name}\n"));
    let gone = coracle.run(["rmi", "other:1"]).ok();
    assert!(
        gone.contains(&format!("Deleted: {}", digest_of(&manifest))),
        "{gone}"
    );
    let left = std::fs::read_dir(coracle.path().join("root/blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "blobs are left");
    let loaded = coracle.run(["load", "-i", "chart.tar"]).ok();
    assert_eq!(loaded, format!("Loaded image: {name}\n"));
    assert_eq!(
        coracle.run(["image", "inspect", "-f", "{{.Id}}", &name]).ok(),
        format!("{}\n", digest_of(&manifest))
    );
    // Only who asks for all asks for what has a name.
    coracle.run(["image", "prune", "-f"]).ok();
    coracle.run(["image", "inspect", &name]).ok();
    let pruned = coracle.run(["image", "prune", "-af"]).ok();
    assert!(pruned.contains(&format!("untagged: {name}")), "{pruned}");
    let left = std::fs::read_dir(coracle.path().join("root/blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "blobs are left");
}

#[test]
fn a_damaged_chart_leaves_nothing() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, manifest) = put_chart(&registry);
    let read: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = read["layers"][0]["digest"].as_str().unwrap();
    registry.always(&format!("/blobs/{layer}"), testkit::registry::Fault::FlipBit(3));
    let refused = coracle.run(["pull", &name]).fails(1);
    assert!(refused.contains(layer), "{refused}");
    assert_eq!(coracle.run(["images", "-aq"]).ok(), "");
    coracle.run(["image", "prune", "-f"]).ok();
    let left = std::fs::read_dir(coracle.path().join("root/blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "blobs are left");
}
