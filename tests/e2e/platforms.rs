//! Images for several platforms: indexes pulled, kept, chosen from, pushed, saved, removed.

use crate::{empty, sandbox};
use serde_json::{Value, json};
use testkit::Sandbox;
use testkit::registry::{FakeRegistry, Put, TestImage, digest_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Puts images for amd64 and arm64 into the registry, whose files and labels tell which is which.
fn put_images(registry: &FakeRegistry, repository: &str) -> [Put; 2] {
    ["amd64", "arm64"].map(|architecture| {
        let image = TestImage {
            config: json!({"Cmd": ["/bin/true"], "Labels": {"for": architecture}}),
            architecture: architecture.to_owned(),
            ..TestImage::with_file("for", architecture.as_bytes())
        };
        registry.put_image(repository, None, &image)
    })
}

/// Puts an index of two images into the registry; returns its name and bytes.
fn put_index(registry: &FakeRegistry) -> (String, Vec<u8>) {
    let [intel, arm] = put_images(registry, "app");
    let entries: [(&str, &[u8]); 2] = [("linux/amd64", &intel.manifest), ("linux/arm64", &arm.manifest)];
    let index = registry.put_index("app", Some("1"), &entries);
    (format!("{}/app:1", registry.host()), index)
}

/// Puts an index with an attestation, as buildx makes them; returns its name and bytes.
fn put_attested(registry: &FakeRegistry) -> (String, Vec<u8>) {
    let [intel, _] = put_images(registry, "attested");
    let entry = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()});
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    registry.put_blob("attested", statement);
    let config =
        br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    registry.put_blob("attested", config);
    let attestation = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry("application/vnd.oci.image.config.v1+json", config),
        "layers": [entry("application/vnd.in-toto+json", statement)],
    })
    .to_string();
    registry.put_manifest("attested", None, MANIFEST, attestation.as_bytes());
    let mut of_image = entry(MANIFEST, &intel.manifest);
    of_image["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut of_attestation = entry(MANIFEST, attestation.as_bytes());
    of_attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    of_attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest_of(&intel.manifest),
    });
    // Bytes that nobody writes by chance: what comes back must be these.
    let index = format!(
        "{{ \"schemaVersion\": 2,\n  \"mediaType\": \"{INDEX}\",\n  \"manifests\": [{of_image}, {of_attestation}] }}"
    );
    registry.put_manifest("attested", Some("1"), INDEX, index.as_bytes());
    (format!("{}/attested:1", registry.host()), index.into_bytes())
}

fn inspect(coracle: &Sandbox, arguments: &[&str]) -> Value {
    let text = coracle.run(["image", "inspect"].iter().chain(arguments)).ok();
    let mut all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.remove(0)
}

fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn platforms_of_one_name_are_here_at_once_and_chosen_from() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, index) = put_index(&registry);
    coracle.run(["pull", "-q", &name]).ok();
    assert_eq!(inspect(&coracle, &[&name])["Architecture"], "amd64");
    let asked = coracle
        .run(["image", "inspect", "--platform", "linux/arm64", &name])
        .fails(1);
    assert!(
        asked.contains("was found but does not provide the specified platform (linux/arm64)"),
        "{asked}"
    );
    coracle
        .run(["pull", "-q", "--platform", "linux/arm64", &name])
        .ok();
    // The name still means this machine's image, and it has one line.
    assert_eq!(inspect(&coracle, &[&name])["Architecture"], "amd64");
    assert_eq!(coracle.run(["images", "-q"]).ok().lines().count(), 1);
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let found = inspect(&coracle, &["--platform", &platform, &name]);
        assert_eq!(found["Config"]["Labels"]["for"], architecture);
        assert_eq!(
            found["RepoDigests"][0],
            format!("{}/app@{}", registry.host(), digest_of(&index))
        );
        coracle.run(["history", "--platform", &platform, &name]).ok();
        let id = coracle
            .run(["create", "--pull", "never", "--platform", &platform, &name])
            .ok();
        let of = coracle.run(["inspect", "-f", "{{.Image}}", id.trim()]).ok();
        assert_eq!(of.trim(), found["Id"].as_str().unwrap());
        coracle.run(["rm", id.trim()]).ok();
    }
    registry.reset();
    let again = coracle.run(["pull", "--platform", "linux/arm64", &name]).ok();
    assert!(again.contains("Image is up to date"), "{again}");
    // One question is enough, and one that registries do not count.
    let asked: Vec<String> = registry
        .requests()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(asked, ["HEAD /v2/app/manifests/1"]);
    // What a name leads to for another platform is not dangling.
    assert!(!coracle.run(["image", "prune", "-f"]).ok().contains("Deleted"));
    coracle.run(["tag", &name, "other"]).ok();
    assert_eq!(
        inspect(&coracle, &["--platform", "linux/arm64", "other"])["Architecture"],
        "arm64"
    );
    coracle.run(["rmi", &name]).ok();
    assert_eq!(
        inspect(&coracle, &["--platform", "linux/arm64", "other"])["Architecture"],
        "arm64"
    );
    let gone = coracle.run(["rmi", "other"]).ok();
    assert_eq!(gone.matches("Deleted:").count(), 2, "{gone}");
    assert_eq!(coracle.run(["images", "-aq"]).ok(), "");
    assert_eq!(blobs(&coracle), 0);
}

/// Counts the blobs in the store.
fn blobs(coracle: &Sandbox) -> usize {
    std::fs::read_dir(coracle.path().join("root/blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn one_platform_goes_and_the_name_stays() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, _) = put_index(&registry);
    coracle.run(["pull", "-q", "--all-platforms", &name]).ok();
    let missing = coracle
        .run(["rmi", "--platform", "linux/riscv64", &name])
        .fails(1);
    assert!(missing.contains("linux/riscv64"), "{missing}");
    let gone = coracle.run(["rmi", "--platform", "linux/amd64", &name]).ok();
    assert!(gone.contains("Deleted:") && !gone.contains("app:1"), "{gone}");
    assert_eq!(inspect(&coracle, &[&name])["Architecture"], "arm64");
    let gone = coracle
        .run(["image", "rm", "--platform", "linux/arm64", &name])
        .ok();
    assert!(gone.contains(&format!("Untagged: {name}")), "{gone}");
    assert_eq!(coracle.run(["images", "-aq"]).ok(), "");
}

#[test]
fn what_a_container_uses_of_an_index_stays() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, _) = put_index(&registry);
    coracle.run(["pull", "-q", "--all-platforms", &name]).ok();
    let id = coracle
        .run(["create", "--pull", "never", "--platform", "linux/arm64", &name])
        .ok();
    let refused = coracle.run(["rmi", &name]).fails(1);
    assert!(
        refused.contains("conflict: unable to remove repository reference"),
        "{refused}"
    );
    let refused = coracle.run(["rmi", "--platform", "linux/arm64", &name]).fails(1);
    assert!(refused.contains("is being used by"), "{refused}");
    coracle.run(["rmi", "-f", &name]).ok();
    coracle.run(["inspect", id.trim()]).ok();
    assert_eq!(coracle.run(["images", "-aq"]).ok().lines().count(), 1);
    coracle.run(["rm", id.trim()]).ok();
}

#[test]
fn an_index_that_came_whole_goes_byte_for_byte() {
    let (coracle, registry, other) = (empty(), FakeRegistry::start(), FakeRegistry::start());
    for (name, index) in [put_index(&registry), put_attested(&registry)] {
        coracle.run(["pull", "-q", "--all-platforms", &name]).ok();
        let target = format!("{}/copy:1", other.host());
        coracle.run(["tag", &name, &target]).ok();
        let pushed = coracle.run(["push", &target]).ok();
        assert!(
            pushed.contains(&format!("1: digest: {} size: {}", digest_of(&index), index.len())),
            "{pushed}"
        );
        assert_eq!(other.object("/v2/copy/manifests/1").unwrap(), index);
        let listed: Value = serde_json::from_slice(&index).unwrap();
        for entry in listed["manifests"].as_array().unwrap() {
            let path = format!("/v2/copy/manifests/{}", entry["digest"].as_str().unwrap());
            assert!(other.object(&path).is_some(), "{path}");
        }
        let digests = coracle
            .run(["image", "inspect", "-f", "{{json .RepoDigests}}", &target])
            .ok();
        assert!(
            digests.contains(&format!("copy@{}", digest_of(&index))),
            "{digests}"
        );
        coracle.run(["image", "prune", "-af"]).ok();
        assert_eq!(blobs(&coracle), 0);
    }
}

#[test]
fn of_an_index_that_is_not_whole_one_platform_goes_as_it_came() {
    let (coracle, registry, other) = (empty(), FakeRegistry::start(), FakeRegistry::start());
    let [intel, arm] = put_images(&registry, "app");
    let riscv = registry.put_image(
        "app",
        None,
        &TestImage {
            architecture: "riscv64".into(),
            ..TestImage::with_file("for", b"riscv64")
        },
    );
    let entries: [(&str, &[u8]); 3] = [
        ("linux/amd64", &intel.manifest),
        ("linux/arm64", &arm.manifest),
        ("linux/riscv64", &riscv.manifest),
    ];
    registry.put_index("app", Some("1"), &entries);
    let name = format!("{}/app:1", registry.host());
    let target = format!("{}/copy:1", other.host());
    coracle.run(["pull", "-q", &name]).ok();
    coracle.run(["tag", &name, &target]).ok();
    let pushed = coracle.run(["push", &target]).ok();
    assert!(pushed.contains("the image for linux/amd64 alone"), "{pushed}");
    assert_eq!(other.object("/v2/copy/manifests/1").unwrap(), intel.manifest);
    coracle
        .run(["pull", "-q", "--platform", "linux/arm64", &name])
        .ok();
    coracle.run(["tag", &name, &target]).ok();
    let refused = coracle.run(["push", &target]).fails(1);
    assert!(
        refused.contains("more than one platform") && refused.contains("linux/amd64, linux/arm64"),
        "{refused}"
    );
    coracle.run(["push", "--platform", "linux/arm64", &target]).ok();
    assert_eq!(other.object("/v2/copy/manifests/1").unwrap(), arm.manifest);
    let refused = coracle
        .run(["push", "--platform", "linux/s390x", &target])
        .fails(1);
    assert!(refused.contains("linux/s390x"), "{refused}");
}

#[test]
fn the_tree_shows_platforms_sizes_and_use() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, index) = put_index(&registry);
    let (attested, _) = put_attested(&registry);
    coracle.run(["pull", "-q", &name]).ok();
    coracle.run(["pull", "-q", "--all-platforms", &attested]).ok();
    let id = coracle.run(["create", &name]).ok();
    let tree = lines(&coracle.run(["image", "ls", "--tree"]).ok());
    assert_eq!(tree[0], "IMAGE ID DISK USAGE CONTENT SIZE USED");
    // An attestation is no platform.
    assert_eq!(tree.len(), 6, "{tree:?}");
    // Its image is the one that the container uses by the other name.
    assert!(
        tree[1].starts_with(&attested) && tree[1].ends_with('✔'),
        "{tree:?}"
    );
    assert!(tree[2].starts_with("└─ linux/amd64"), "{tree:?}");
    assert!(
        tree[3].starts_with(&format!("{name} {}", digest_of(&index).short())) && tree[3].ends_with('✔'),
        "{tree:?}"
    );
    assert!(
        tree[4].starts_with("├─ linux/amd64") && tree[4].ends_with('✔'),
        "{tree:?}"
    );
    assert!(
        tree[5].starts_with("└─ linux/arm64") && tree[5].ends_with("0B 0B"),
        "{tree:?}"
    );
    let filtered = coracle
        .run(["images", "--tree", "--filter", "reference=*/attested"])
        .ok();
    assert_eq!(filtered.lines().count(), 3, "{filtered}");
    for flag in ["--quiet", "--no-trunc", "--format=json"] {
        let refused = coracle.run(["images", "--tree", flag]).fails(1);
        assert!(refused.contains("not yet supported with --tree"), "{refused}");
    }
    coracle.run(["rm", id.trim()]).ok();
}

#[test]
fn a_build_for_two_platforms_is_kept_and_pushed_as_an_index() {
    let (coracle, registry) = (sandbox(), FakeRegistry::start());
    coracle.write(
        "context/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH} /for\nCMD [\"/for\"]\n",
    );
    coracle.write("context/amd64", "amd64");
    coracle.write("context/arm64", "arm64");
    let name = format!("{}/built:1", registry.host());
    let platforms = "linux/amd64,linux/arm64";
    coracle
        .run(["build", "-q", "--platform", platforms, "-t", &name, "context"])
        .ok();
    assert_eq!(coracle.run(["images", "-q", &name]).ok().lines().count(), 1);
    let tree = coracle
        .run(["images", "--tree", "--filter", "reference=*/built:*"])
        .ok();
    assert!(
        tree.contains("├─ linux/amd64") && tree.contains("└─ linux/arm64"),
        "{tree}"
    );
    coracle.run(["push", &name]).ok();
    let index = registry.object("/v2/built/manifests/1").unwrap();
    let read: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(read["mediaType"], INDEX);
    let of: Vec<&str> = read["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(of, ["amd64", "arm64"]);
    // Pushed again it is the same, and so it is after a pull elsewhere.
    coracle.run(["push", &name]).ok();
    assert_eq!(registry.object("/v2/built/manifests/1").unwrap(), index);
    let digests = coracle
        .run(["image", "inspect", "-f", "{{index .RepoDigests 0}}", &name])
        .ok();
    assert!(
        digests.trim().ends_with(&digest_of(&index).to_string()),
        "{digests}"
    );
    let pushed = format!("{}/pushed:1", registry.host());
    coracle
        .run([
            "build",
            "-q",
            "--platform",
            platforms,
            "-t",
            &pushed,
            "--push",
            "context",
        ])
        .ok();
    let second: Value = serde_json::from_slice(&registry.object("/v2/pushed/manifests/1").unwrap()).unwrap();
    assert_eq!(second["manifests"], read["manifests"]);
}

#[test]
fn platforms_are_saved_and_loaded_together() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, index) = put_index(&registry);
    coracle.run(["pull", "-q", "--all-platforms", &name]).ok();
    coracle.run(["save", "-o", "all.tar", &name]).ok();
    coracle
        .run(["save", "-o", "arm.tar", "--platform", "linux/arm64", &name])
        .ok();
    let forget = || coracle.run(["rmi", &name]).ok();
    forget();
    let loaded = coracle.run(["load", "-i", "all.tar"]).ok();
    assert_eq!(loaded, format!("Loaded image: {name}\n"));
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let found = inspect(&coracle, &["--platform", &platform, &name]);
        assert_eq!(found["Config"]["Labels"]["for"], architecture);
    }
    // It is the index that it was.
    let other = FakeRegistry::start();
    let target = format!("{}/copy:1", other.host());
    coracle.run(["tag", &name, &target]).ok();
    coracle.run(["push", "-q", &target]).ok();
    assert_eq!(other.object("/v2/copy/manifests/1").unwrap(), index);
    coracle.run(["rmi", &target]).ok();
    forget();
    coracle
        .run(["load", "-q", "--platform", "linux/arm64", "-i", "all.tar"])
        .ok();
    assert_eq!(inspect(&coracle, &[&name])["Architecture"], "arm64");
    forget();
    coracle.run(["load", "-q", "-i", "arm.tar"]).ok();
    assert_eq!(inspect(&coracle, &[&name])["Architecture"], "arm64");
    let refused = coracle
        .run(["load", "--platform", "linux/s390x", "-i", "all.tar"])
        .fails(1);
    assert!(refused.contains("no image for linux/s390x"), "{refused}");
}

/// Docker's own half of the archive is there for readers that know no index.
#[test]
fn other_readers_find_the_first_platform_in_an_archive() {
    let (coracle, registry) = (empty(), FakeRegistry::start());
    let (name, _) = put_index(&registry);
    coracle.run(["pull", "-q", "--all-platforms", &name]).ok();
    coracle.run(["save", "-o", "all.tar", &name]).ok();
    let archive = coracle.path().join("all.tar");
    let output = std::process::Command::new("skopeo")
        .args(["--insecure-policy", "inspect", "--config"])
        .arg(format!("docker-archive:{}", archive.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(config["architecture"], "amd64");
}
